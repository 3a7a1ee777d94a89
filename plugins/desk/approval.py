"""The operator that asks a person, and remembers who said no."""

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import get_current_context

if TYPE_CHECKING:
    from airflow.sdk import Context

_KEY = "answered_by"


class Approval(ApprovalOperator):
    """Asks for approval; tasks after it can learn who answered, whatever the answer (:func:`answered_by`).

    Airflow's own operator says so in its return value, which a rejection does not have: it leaves by the exception that
    skips what comes next.
    """

    def execute_complete(self, context: "Context", event: dict[str, Any]) -> Any:
        """Keep who answered, then go on as Airflow does."""
        by = event.get("responded_by_user") or {}
        context["ti"].xcom_push(_KEY, by.get("name"))
        return super().execute_complete(context, event)


def answered_by(task_id: str) -> str | None:
    """Return the name of who answered a request of this run, None if nobody did in time. To be called in a task."""
    name: str | None = get_current_context()["ti"].xcom_pull(task_ids=task_id, key=_KEY)
    return name
