"""The way from a run in the Airflow UI to its report."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

from lake.report.names import safe_run_id

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

PREFIX = "/countersign"
"""Where the desk is mounted in Airflow's web server."""


def root() -> str:
    """Return the path of the desk, below the path that Airflow itself is served under."""
    return urlsplit(conf.get("api", "base_url", fallback="/")).path.rstrip("/") + PREFIX


class ReportLink(BaseOperatorLink):
    """The button *Report* on the task that publishes it. Worked out from DAG and run id, so it needs no look-up."""

    name = "Report"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        """Return the address of the page of the task's run."""
        return f"{root()}/runs/{ti_key.dag_id}/{safe_run_id(ti_key.run_id)}/report.html"
