"""How often each bin, rule, list entry and the snooze of a scorecard fired, and which never did."""

from collections.abc import Mapping

import polars as pl

from lake.backtest import measures
from lake.backtest.effects import Which
from lake.backtest.outcome import Fired, Piece
from order_fraud.scorecard import Condition, Scorecard

SNOOZE = "snooze"
_NEVER = Fired(0, 0, 0, None)


def pieces(orders: pl.DataFrame, active: Scorecard, candidate: Scorecard) -> list[Piece]:
    """Return every piece that either scorecard has, the candidate's first, each in its scorecard's order.

    Args:
        orders: rows of :class:`lake.backtest.book.Book` with their ``label``.
    """
    have = {"active": described(active), "candidate": described(candidate)}
    fired = {"active": _fired(orders, "active"), "candidate": _fired(orders, "candidate")}
    codes = [*have["candidate"], *(code for code in have["active"] if code not in have["candidate"])]
    return [
        Piece(
            code=code,
            about=have["candidate"].get(code) or have["active"][code],
            active=fired["active"].get(code, _NEVER) if code in have["active"] else None,
            candidate=fired["candidate"].get(code, _NEVER) if code in have["candidate"] else None,
        )
        for code in codes
    ]


def described(scorecard: Scorecard) -> dict[str, str]:
    """Return what each piece of a scorecard is, in words, by the code under which it stands among the reasons."""
    bins = {
        one.code: f"{line.signal} {_range(one.low, one.high)}: {one.points:+d}"
        for line in scorecard.lines
        for one in line.bins
    }
    rules = {rule.code: f"rule: {' and '.join(map(_condition, rule.when))}: {rule.outcome}" for rule in scorecard.rules}
    lists = {f"list.{entry.code}": f"{entry.effect} list: {entry.entity} {entry.value}" for entry in scorecard.lists}
    snooze = {SNOOZE: f"snooze of {len(scorecard.snoozes)} customers"} if scorecard.snoozes else {}
    return lists | snooze | rules | bins


def _condition(one: Condition) -> str:
    return f"{one.signal} {_range(one.low, one.high)}"


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "is known"
    if low is None:
        return f"below {high:g}"
    return f"from {low:g}" if high is None else f"from {low:g} to {high:g}"


def _fired(orders: pl.DataFrame, which: Which) -> Mapping[str, Fired]:
    by = (
        orders.select("label", code=f"{which}_codes")
        .explode("code", empty_as_null=True)
        .drop_nulls("code")
        .group_by("code")
        .agg(
            pl.len(), (pl.col("label") == "fraud").sum().alias("fraud"), (pl.col("label") == "good").sum().alias("good")
        )
    )
    return {
        code: Fired(number, fraud, good, measures.share(fraud, fraud + good))
        for code, number, fraud, good in by.iter_rows()
    }
