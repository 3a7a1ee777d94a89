"""What is believed before any label: the weights of the scorecard that was set by hand.

Learning begins there. In the first weeks, when a handful of frauds is known, a person's judgement is worth more than
what so few can say; the more labels there are, the less of it is left (:mod:`lake.learn.fit`).
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import log

from lake.learn.candidates import CANDIDATES, DOWN, UP, Candidate
from lake.learn.fit import Cut
from order_fraud.scorecard import Line, Scorecard
from scorecards import HAND_SET

POINTS_TO_DOUBLE = 20
"""How points that were set by hand are read: so many more, and the odds of fraud are twice as high."""

Prior = Mapping[Cut, float]
"""The weight of each cut that is believed in, in log odds."""


def prior_of(card: Scorecard) -> Prior:
    """Return the cuts that give the points of a scorecard, each with its weight.

    Bins are read at the edges of the candidates: an edge between two of them counts from the next one on. Points that
    fall towards suspicion have no cut, and neither has a signal that is no candidate.
    """
    lines = {line.signal: line for line in card.lines}
    unit = log(2) / POINTS_TO_DOUBLE
    return {
        cut: unit * points
        for one in CANDIDATES
        if one.signal in lines
        for cut, points in _steps(one, lines[one.signal])
    }


def _steps(one: Candidate, line: Line) -> Iterator[tuple[Cut, int]]:
    """Yield the cuts at which the points rise, from the least suspicious bin to the most, and by how much."""
    inner = [(low + high) / 2 for low, high in pairwise(one.edges)]
    points = [_points(line, value) for value in (one.edges[0] - 1e-3, *inner, one.edges[-1] + 1)]
    above = one.direction == UP or (one.direction != DOWN and points[-1] > points[0])
    edges = one.edges if above else one.edges[::-1]
    rising = points if above else points[::-1]
    reached = rising[0]
    for edge, now in zip(edges, rising[1:], strict=True):
        if now > reached:
            yield Cut(one.signal, above, float(edge)), now - reached
            reached = now


def _points(line: Line, value: float) -> int:
    return sum(
        one.points
        for one in line.bins
        if (one.low is None or value >= one.low) and (one.high is None or value < one.high)
    )


BY_HAND: Prior = prior_of(HAND_SET)
