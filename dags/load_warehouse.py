"""Copies what analysts ask for from the lake into a warehouse that speaks PostgreSQL's protocol."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import dag, task

from desk.retries import RETRIES

FLOWS = Path(__file__).parent / "flows"

DOC = """
### Sources, findings and verdicts by day into the warehouse

Every table of `dags/flows`, `reconciliation.findings` and `fraud.verdict_summary`. A table whose snapshot the warehouse
has already costs nothing; of others only the files that differ are read. Rows and the snapshot's id
(`countersign.loads`) are one transaction: **running it twice changes nothing, and a load that was killed leaves nothing
half.**

The warehouse is the Airflow connection `warehouse` (type postgres). Without one the task is skipped.

| the task fails with | what it means | what to do |
|---|---|---|
| `BadSetting` | the connection lacks something | set what the message names |
| `CannotLoad` | a table there has columns that the lake has not | drop them, or move the table away |
| `OperationalError` | the warehouse does not answer | nothing: the task tries again |
"""


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["warehouse"],
    doc_md=DOC,
    default_args={**RETRIES, "execution_timeout": timedelta(hours=1)},
)
def load_warehouse() -> None:
    """One task: tables are loaded one after the other over one connection."""

    @task
    def load() -> list[dict[str, Any]]:
        from lake.warehouse.tasks import load_tables

        return load_tables(FLOWS)

    load()


load_warehouse()
