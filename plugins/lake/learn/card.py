"""Turns a learned model into a scorecard: whole points, bins with reasons, bands for a share of honest orders."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isfinite, log

import numpy as np

from lake.learn.candidates import CANDIDATES
from lake.learn.fit import Cut, Model, suspicion
from lake.learn.metrics import threshold_at
from lake.learn.samples import Bools, Floats, Samples
from lake.learn.sentences import sentence
from order_fraud.policy import check
from order_fraud.scorecard import Band, Bin, Line, Scorecard

HELD = 50
"""From so many points on an order is held, give or take the rounding, in every version. So the scores of different
versions can be put in one row, and of a score it can be said how near to being held it is."""

LEAST_SUSPICION = log(2)
"""The line at which orders are held is taken to lie at least this far, in log odds, above an order with nothing against
it: where hardly anything is learned, noise must not look like many points."""

LEAST_POINTS = 1
"""An order without any sign against it has none and is never held."""


SCALES = 5
"""So many are tried."""

NEVER = 1_000_000
"""Where a band begins that no order may reach: more honest orders than allowed have the highest score that there is."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many honest orders may be troubled.

    Attributes:
        review: share of the honest orders that may be held, blocked ones included.
        block: share of the honest orders that may be blocked.
    """

    review: float = 0.01
    block: float = 0.001


def scorecard(
    model: Model, known: Samples, version: str, owner: str, reason: str, based_on: str | None, capacity: Capacity
) -> Scorecard:
    """Return the scorecard of a model; it may be of no use (no line, or a band that begins at ``NEVER``).

    Args:
        model: what was learned.
        known: labelled orders, from which the bands are told.
        version: of the scorecard, never used before.
        owner: who answers for it.
        reason: why it was made.
        based_on: the version it is to replace.
        capacity: how many honest orders the bands may hold and block.

    Raises:
        BadScorecard: version, owner or reason is none that a scorecard can have.
    """
    lines, points, review = _on_scale(model, known, capacity.review)
    block = max(review + 1, round(min(threshold_at(known.fraud, points, capacity.block), NEVER)))
    return check(
        Scorecard(
            version=version,
            owner=owner,
            reason=reason,
            based_on=based_on,
            lines=lines,
            bands=(
                Band(at=review, outcome="review", priority=50),
                Band(at=block, outcome="block", priority=10),
            ),
        )
    )


def score(lines: tuple[Line, ...], orders: Samples) -> Floats:
    """Return the points of many orders at once; the same that :class:`order_fraud.judge.Judge` gives each."""
    columns = {one.signal: column for column, one in enumerate(CANDIDATES)}
    points = np.zeros(len(orders))
    for line in lines:
        values = orders.signals[:, columns[line.signal]]
        for one in line.bins:
            low, high = -inf if one.low is None else one.low, inf if one.high is None else one.high
            points += one.points * ((values >= low) & (values < high))
    return points


def _on_scale(model: Model, known: Samples, share: float) -> tuple[tuple[Line, ...], Floats, int]:
    """Return the lines in whole points, the points of the orders, and from how many on they are held.

    Rounding moves that line by a few points, since those of several signals add up: then the scale is moved against it.
    """
    points_each, tried = unit(suspicion(model, known), known.fraud, share), []
    for _ in range(SCALES):
        lines = tuple(_lines(model, points_each))
        points = score(lines, known)
        review = max(LEAST_POINTS, round(min(threshold_at(known.fraud, points, share), NEVER)))
        tried.append((lines, points, review))
        if review in (HELD, NEVER):
            break
        points_each = min(points_each * HELD / review, HELD / LEAST_SUSPICION)
    return min(tried, key=lambda one: abs(one[2] - HELD))


def unit(suspicion_: Floats, fraud: Bools, review: float) -> float:
    """Return how many points one unit of log odds is worth.

    Args:
        suspicion_: log odds above those of an order with nothing against it, of labelled orders.
        fraud: what these were.
        review: share of the honest ones that may be held.
    """
    line = threshold_at(fraud, suspicion_, review)
    return HELD / max(line if isfinite(line) else float(suspicion_.max()), LEAST_SUSPICION)


def _lines(model: Model, points_each: float) -> Iterator[Line]:
    for candidate in CANDIDATES:
        cuts = {cut: weight for cut, weight in model.weights.items() if cut.signal == candidate.signal}
        bins = tuple(_bins(candidate.signal, cuts, points_each))
        if bins:
            yield Line(signal=candidate.signal, bins=bins)


def _bins(signal: str, cuts: dict[Cut, float], points_each: float) -> Iterator[Bin]:
    """Yield a bin for every span between two edges that gives points at all."""
    edges = sorted({-inf, inf, *(cut.at for cut in cuts)})
    for low, high in pairwise(edges):
        points = round(points_each * sum(weight for cut, weight in cuts.items() if _has_crossed(cut, low, high)))
        if points > 0:
            yield Bin(
                code=bin_code(signal, low, high),
                low=None if low == -inf else low,
                high=None if high == inf else high,
                points=points,
                text=sentence(signal, low, high),
            )


def _has_crossed(cut: Cut, low: float, high: float) -> bool:
    return low >= cut.at if cut.above else high <= cut.at


def bin_code(signal: str, low: float, high: float) -> str:
    """Return the bin's name, made of what it is: the same bin has the same name in every version."""
    name = signal.removesuffix("_s").replace("_", "-")
    if low == -inf:
        return f"{name}.below-{_plain(high)}"
    return f"{name}.from-{_plain(low)}" if high == inf else f"{name}.from-{_plain(low)}-to-{_plain(high)}"


def _plain(edge: float) -> str:
    return str(int(edge)) if edge == int(edge) else str(edge)
