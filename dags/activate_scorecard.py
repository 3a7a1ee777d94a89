"""Asks a person whether a scorecard may judge, with what it would change; only a yes changes anything."""

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, TriggerRule, dag, task

from desk.approval import Approval, answered_by
from desk.retries import RETRIES

DAYS_TO_ANSWER = 3
ASK = "ask"

DOC = f"""
### May this scorecard judge from now on?

| task | what it does |
|---|---|
| `compare` | judges the archived orders of the last days **again with the stream's own code**, by the scorecard that judges now and by the new one, and words the difference: "37 orders change, 2,140.00 EUR more stopped", and what is different in the scorecards themselves |
| `ask` | waits for a person: *Required Actions* in the menu, or this task's tab of that name. **Reject** after {DAYS_TO_ANSWER} days without an answer |
| `activate` | after an approval: publishes that the new one judges; the other trials go on. Skipped otherwise |
| `tell` | says what came of it, in its log and as its return value |

Every worker takes the new scorecard at its next batch; each verdict names the version that judged it. To go back, run
this again with the old version: versions stay published for ever. One run goes at a time, so **while a request is open,
the way back waits behind it: reject that request first**, or go back at once, without asking anybody, by
`python -m producers.policy activate`. Run `land_events` first.

| a task fails with | what it means | what to do |
|---|---|---|
| `BadVersion` | no such version, or it judges already | the message names those that there are |
| `NotLanded` | the lake has not heard who judges now | run `land_events` |
| `Overtaken` | another scorecard was activated meanwhile | run it again: the difference is another one now |
| `NotPublished` | the broker did not take it | nothing: the task tries again |
"""  # noqa: E501 - a table row is one line


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["scorecards"],
    doc_md=DOC,
    params={
        "version": Param(
            None,
            type=["null", "string"],
            title="Version",
            description="The published scorecard that is to judge. Empty: the one on trial, if there is exactly one.",
        ),
        "days": Param(
            120,
            type="integer",
            minimum=1,
            maximum=400,
            title="Days to compare",
            description="So many business days up to the last one that has landed; more than the days until an order "
            "is good, or hardly any good order is among them.",
        ),
        "mature_days": Param(
            60,
            type="integer",
            minimum=0,
            maximum=400,
            title="Days until an order is good",
            description="An order without chargeback or word of a reviewer counts as good from this age on, and as "
            "unknown before.",
        ),
        "owner": Param(
            "fraud team",
            type="string",
            minLength=1,
            maxLength=200,
            title="Owner",
            description="Who answers for the change.",
        ),
        "reason": Param(
            "Its trial was good.",
            type="string",
            minLength=1,
            maxLength=1000,
            title="Reason",
            description="Why; stands beside the activation for ever.",
        ),
    },
    default_args=dict(RETRIES),
)
def activate_scorecard() -> None:
    """Compare, ask, activate or not, tell."""

    @task(multiple_outputs=False, execution_timeout=timedelta(hours=1))
    def compare() -> dict[str, Any]:
        from lake.activate import tasks

        return tasks.compare()

    @task(multiple_outputs=False, execution_timeout=timedelta(minutes=10))
    def activate(compared: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        from lake.activate import tasks

        return tasks.activate(compared, answer)

    # A rejection skips what comes right after `ask`, hence this task does not; it speaks in every case but a failure.
    @task(trigger_rule=TriggerRule.NONE_FAILED, execution_timeout=timedelta(minutes=10))
    def tell(compared: dict[str, Any], activated: dict[str, Any] | None) -> str:
        from lake.activate import tasks

        return tasks.tell(compared, activated, answered_by(ASK))

    compared = compare()
    ask = Approval(
        task_id=ASK,
        subject="{{ ti.xcom_pull(task_ids='compare')['subject'] }}",
        body="{{ ti.xcom_pull(task_ids='compare')['body'] }}",
        defaults=Approval.REJECT,
        response_timeout=timedelta(days=DAYS_TO_ANSWER),
        doc_md="Approve or reject; see *Required Actions*.",
    )
    compared >> ask
    tell(compared, activate(compared, ask.output))


activate_scorecard()
