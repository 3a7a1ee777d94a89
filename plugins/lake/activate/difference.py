"""What a change of scorecard does to the orders of the last days, in the words of the request for approval."""

from collections.abc import Iterable
from typing import NamedTuple

from lake.backtest.outcome import Move, Outcome, Sum
from lake.reconcile.findings import money

NAMED = 10
"""Orders that the request names; the back-test's report has all."""


class Request(NamedTuple):
    """What a person is asked: a headline, and what is needed to decide, in Markdown."""

    subject: str
    body: str


def request(outcome: Outcome) -> Request:
    """Return the question whether the candidate may judge from now on."""
    active, candidate = outcome.active.version, outcome.candidate.version
    return Request(f"Let scorecard {candidate} judge instead of {active}? {headline(outcome)}", _body(outcome))


def headline(outcome: Outcome) -> str:
    """Return the effect in a sentence: ``37 orders change, 2,140.00 EUR more stopped``."""
    number = len(outcome.changes)
    if not number:
        return f"None of {outcome.orders:,} orders changes."
    effect = ", ".join(_more(currency, amount) for currency, amount in stopped_more(outcome.moves).items() if amount)
    verb = "order changes" if number == 1 else "orders change"
    return f"{number:,} {verb}, {effect or 'as much money stopped as before'}."


def stopped_more(moves: Iterable[Move]) -> dict[str, int]:
    """Return by how much more money is stopped, in minor units by currency; below zero, so much less."""
    more: dict[str, int] = {}
    for move in moves:
        sign = (move.after != "clear") - (move.before != "clear")
        for one in move.money if sign else ():
            more[one.currency] = more.get(one.currency, 0) + sign * one.amount
    return dict(sorted(more.items()))


def _more(currency: str, amount: int) -> str:
    return f"{money(abs(amount), currency)} {'more' if amount > 0 else 'less'} stopped"


def _body(outcome: Outcome) -> str:
    changed = [move for move in outcome.moves if move.before != move.after]
    lines = [
        f"**{headline(outcome)}** Orders of {outcome.first} to {outcome.last}: {outcome.orders:,}, of them "
        f"{outcome.fraud:,} fraud, {outcome.good:,} good, {outcome.unknown:,} not known yet.",
        "",
        f"*{outcome.reason}* ({outcome.owner})",
        "",
    ]
    if changed:
        lines += ["| from | to | orders | fraud | good | not known | money |", "|---|---|---|---|---|---|---|"]
        lines += [
            f"| {one.before} | {one.after} | {one.orders:,} | {one.fraud:,} | {one.good:,} | {one.unknown:,} | "
            f"{_sums(one.money)} |"
            for one in changed
        ]
        lines += ["", *_named(outcome)]
    if not outcome.proof.refolded.identical:
        lines += [
            "",
            "**Careful:** judging these orders again did not give all the live verdicts; run `reconcile_orders`.",
        ]
    return "\n".join(lines)


def _named(outcome: Outcome) -> Iterable[str]:
    dearest = sorted(outcome.changes, key=lambda one: (-one.amount, one.order_id))[:NAMED]
    yield "The dearest of them:" if len(outcome.changes) > NAMED else "They are:"
    yield ""
    for one in dearest:
        yield f"- `{one.order_id}`, {money(one.amount, one.currency)}, {one.label}: {one.before} → {one.after}"


def _sums(found: Iterable[Sum]) -> str:
    return ", ".join(money(one.amount, one.currency) for one in found)
