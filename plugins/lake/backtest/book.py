"""Writes down, while the log is folded again, what each scorecard says of each order of the period."""

import hashlib
from datetime import UTC, date, datetime, timedelta

import polars as pl

from order_fraud import relay
from order_fraud.events import NewOrder, NoFraudDetected, Order, PossibleFraud, Reason, encode
from order_fraud.judge import Judge, Judgement, Panel

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SIDE = {"outcome": pl.String(), "score": pl.Int64(), "codes": pl.List(pl.String()), "texts": pl.List(pl.String())}
SCHEMA = {
    "order_id": pl.String(),
    "customer_id": pl.String(),
    "time": pl.Datetime("us", "UTC"),
    "amount": pl.Int64(),
    "currency": pl.String(),
    "live": pl.String(),
    **{f"active_{name}": kind for name, kind in _SIDE.items()},
    **{f"candidate_{name}": kind for name, kind in _SIDE.items()},
    "refolded": pl.Binary(),
    "again": pl.Binary(),
}
"""One row per verdict; an order that the stream judges twice has two. ``live`` is the version that judged it; ``texts``
are kept where the outcome changes, else null; ``refolded`` is the SHA-256 of the verdict that comes out again,
``again`` that of the candidate's verdict."""


class Book:
    """The judgements of two scorecards on the orders of some days; :meth:`add` is a witness of the re-fold."""

    def __init__(self, active: Judge, candidate: Judge, first: date, last: date) -> None:
        """Take the two judges and the days (both included, UTC)."""
        self._active = active
        self._candidate = candidate
        self._first, self._last = first, last
        self._rows: list[tuple[object, ...]] = []
        self._codes: dict[tuple[str, ...], tuple[str, ...]] = {}

    def add(self, event: NewOrder, verdict: PossibleFraud | NoFraudDetected, panel: Panel) -> None:
        """Take an order with all its signals, the verdict that comes out again, and the panel that gave it.

        The candidate judges the very same order, through the kernel's own :func:`order_fraud.relay.verdict` and with
        the same shadows beside it: if it is the scorecard that judged, it must give the same bytes.
        """
        order = event.data
        if not self._first <= event.time.date() <= self._last:
            return
        time = (event.time - _EPOCH) // _MILLISECOND
        tried = relay.verdict(event, order, time, Panel(self._candidate, panel.shadows))
        candidate = _judgement(tried)
        active = self._by_active(order, time, verdict, candidate)
        changed = active.outcome != candidate.outcome
        self._rows.append(
            (
                order.order_id,
                order.customer_id,
                event.time,
                order.amount,
                order.currency,
                panel.active.version,
                *self._side(active, changed),
                *self._side(candidate, changed),
                hashlib.sha256(encode(verdict)).digest(),
                hashlib.sha256(encode(tried)).digest(),
            )
        )

    def frame(self) -> pl.DataFrame:
        """Return all rows by time, then order and customer id; where all are the same, as they were judged."""
        rows = pl.DataFrame(self._rows, schema=SCHEMA, orient="row")
        return rows.sort("time", "order_id", "customer_id", maintain_order=True)

    def _by_active(
        self, order: Order, time: int, verdict: PossibleFraud | NoFraudDetected, candidate: Judgement
    ) -> Judgement:
        """Return what the scorecard that judges now says, without asking twice."""
        version = self._active.version
        if verdict.data.scorecard_version == version:
            return _judgement(verdict)
        return candidate if self._candidate.version == version else self._active(order, time)

    def _side(self, one: Judgement, changed: bool) -> tuple[object, ...]:
        codes = tuple(reason.code for reason in one.reasons)
        return one.outcome, one.score, self._codes.setdefault(codes, codes), _texts(one.reasons) if changed else None


def _judgement(verdict: PossibleFraud | NoFraudDetected) -> Judgement:
    said = verdict.data
    return Judgement(said.outcome, said.priority, said.score, said.reasons)


def _texts(reasons: tuple[Reason, ...]) -> list[str]:
    return [f"{reason.code} {reason.points:+d}: {reason.text}" for reason in reasons]
