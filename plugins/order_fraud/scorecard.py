"""From signals to a judgement: points per bin, reasons in plain sentences, a threshold.

score = sum over the scorecard's lines of the points of the bin that the signal falls into; a signal that an order does
not have gives no points. An order whose score reaches the threshold is possible fraud.
"""

from collections.abc import Mapping
from math import inf

import msgspec

from order_fraud.events import Reason


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """Values from ``low`` (included) to ``high`` (excluded) give ``points``, and ``text`` says why.

    ``text`` is a format string; ``{value}`` is the signal as a plain number.
    """

    code: str
    low: float = -inf
    high: float = inf
    points: int
    text: str


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One signal and its bins, which do not overlap."""

    signal: str
    bins: tuple[Bin, ...]


class Scorecard(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the rules: data, not code."""

    version: str
    threshold: int
    lines: tuple[Line, ...]


class Judgement(msgspec.Struct, frozen=True):
    """Whether an order may be fraud, with the score and every reason that fired, in the scorecard's order."""

    possible_fraud: bool
    score: int
    reasons: tuple[Reason, ...]


def judge(signals: Mapping[str, float], scorecard: Scorecard) -> Judgement:
    """Return the judgement of one order from its signals."""
    score = 0
    reasons: list[Reason] = []
    for line in scorecard.lines:
        value = signals.get(line.signal)
        if value is None:
            continue
        for bin_ in line.bins:
            if bin_.low <= value < bin_.high:
                score += bin_.points
                reasons.append(Reason(code=bin_.code, points=bin_.points, text=bin_.text.format(value=_plain(value))))
                break
    return Judgement(score >= scorecard.threshold, score, tuple(reasons))


def _plain(value: float) -> str:
    """Return a number as a person writes it: no exponent, at most two decimals, none if they are zero, no -0."""
    return f"{value:z,.2f}".removesuffix("00").removesuffix(".")
