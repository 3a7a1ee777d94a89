"""Tells one order's story: everything that any system says of it, in time order."""

from datetime import timedelta

from airflow.sdk import Param, dag

from desk.operators import TellOrder
from desk.retries import RETRIES

DOC = """
### What happened to this order?

Reads what has landed about one order and writes it down in time order: sign-up, order, every hop with the signals that
it stamped, verdict with its reasons, delivery, what the shop and the payment provider have, what it turned out to be,
findings, corrections, and the steps of its settlement. It changes nothing.

The page is the tab **Report** of this run (*Reports* in the menu lists it); the task's return value (tab *XCom*) says
how things stand, and where the page and the same as JSON lie on S3. Without a run: `/countersign/orders/<order id>`.

| the task fails with | what it means | what to do |
|---|---|---|
| `NoSuchOrder` | nothing in the lake is about such an order | look at the id; run `land_events` and `land_sources` |
"""


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["orders"],
    doc_md=DOC,
    params={
        "order_id": Param(
            None,
            type=["null", "string"],
            maxLength=200,
            title="Order",
            description="The order's id, as the shop writes it.",
        ),
    },
    default_args={**RETRIES, "execution_timeout": timedelta(minutes=10)},
)
def tell_order() -> None:
    """Tell."""
    TellOrder(task_id="tell")


tell_order()
