"""Settles confirmed frauds as a saga: stop the parcel, flag the customer, give the money back, cancel, tell."""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, TriggerRule, dag, task, task_group

from desk.retries import RETRIES

DAYS_TO_ANSWER = 3

DOC = f"""
### Everything that a confirmed fraud asks for, whole or not at all

| task | what it does | if it is refused for good |
|---|---|---|
| `choose` | orders that are fraud by the last word that has landed (`fraud.labels`) and not settled yet, or those of the form | |
| `ask` | with *Ask first*: waits for a person; no answer within {DAYS_TO_ANSWER} days is a no | |
| `begin` | writes down which orders a person wants tried again, and which were cleared as honest meanwhile | |
| `stop_deliveries` | asks the delivery service to stop or recall the parcels | |
| `settle.flag_customers` | puts up the fraud flag in the CRM | the parcel waits, nothing else happens |
| `settle.return_money` | refunds what was captured, releases what was only authorised; **from here on there is no way back** | the flag comes down, the parcel waits |
| `settle.cancel_orders` | cancels the order in the shop | a person sees to it |
| `settle.tell_customers` | sends the signed notice to the merchant's webhook | a person sees to it |
| `undo` | undoes, last step first, what was refused or cleared as honest before the money went back | a person sees to it |
| `sum_up` | how far each order got, as its return value; fails if some are not at an end | |

Each step is written into `settlement.steps` before and after its call, and each call has a key
(`settle/<order>/<step>`): **killed at any point and run again, the end is the same and no money goes back twice.** What
failed for want of an answer is taken up by the next run.

An order that ended *undone* or *needs-a-person* is left alone until somebody names it in the form. Run `land_events`
first.

| a task fails with | what it means | what to do |
|---|---|---|
| `BadOrders` | the form names orders that nothing says are fraud | confirm them first |
| `BadCredentials`, `BadSetting` | a connection (`crm`, `payments`, `shop`, `notices`) lacks something | mend what the message names, clear the task |
| `StillOpen`, `NotEmitted` | a system gave no answer | nothing: the task tries again |
| `Unfinished` | an earlier task gave up | look at that one; run this DAG again, it goes on |
"""  # noqa: E501 - a table row is one line


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["settle"],
    doc_md=DOC,
    params={
        "orders": Param(
            None,
            type=["null", "string"],
            title="Orders",
            description="Order ids, separated by commas or spaces; also those that ended undone or with a person. "
            "Empty: all that are fraud and not settled yet.",
        ),
        "most": Param(
            1000,
            type="integer",
            minimum=1,
            maximum=10_000,
            title="At most",
            description="So many orders in this run, those first that have been known the longest.",
        ),
        "batch": Param(
            50,
            type="integer",
            minimum=1,
            maximum=1000,
            title="Orders per task",
            description="Batches run side by side; the orders of one customer stay together.",
        ),
        "ask_first": Param(
            False,
            type="boolean",
            title="Ask first",
            description="Show the orders to a person and wait for a yes.",
        ),
    },
    default_args={**RETRIES, "retries": 5, "execution_timeout": timedelta(minutes=20)},
)
def settle_fraud() -> None:
    """Choose, perhaps ask, carry out step by step, undo, sum up."""

    @task(multiple_outputs=False)
    def choose() -> dict[str, Any]:
        from lake.settle import tasks

        return tasks.choose_orders()

    @task.branch
    def ask_or_go(params: dict[str, Any] | None = None) -> str:
        return "ask" if params and params["ask_first"] else "begin"

    # Skipped by a rejection, but not by the branch that goes without asking.
    @task(multiple_outputs=False, trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def begin(chosen: dict[str, Any]) -> list[list[dict[str, str]]]:
        from lake.settle import tasks

        return tasks.begin(chosen)

    @task(multiple_outputs=False)
    def stop_deliveries(batches: list[list[dict[str, str]]]) -> dict[str, int]:
        from lake.settle import tasks

        return tasks.stop_deliveries(batches)

    @task(multiple_outputs=False)
    def carry(batch: list[dict[str, str]], step: str) -> dict[str, int]:
        from lake.settle import tasks

        return tasks.carry(batch, step)

    # These two speak for every order, also when a task of another batch has given up.
    @task(multiple_outputs=False, trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)
    def undo(batches: list[list[dict[str, str]]]) -> dict[str, int]:
        from lake.settle import tasks

        return tasks.undo(batches)

    @task(multiple_outputs=False, trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)
    def sum_up(batches: list[list[dict[str, str]]]) -> dict[str, Any]:
        from lake.settle import tasks

        return tasks.sum_up(batches)

    ask = ApprovalOperator(
        task_id="ask",
        subject="{{ ti.xcom_pull(task_ids='choose')['question']['subject'] }}",
        body="{{ ti.xcom_pull(task_ids='choose')['question']['body'] }}",
        defaults=ApprovalOperator.REJECT,
        response_timeout=timedelta(days=DAYS_TO_ANSWER),
        doc_md="Approve or reject; see *Required Actions*.",
    )
    chosen = choose()
    batches = begin(chosen)
    chosen >> ask_or_go() >> [ask, batches]
    ask >> batches
    stopped = stop_deliveries(batches)

    @task_group
    def settle(batch: list[dict[str, str]]) -> None:
        flagged = carry.override(task_id="flag_customers")(batch, "flag-customer")
        returned = carry.override(task_id="return_money")(batch, "return-money")
        cancelled = carry.override(task_id="cancel_orders")(batch, "cancel-order")
        told = carry.override(task_id="tell_customers")(batch, "tell-customer")
        stopped >> flagged >> returned >> [cancelled, told]

    settle.expand(batch=batches) >> undo(batches) >> sum_up(batches)


settle_fraud()
