"""What a change of scorecard does to the orders of the last days, in the words of the request for approval."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from lake.backtest.outcome import Move, Outcome, Sum
from lake.reconcile.findings import money

NAMED = 10
"""Orders that the request names; the back-test's report has all."""


MOST_SAID = 40
"""Differences of the scorecards that the request tells; `producers.policy diff` has all."""


class Request(NamedTuple):
    """What a person is asked: a headline, and what is needed to decide, in Markdown."""

    subject: str
    body: str


def request(outcome: Outcome, differences: Sequence[str]) -> Request:
    """Return the question whether the candidate may judge from now on.

    Args:
        outcome: of the back-test.
        differences: what is different in the candidate, in words (:func:`order_fraud.policy_diff.differences`).
    """
    active, candidate = outcome.active.version, outcome.candidate.version
    lines = [*_orders(outcome), "", *_scorecards(active, candidate, differences)]
    return Request(f"Let scorecard {candidate} judge instead of {active}? {headline(outcome)}", "\n".join(lines))


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


def _orders(outcome: Outcome) -> list[str]:
    changed = [move for move in outcome.moves if move.before != move.after]
    lines = [
        f"**{headline(outcome)}** Orders of {outcome.first} to {outcome.last}: {outcome.orders:,}, of them "
        f"{outcome.fraud:,} fraud, {outcome.good:,} good, {outcome.unknown:,} not known yet.",
        "",
        f"*{outcome.reason}* ({outcome.owner})",
        "",
    ]
    if young := sum(one.unknown for one in changed):
        lines += [
            f"**{young:,} of the {len(outcome.changes):,} orders that change are not known yet**: nobody has said what "
            f"they are, and they are younger than {outcome.mature_days} days on {outcome.as_of:%Y-%m-%d}.",
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
    return lines


def _scorecards(active: str, candidate: str, differences: Sequence[str]) -> Iterator[str]:
    if not differences:
        yield f"Nothing in {candidate} could judge an order otherwise than {active}."
        return
    yield f"What is different in {candidate}, ip addresses masked:"
    yield ""
    yield from (f"- {' '.join(one.split())}" for one in differences[:MOST_SAID])
    if len(differences) > MOST_SAID:
        yield (f"- and {len(differences) - MOST_SAID:,} more: `python -m producers.policy diff {active} {candidate}`")


def _named(outcome: Outcome) -> Iterable[str]:
    dearest = sorted(outcome.changes, key=lambda one: (-one.amount, one.order_id))[:NAMED]
    yield "The dearest of them:" if len(outcome.changes) > NAMED else "They are:"
    yield ""
    for one in dearest:
        yield f"- `{one.order_id}`, {money(one.amount, one.currency)}, {one.label}: {one.before} → {one.after}"


def _sums(found: Iterable[Sum]) -> str:
    return ", ".join(money(one.amount, one.currency) for one in found)
