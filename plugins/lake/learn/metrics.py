"""How well scores tell fraud from honest orders: ROC, precision and recall, calibration, each with its interval.

Ties are never broken in a score's favour. **Recall at a false-positive rate** is what the score *guarantees*: the
lowest threshold that stays within the rate counts, and of the tied orders just below it none does. Interpolating along
the tie (as if a coin decided within it) would promise a point that no threshold has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

from lake.learn.samples import Bools, Floats

DRAWS = 400
"""Resamples behind an interval."""
SEED = 20_150_101
STRICT, LOOSE = 0.001, 0.01
"""The false-positive rates at which recall is told."""


class Quality(NamedTuple):
    """What a score is worth. NaN where there is no fraud or nothing else."""

    auc: float
    average_precision: float
    recall_at_1pct_fpr: float
    recall_at_01pct_fpr: float
    orders: int
    fraud: int


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and the middle 95 % of what resampling the orders makes of it."""

    value: float
    low: float
    high: float


class Reliability(NamedTuple):
    """Orders of similar predicted chance: how many, the mean chance, and how many were fraud."""

    orders: int
    predicted: float
    fraud: int


def quality(fraud: Bools, score: Floats) -> Quality:
    """Return all measures of a score; more means more like fraud."""
    orders, frauds = len(fraud), int(fraud.sum())
    if not 0 < frauds < orders:
        nan = float("nan")
        return Quality(nan, nan, nan, nan, orders, frauds)
    return Quality(
        auc(fraud, score),
        float(average_precision_score(fraud, score)),
        recall_at(fraud, score, LOOSE),
        recall_at(fraud, score, STRICT),
        orders,
        frauds,
    )


def recall_at(fraud: Bools, score: Floats, rate: float) -> float:
    """Return the share of fraud above the lowest threshold that at most this share of honest orders reaches."""
    return recall_above(fraud, score, threshold_at(fraud, score, rate))


def threshold_at(fraud: Bools, score: Floats, rate: float) -> float:
    """Return the lowest score from which on at most this share of the honest orders lies; infinity if none does."""
    honest = np.sort(score[~fraud])[::-1]
    allowed = int(rate * len(honest) + 1e-9)
    if allowed >= len(honest):
        return float(score.min())
    above = score[score > honest[allowed]]
    return float(above.min()) if len(above) else inf


def recall_above(fraud: Bools, score: Floats, threshold: float) -> float:
    """Return the share of fraud that reaches a threshold; NaN if there is no fraud."""
    return float((score[fraud] >= threshold).mean()) if fraud.any() else float("nan")


def interval(fraud: Bools, score: Floats, measure: Callable[[Bools, Floats], float]) -> Interval:
    """Return a measure with the 95 % interval of the bootstrap (percentiles of resampled orders, a fixed seed)."""
    return _interval(measure(fraud, score), _resampled(fraud, lambda which: measure(fraud[which], score[which])))


def gain(fraud: Bools, new: Floats, old: Floats, measure: Callable[[Bools, Floats], float]) -> Interval:
    """Return by how much a score is better than another on the same orders: both see the same resamples."""

    def better(which: np.ndarray) -> float:
        return measure(fraud[which], new[which]) - measure(fraud[which], old[which])

    return _interval(better(np.arange(len(fraud))), _resampled(fraud, better))


def auc(fraud: Bools, score: Floats) -> float:
    """Return the area under the ROC curve: the chance that a fraud scores above an honest order, ties counting half."""
    bad = int(fraud.sum())
    good = len(fraud) - bad
    # The ranks of the frauds tell it, some fifty times as fast as the curve does: resampling needs it 1,200 times.
    return float((rankdata(score)[fraud].sum() - bad * (bad + 1) / 2) / (bad * good))


def reliability(fraud: Bools, chance: Floats, groups: int = 10) -> list[Reliability]:
    """Return predicted against observed fraud in groups of about equally many orders; equal chances stay together."""
    edges = np.unique(np.quantile(chance, np.linspace(0, 1, groups + 1)[1:-1]))
    place = np.searchsorted(edges, chance, side="left")
    found = []
    for group in np.unique(place):
        inside = place == group
        found.append(Reliability(int(inside.sum()), float(chance[inside].mean()), int(fraud[inside].sum())))
    return found


def _resampled(fraud: Bools, measure: Callable[[np.ndarray], float]) -> list[float]:
    """Measure resamples of the orders, frauds and honest ones apart, so that each resample has both."""
    draw = np.random.default_rng(SEED)
    bad, good = np.flatnonzero(fraud), np.flatnonzero(~fraud)
    return [measure(np.concatenate([draw.choice(bad, len(bad)), draw.choice(good, len(good))])) for _ in range(DRAWS)]


def _interval(value: float, drawn: list[float]) -> Interval:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(value, float(low), float(high))
