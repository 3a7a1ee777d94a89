"""Reconciles shop, stream, warehouse, payment provider and CRM order by order, and sends what puts them right."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Param, dag, task

from desk.operators import REPORTED, PublishReport
from desk.retries import RETRIES

FLOWS = Path(__file__).parent / "flows"

DOC = """
### Does everybody tell the same story about every order?

| task | what it does |
|---|---|
| `check_sources` | writes the page on data quality, and stops the run if a landed source is below its threshold; says which and why |
| `reconcile` | judges every order **again**, from the archived events and with the stream's own code, and compares byte for byte; then matches shop, stream, verdicts, deliveries, payments, refunds, disputes and CRM order by order |
| `correct` | raises each finding once on `reconciliation.findings`, with the correction it asks for, in one transaction, and keeps it in the table `reconciliation.findings` |
| `publish_report` | writes the report: tab **Report** of this run, the same button among the *Details* of this task, and *Reports* in the menu; its figures are the event of the asset `reconciliation.report` |

Run `land_events` and `land_sources` first. **A second run over the same days sends nothing new**; a dry run sends
nothing at all and says what it would. A crash and a retry at any point neither lose nor double an event.

| a task fails with | what it means | what to do |
|---|---|---|
| `SourceBelowThreshold` | too many rows of a source failed their checks, or it was never landed | look into its quarantine table, mend the source, land again, clear the task |
| `NothingLanded` | there is no order in the lake | run both landing DAGs |
| `BadDays`, `BadAllowance`, `BadSources` | days, waits or sources of the form make no sense | trigger again with others |
| `NoSuchRun`, `SnapshotGone` | the run to repeat is not known, or the lake no longer has what it read | name another run |
| `CheckpointDiffers` | folding everything gives something else than going on from the last checkpoint; the message says where | the checkpoint is put aside; clear the task, which then folds everything, and look into what changed it |
| `NotEmitted` | the broker did not take the events | nothing: the task tries again |
"""  # noqa: E501 - a table row is one line


def _day(title: str, default: str) -> Param:
    return Param(
        None,
        type=["null", "string"],
        format="date",
        title=title,
        description=f"Business day (UTC) of the orders, YYYY-MM-DD. Empty: {default}.",
    )


def _wait(default: int, title: str, what: str) -> Param:
    return Param(default, type="number", minimum=0, title=title, description=f"{what} is a finding.")


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["reconcile"],
    doc_md=DOC,
    params={
        "from_day": _day("First day", "the first day on which an order has landed"),
        "to_day": _day("Last day", "the last day on which an order has landed"),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Find and report everything, but send no event and record no finding.",
        ),
        "sources": Param(
            None,
            type=["null", "string"],
            title="Sources",
            description="Tables to compare with, separated by commas: shop.orders, payments.charges, payments.refunds, "
            "payments.disputes, shop.order_refunds, crm.contacts. What rests on one that is left out is not looked "
            "for, and stays as it is. Empty: all.",
        ),
        "good_percent": Param(
            None,
            type=["null", "number"],
            minimum=0,
            maximum=100,
            title="Good rows, %",
            description="The run goes on if so many of a source's rows pass their checks. Empty: as each flow says.",
        ),
        "held_hours": _wait(72, "Hours on hold", "An order that is held for longer, and of which nobody has decided"),
        "sign_up_minutes": _wait(60, "Minutes until the sign-up", "A customer who has not signed up by then"),
        "skew_seconds": _wait(60, "Seconds of a replaced scorecard", "A verdict on an order that came in later"),
        "late_seconds": _wait(60, "Seconds late", "What comes in by more than this after what is dated later"),
        "refund_hours": _wait(72, "Hours until the refund", "Money said to go back that is no refund by then"),
        "contact_hours": _wait(
            24, "Hours until the CRM knows", "A contact that is unlike the customer's order by then"
        ),
        "full_fold": Param(
            False,
            type="boolean",
            title="Fold everything",
            description="Judge every archived order again, not only what came in since the last checkpoint, and see "
            "that the checkpoint agrees. Every 30th run does so by itself.",
        ),
        "repeat_run": Param(
            None,
            type=["null", "string"],
            title="Repeat run",
            description="Id of an earlier run: look again at the snapshots that it read, with its days and waits "
            "instead of those above. Always a dry run.",
        ),
    },
    default_args={**RETRIES, "execution_timeout": timedelta(hours=1)},
)
def reconcile_orders() -> None:
    """Gate, reconcile, correct, report."""

    @task(multiple_outputs=False)
    def check_sources() -> dict[str, str]:
        from lake.reconcile import tasks

        return tasks.check_sources(FLOWS)

    @task(multiple_outputs=False)
    def reconcile() -> dict[str, Any]:
        from lake.reconcile import tasks

        return tasks.reconcile()

    @task(multiple_outputs=False)
    def correct() -> dict[str, int]:
        from lake.reconcile import tasks

        return tasks.correct()

    emitted = correct()
    check_sources() >> reconcile() >> emitted
    PublishReport(task_id="publish_report", emitted=emitted, outlets=[REPORTED])


reconcile_orders()
