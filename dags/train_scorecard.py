"""Learns a scorecard from what orders turned out to be, and puts it on trial beside the one that judges."""

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from desk.operators import PublishTraining
from desk.retries import RETRIES

DOC = """
### What do the chargebacks teach?

| task | what it does |
|---|---|
| `learn` | pins the lake's snapshots, takes the signals that live verdicts were made from and what those orders turned out to be, and learns a scorecard: logistic regression on bins that only ever add suspicion. Measures it on the last fifth of the orders by time, against the scorecard that judges now |
| `publish_report` | writes the report (tab **Report**): both scorecards with 95 % intervals, the calibration, every bin with its reason |
| `put_on_trial` | publishes the new version and puts it on trial: from then on every verdict says what it would have said. **It has no effect on any order**; `activate_scorecard` asks a person for that. Four can be on trial at a time: with more, the oldest trial ends, and the task says which |

Orders younger than *days until an order is good* are left out altogether: of them only the frauds would be known.
Trying it again with the same orders gives the same version and publishes nothing twice. Run `land_events` first.

| a task fails with | what it means | what to do |
|---|---|---|
| `NothingMature` | no order of these days is old enough | wait, lower the days, or run `land_events` |
| `CannotLearn` | too few frauds or honest orders are known, no signal tells them apart, or too many honest orders have the highest score | the message has the numbers; choose more days, or allow more honest orders to be held |
| `BadScorecard` | owner or reason are too long | shorten them |
| `PolicyRefused` | a bin's code means another signal in a published version | publish no versions by hand with codes of learned ones |
| `NotPublished` | the broker did not take it | nothing: the task tries again |
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
        "owner": Param(
            "fraud team",
            type="string",
            minLength=1,
            maxLength=200,
            title="Owner",
            description="Who answers for the new version.",
        ),
        "reason": Param(
            "Learned from chargebacks and reviews.",
            type="string",
            minLength=1,
            maxLength=1000,
            title="Reason",
            description="Why it is made; stands in the scorecard for ever.",
        ),
        "review_percent": Param(
            1.0,
            type="number",
            minimum=0,
            maximum=100,
            title="Honest orders held, %",
            description="The review band begins where at most this share of the honest orders lies above it.",
        ),
        "block_percent": Param(
            0.1,
            type="number",
            minimum=0,
            maximum=100,
            title="Honest orders blocked, %",
            description="The block band likewise; not more than those held.",
        ),
        "from_day": _day("First day", "the first day with a verdict"),
        "to_day": _day("Last day", "the last day with a verdict"),
        "mature_days": Param(
            60,
            type="integer",
            minimum=0,
            maximum=400,
            title="Days until an order is good",
            description="An order without chargeback or word of a reviewer counts as good from this age on; younger "
            "orders are not learned from.",
        ),
    },
    default_args={**RETRIES, "execution_timeout": timedelta(hours=1)},
)
def train_scorecard() -> None:
    """Learn, report, put on trial."""

    @task(multiple_outputs=False)
    def learn() -> dict[str, Any]:
        from lake.learn import tasks

        return tasks.learn()

    @task(multiple_outputs=False)
    def put_on_trial() -> dict[str, Any]:
        from lake.learn import tasks

        return tasks.put_on_trial()

    learn() >> PublishTraining(task_id="publish_report") >> put_on_trial()


train_scorecard()
