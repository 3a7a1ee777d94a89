"""From signals to a judgement: points per bin, rules, lists, bands, and reasons in plain sentences.

score = sum over the scorecard's lines of the points of the bin that the signal falls into; a signal that an order does
not have gives no points. What decides beside the score stands in :class:`order_fraud.scorecard.Scorecard`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf

import msgspec

from order_fraud.events import Order, Outcome, Reason
from order_fraud.scorecard import Band, Condition, ListEntry, Rule, Scorecard, Snooze

SNOOZED = "snooze"
"""Code of the reason that a snooze gives."""

LISTED = "list."
"""How the codes of the reasons begin that entries of lists give."""

_OUTCOMES: tuple[Outcome, ...] = ("block", "review", "clear")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER = 2**63


class Judgement(msgspec.Struct, frozen=True, gc=False):
    """What a scorecard says of an order.

    Attributes:
        outcome: ``clear``, ``review`` or ``block``.
        priority: of the review or block, the lowest number first; 0 if clear.
        score: sum of the points.
        reasons: everything that fired: the snooze; entries of lists, the customer's first, then the device's, ip's,
            card's, e-mail domain's and address's; rules; bins. Rules and bins are in the scorecard's order.
    """

    outcome: Outcome
    priority: int
    score: int
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    effect: str
    until: int
    reason: Reason


class Judge:
    """A scorecard, made ready to judge quickly. It does not change.

    Attributes:
        scorecard: what it was made from; checked by :func:`order_fraud.policy.check`.
        version: of the scorecard.
        threshold: the lowest score that is not cleared.
    """

    __slots__ = ("_bands", "_entries", "_lines", "_lists", "_rules", "_snoozes", "scorecard", "threshold", "version")

    def __init__(self, scorecard: Scorecard) -> None:
        self.scorecard = scorecard
        self.version = scorecard.version
        self.threshold = scorecard.bands[0].at
        self._lines = tuple(
            (
                line.signal,
                min((_low(one.low) for one in line.bins), default=inf),
                max((_high(one.high) for one in line.bins), default=-inf),
                tuple((_low(one.low), _high(one.high), one.points, one) for one in line.bins),
            )
            for line in scorecard.lines
        )
        self._rules = tuple((rule, tuple(map(_condition, rule.when))) for rule in scorecard.rules)
        self._bands: tuple[Band, ...] = tuple(reversed(scorecard.bands))
        self._lists = bool(scorecard.lists)
        self._entries: dict[tuple[str, str | None], list[_Entry]] = {}
        for entry in scorecard.lists:
            self._entries.setdefault((entry.entity, entry.value), []).append(_entry(entry))
        self._snoozes = {
            snooze.customer_id: _Entry(
                "snooze",
                _ms(snooze.until),
                snoozed(snooze),
            )
            for snooze in scorecard.snoozes
        }

    def __call__(self, order: Order, time: int) -> Judgement:
        """Return the judgement of one order from the signals stamped on it.

        Args:
            order: with its signals and the ids of its entities.
            time: of the order, ms since 1970: entries of lists and snoozes that ended before it do not count.
        """
        signals = order.signals
        score, reasons = 0, []
        for signal, lowest, highest, bins in self._lines:
            value = signals.get(signal)
            if value is None or not lowest <= value < highest:  # of most orders, so one look saves one at each bin
                continue
            for low, high, points, one in bins:
                if low <= value < high:
                    score += points
                    reasons.append(Reason(code=one.code, points=points, text=one.text.format(value=plain(value))))
                    break
        outcome: Outcome = "clear"
        priority = 0
        for band in self._bands:
            if score >= band.at:
                outcome, priority = band.outcome, band.priority
                break
        if self._rules or self._lists or self._snoozes:
            outcome, priority, before = self._overrule(order, time, outcome, priority)
            reasons[:0] = before
        return Judgement(outcome, priority, score, tuple(reasons))

    def _overrule(self, order: Order, time: int, outcome: Outcome, priority: int) -> tuple[Outcome, int, list[Reason]]:
        """Return what lists, rules and the snooze make of the score's outcome, and why."""
        listed = list(self._listed(order, time)) if self._lists else []
        fired = [(rule.outcome, reason) for rule, reason in self._fired(order.signals)]
        reasons = [entry.reason for entry in listed] + [reason for _, reason in fired]
        effects = {entry.effect for entry in listed}
        if "allow" in effects:
            return "clear", 0, reasons
        if "block" in effects:
            return "block", 1, reasons
        if fired:
            decided = min((outcome for outcome, _ in fired), key=_OUTCOMES.index)
            priority = 0 if decided == "clear" else priority if decided == outcome else 1
            outcome = decided
        snooze = self._snoozes.get(order.customer_id)
        if snooze is not None and outcome == "review" and time < snooze.until:
            return "clear", 0, [snooze.reason, *reasons]
        return outcome, priority, reasons

    def _listed(self, order: Order, time: int) -> Iterable[_Entry]:
        for key in (
            ("customer", order.customer_id),
            ("device", order.device_id),
            ("ip", order.ip),
            ("card", order.card),
            ("email_domain", order.email_domain),
            ("address", order.address),
        ):
            for entry in self._entries.get(key, ()):
                if time < entry.until:
                    yield entry

    def _fired(self, signals: Mapping[str, float]) -> Iterable[tuple[Rule, Reason]]:
        for rule, conditions in self._rules:
            for signal, low, high in conditions:
                value = signals.get(signal)
                if value is None or not low <= value < high:
                    break
            else:
                text = rule.text.format(value=plain(signals[conditions[0][0]]))
                yield rule, Reason(code=rule.code, points=0, text=text)


@dataclass(frozen=True, slots=True)
class Panel:
    """Who judges: one scorecard with effect, and others on trial beside it, whose word is only written down."""

    active: Judge
    shadows: tuple[Judge, ...] = ()


def plain(value: float) -> str:
    """Return a number as a person writes it: no exponent, at most two decimals, none if they are zero, no -0."""
    return f"{value:z,.2f}".removesuffix("00").removesuffix(".")


def listed(entry: ListEntry) -> Reason:
    """Return the reason that an entry of a list is told as."""
    text = f"The {entry.entity.replace('_', ' ')} is on the {entry.effect} list: {entry.reason}"
    return Reason(code=f"{LISTED}{entry.code}", points=0, text=text)


def snoozed(snooze: Snooze) -> Reason:
    """Return the reason that a snooze is told as."""
    return Reason(code=SNOOZED, points=0, text=f"Reviews of this customer are snoozed: {snooze.reason}")


def _condition(one: Condition) -> tuple[str, float, float]:
    return one.signal, _low(one.low), _high(one.high)


def _entry(entry: ListEntry) -> _Entry:
    until = _NEVER if entry.until is None else _ms(entry.until)
    return _Entry(entry.effect, until, listed(entry))


def _ms(time: datetime) -> int:
    return int((time - _EPOCH).total_seconds() * 1000)


def _low(value: float | None) -> float:
    return -inf if value is None else value


def _high(value: float | None) -> float:
    return inf if value is None else value
