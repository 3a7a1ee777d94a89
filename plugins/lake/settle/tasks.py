"""What the tasks of ``settle_fraud`` do. The DAG file only wires these together, inside its tasks."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import polars as pl
from airflow.sdk import get_current_context

from lake import tables
from lake.catalog import open_catalog
from lake.connections import endpoint, kafka
from lake.forms import names
from lake.settle.carry import carry_out
from lake.settle.case import Case, Line, Port
from lake.settle.choose import batches, choose, last_words
from lake.settle.crm import Crm
from lake.settle.each import Each
from lake.settle.flags import Flags
from lake.settle.ledger import Ledger
from lake.settle.notices import Notices
from lake.settle.payments import Payments
from lake.settle.shop import Shop
from lake.settle.stops import Stops
from lake.settle.summary import Unfinished, question, summarize
from order_fraud.settlement import (
    CANCEL_ORDER,
    COMPENSATABLE,
    FINAL,
    FLAG_CUSTOMER,
    RETURN_MONEY,
    STOP_DELIVERY,
    TELL_CUSTOMER,
    Entry,
    Step,
    is_withdrawn,
    plan,
)

log = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # one line per request would bury what is said here

CHOOSE = "choose"
"""The task that says how many orders are left for later runs."""

type Batch = list[dict[str, str]]
"""Cases as they travel between tasks, as JSON."""

_PORTS: dict[Step, Callable[[Ledger], Port]] = {
    STOP_DELIVERY: lambda ledger: Stops(kafka("settle"), _run_id()),
    FLAG_CUSTOMER: lambda ledger: Flags(Crm(endpoint("crm")), ledger),
    RETURN_MONEY: lambda ledger: Each(Payments(endpoint("payments")).return_money),
    CANCEL_ORDER: lambda ledger: Each(Shop(endpoint("shop")).cancel),
    TELL_CUSTOMER: lambda ledger: Each(Notices(endpoint("notices")).tell),
}
"""Which system takes each step; the connection is looked up in the task that needs it."""


def choose_orders() -> dict[str, Any]:
    """Return the batches of this run, and the question whether they may be settled; writes nothing yet."""
    params = get_current_context()["params"]
    labels = tables.ensure(open_catalog(), tables.LABELS)
    words = last_words(pl.DataFrame(pl.from_arrow(labels.scan().to_arrow())))
    chosen = choose(words, _ledger().everything(), names(params["orders"]), int(params["most"]))
    log.info("%d orders to settle, %d left for later runs", len(chosen.cases), chosen.left)
    return {
        "batches": [_sent(batch) for batch in batches(chosen.cases, int(params["batch"]))],
        "withdrawn": _sent(chosen.withdrawn),
        "reopened": _sent(chosen.reopened),
        "question": question(chosen),
        "left": chosen.left,
    }


def within_limits() -> dict[str, Any]:
    """Return the form of a run that settles what is fraud and not settled yet; empty if there is nothing.

    It asks first if there is more than the form's ``ask_above`` to settle.
    """
    params = get_current_context()["params"]
    labels = tables.ensure(open_catalog(), tables.LABELS)
    words = last_words(pl.DataFrame(pl.from_arrow(labels.scan().to_arrow())))
    chosen = choose(words, _ledger().everything(), (), int(params["most"]))
    waiting = len(chosen.cases) + chosen.left
    log.info("%d orders to settle", waiting)
    return {"most": int(params["most"]), "ask_first": waiting > int(params["ask_above"])} if waiting else {}


def begin(chosen: dict[str, Any]) -> list[Batch]:
    """Write down which orders are withdrawn or tried again, and return the batches; again, it writes nothing."""
    ledger = _ledger()
    withdrawn, reopened = _received(chosen["withdrawn"]), _received(chosen["reopened"])
    known = ledger.read(case.order_id for case in (*withdrawn, *reopened))
    ledger.add(
        [
            *(Line(case, Entry("withdrawn")) for case in withdrawn if not is_withdrawn(known[case.order_id])),
            *(
                Line(case, Entry("reopened"))
                for case in reopened
                if plan(case.order_id, known[case.order_id]).state in FINAL
            ),
        ]
    )
    return chosen["batches"]


def stop_deliveries(sent: Sequence[Batch]) -> dict[str, int]:
    """Ask the delivery service to stop the parcels of all orders of the run, in one transaction."""
    return _carry([case for batch in sent for case in _received(batch)], STOP_DELIVERY)


def carry(sent: Batch, step: Step) -> dict[str, int]:
    """Carry a step out for the orders of one batch for which it is due."""
    return _carry(_received(sent), step)


def undo(sent: Sequence[Batch]) -> dict[str, int]:
    """Undo what can be undone of the orders whose settlement was refused or withdrawn, last step first."""
    cases = [case for batch in sent for case in _received(batch)]
    undone = {step: _carry(cases, step, undo=True) for step in reversed(COMPENSATABLE)}
    return {step: done["done"] for step, done in undone.items()}


def sum_up(sent: Sequence[Batch]) -> dict[str, Any]:
    """Return how far each order got, and tidy the ledger.

    Raises:
        Unfinished: an order is neither settled, nor undone, nor a person's.
    """
    ledger = _ledger()
    cases = [case for batch in sent for case in _received(batch)]
    history = ledger.read(case.order_id for case in cases)
    left = get_current_context()["ti"].xcom_pull(task_ids=CHOOSE)["left"]
    summary = summarize(cases, history, left)
    ledger.tidy()
    for line in summary.lines:
        log.info(line)
    if summary.unfinished:
        raise Unfinished(
            f"{len(summary.unfinished)} of {len(cases)} orders are not settled yet, first {summary.unfinished[0]}; "
            "look at the failed tasks, then run settle_fraud again: it goes on where this run stopped"
        )
    return summary.document


def _carry(cases: Sequence[Case], step: Step, undo: bool = False) -> dict[str, int]:
    ledger = _ledger()
    return asdict(carry_out(ledger, cases, step, _PORTS[step](ledger), undo=undo))


def _ledger() -> Ledger:
    return Ledger(open_catalog(), _run_id())


def _run_id() -> str:
    return str(get_current_context()["run_id"])


def _sent(batch: Sequence[Case]) -> Batch:
    return [asdict(case) | {"known_at": case.known_at.isoformat()} for case in batch]


def _received(batch: Batch) -> list[Case]:
    return [
        Case(one["order_id"], one["customer_id"], datetime.fromisoformat(one["known_at"]), one["cause"])
        for one in batch
    ]
