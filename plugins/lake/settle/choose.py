"""Which orders are to be settled: those that are fraud by the last word that has landed, or those a person names."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import polars as pl

from lake import disputes
from lake.errors import Hopeless
from lake.labels import FRAUD
from lake.settle.case import Case
from order_fraud.settlement import FINAL, Entry, plan

BY_WORD = {
    "FraudConfirmed": "a person confirmed the fraud",
    "ChargebackOpened": "the cardholder's bank opened a chargeback",
    disputes.SAID: "the cardholder's bank disputes the charge",
}


class BadOrders(Hopeless):
    """The form names orders that cannot be settled; the message says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a run is about.

    Attributes:
        cases: orders with something to do.
        withdrawn: orders that are honest by the last word although their settlement had begun.
        reopened: orders named by a person whose settlement had ended without being complete.
        left: how many more are waiting for a later run.
    """

    cases: tuple[Case, ...]
    withdrawn: tuple[Case, ...]
    reopened: tuple[Case, ...]
    left: int


def last_words(labels: pl.DataFrame) -> dict[str, tuple[str, Case]]:
    """Return the label and the case of each order by its last word; see :mod:`lake.labels`.

    Args:
        labels: rows of the table ``fraud.labels``.
    """
    last = labels.sort("known_at", "partition", "offset").unique("order_id", keep="last", maintain_order=True)
    return {
        row["order_id"]: (
            row["label"],
            Case(row["order_id"], row["customer_id"], row["known_at"], _cause(row["source"], row["by"])),
        )
        for row in last.iter_rows(named=True)
    }


def choose(
    words: Mapping[str, tuple[str, Case]],
    ledger: Mapping[str, tuple[Case, Sequence[Entry]]],
    named: Sequence[str],
    most: int,
) -> Chosen:
    """Choose the orders of a run, oldest word first.

    Args:
        words: see :func:`last_words`.
        ledger: every order that a run has begun to settle.
        named: by the form; empty for all that are fraud and not settled yet.
        most: orders that one run takes.

    Raises:
        BadOrders: a named order is no fraud as far as has landed.
    """
    if named:
        _refuse(named, words)
    states = {order_id: plan(order_id, entries).state for order_id, (_, entries) in ledger.items()}
    frauds = {order_id: case for order_id, (label, case) in words.items() if label == FRAUD}
    wanted = named or list(frauds)
    # The case as the ledger has it: a later word of the same meaning must not change the events of a settlement.
    open_ = [_case(order_id, frauds, ledger) for order_id in wanted if named or states.get(order_id) not in FINAL]
    under_way = [
        ledger[order_id][0]
        for order_id, state in states.items()
        if order_id not in frauds and state not in FINAL and not named
    ]
    waiting = sorted((*open_, *under_way), key=lambda case: (case.known_at, case.order_id))
    taken = waiting[:most]
    return Chosen(
        cases=tuple(taken),
        withdrawn=tuple(case for case in taken if words.get(case.order_id, (FRAUD,))[0] != FRAUD),
        reopened=tuple(case for case in taken if states.get(case.order_id) in ("undone", "needs-a-person")),
        left=len(waiting) - len(taken),
    )


def batches(cases: Iterable[Case], size: int) -> Iterator[list[Case]]:
    """Yield the cases in batches of about ``size``; the orders of one customer stay together."""
    batch: list[Case] = []
    in_a_row = sorted(cases, key=lambda case: (case.customer_id, case.known_at, case.order_id))
    for _, theirs in groupby(in_a_row, lambda case: case.customer_id):
        batch.extend(theirs)
        if len(batch) >= size:
            yield batch
            batch = []
    if batch:
        yield batch


def _case(order_id: str, frauds: Mapping[str, Case], ledger: Mapping[str, tuple[Case, Sequence[Entry]]]) -> Case:
    return ledger[order_id][0] if order_id in ledger else frauds[order_id]


def _refuse(named: Sequence[str], words: Mapping[str, tuple[str, Case]]) -> None:
    unknown = [order_id for order_id in named if order_id not in words]
    honest = [order_id for order_id in named if order_id in words and words[order_id][0] != FRAUD]
    said = [
        *([f"nothing has landed that says {', '.join(unknown)} is fraud"] if unknown else []),
        *([f"{', '.join(honest)} was cleared as honest last"] if honest else []),
    ]
    if said:
        raise BadOrders(
            f"{'; '.join(said)}: confirm the fraud first (python -m producers.labels), run land_events, then this again"
        )


def _cause(source: str, by: str | None) -> str:
    return BY_WORD.get(source, source) + (f" ({by})" if by else "")
