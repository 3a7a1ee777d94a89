"""Starts settle_fraud when word of a fraud has landed, within limits."""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Asset, Param, dag, task

from desk.retries import RETRIES
from desk.starts import start

DOC = """
### Confirmed frauds are settled without anybody pressing a button

`land_events` says by an event of the asset `fraud.labels/new` that new word of a fraud has landed (a reviewer's, or
a chargeback). A run here counts the orders that are fraud and not settled yet, and starts `settle_fraud` for them:

* for **at most** so many at a time, the longest known first; the next event, or a run by hand, takes the rest;
* **asking a person first** where there are more than so many: a flood of confirmations is more likely a mistake, and
  money that has gone back cannot be taken back.

Both limits are fields of the form, for runs by hand; a run that an event started has their defaults. Nothing to settle:
the run ends there. The DAG is **paused until somebody unpauses it**.
"""


@dag(
    schedule=[Asset("fraud.labels/new")],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
    render_template_as_native_obj=True,  # the form wants numbers, not texts
    tags=["settle", "starter"],
    doc_md=DOC,
    params={
        "most": Param(
            200, type="integer", minimum=1, maximum=10_000, title="At most", description="So many orders in this run."
        ),
        "ask_above": Param(
            20,
            type="integer",
            minimum=0,
            maximum=10_000,
            title="Ask above",
            description="With more orders than this to settle, a person is asked before anything happens.",
        ),
    },
    default_args=dict(RETRIES),
)
def settle_confirmed() -> None:
    """Count, and settle if there is anything."""

    @task.short_circuit(multiple_outputs=False, execution_timeout=timedelta(minutes=10))
    def count() -> dict[str, Any]:
        from lake.settle.tasks import within_limits

        return within_limits()

    pulled = "ti.xcom_pull(task_ids='count')"
    form = {"most": f"{{{{ {pulled}['most'] }}}}", "ask_first": f"{{{{ {pulled}['ask_first'] }}}}"}
    count() >> start("settle_fraud", form)


settle_confirmed()
