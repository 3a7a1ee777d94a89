"""Tries a scorecard on the archived orders, by the stream's own code, before it judges anybody."""

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from desk.operators import PublishBacktest
from desk.retries import RETRIES

DOC = """
### What would this scorecard have done?

| task | what it does |
|---|---|
| `judge_again` | pins the lake's snapshots, folds the archived events **again with the stream's own code**, and lets the candidate judge every order of the days beside the scorecard that judges now |
| `publish_report` | writes the report: tab **Report** of this run, the same button among the *Details* of this task, and *Reports* in the menu |

The report tells orders and money caught and wrongly stopped by what the orders turned out to be, every order whose
outcome changes, precision, recall and ROC with 95 % intervals, and which bins and rules never fired. It proves itself:
a hash over all live verdicts of the days stands beside the hash of the same verdicts made again. **Leave the candidate
empty to back-test the scorecard that judges now**: its verdicts must be the live ones, byte for byte.

Nothing is changed and no event is sent. Run `land_events` first.

| a task fails with | what it means | what to do |
|---|---|---|
| `BadCandidate` | no such version, or the document is no scorecard | the message names version or field |
| `NothingLanded`, `NoOrders` | there is no order in these days | run `land_events`, or choose other days |
| `BadDays` | the days of the form make no sense | trigger again with other days |
"""  # noqa: E501 - a table row is one line


def _day(title: str, default: str) -> Param:
    return Param(
        None,
        type=["null", "string"],
        format="date",
        title=title,
        description=f"Business day (UTC) of the orders, YYYY-MM-DD. Empty: {default}.",
    )


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["scorecards"],
    doc_md=DOC,
    params={
        "candidate_version": Param(
            None,
            type=["null", "string"],
            title="Candidate, by version",
            description="A version published on fraud.policies. Empty: the document below; if that is empty too, the "
            "scorecard that judges now.",
        ),
        "candidate_document": Param(
            None,
            type=["null", "string"],
            format="multiline",
            title="Candidate, as JSON",
            description="A scorecard that need not be published, pasted whole (docs/policies.md).",
        ),
        "from_day": _day("First day", "the first day on which an order has landed"),
        "to_day": _day("Last day", "the last day on which an order has landed"),
        "mature_days": Param(
            60,
            type="integer",
            minimum=0,
            maximum=400,
            title="Days until an order is good",
            description="An order without chargeback or word of a reviewer counts as good from this age on, and as "
            "unknown before.",
        ),
    },
    default_args={**RETRIES, "execution_timeout": timedelta(hours=1)},
)
def backtest_scorecard() -> None:
    """Judge again, report."""

    @task(multiple_outputs=False)
    def judge_again() -> dict[str, Any]:
        from lake.backtest import tasks

        return tasks.judge_again()

    judge_again() >> PublishBacktest(task_id="publish_report")


backtest_scorecard()
