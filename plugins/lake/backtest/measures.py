"""How well scores and outcomes tell fraud from good orders, each number with its 95 % interval.

* Proportions (precision, recall, false positives): Wilson's score interval. Wilson, "Probable inference, the law of
  succession, and statistical inference", JASA 22 (1927).
* Area under the ROC curve, and the difference of two such areas over the same orders: DeLong, DeLong & Clarke-Pearson,
  "Comparing the areas under two or more correlated ROC curves", Biometrics 44 (1988); ranks by sorting, after Sun & Xu,
  IEEE Signal Processing Letters 21 (2014).
* Average precision: percentiles of ``DRAWS`` bootstrap samples, drawn within fraud and good apart, with a fixed seed.
"""

from math import sqrt

import msgspec
import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Z = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""
DRAWS = 1000
SEED = 1


class Share(msgspec.Struct, frozen=True):
    """A proportion of orders, ``hits`` of ``of``, with its interval."""

    hits: int
    of: int
    value: float
    low: float
    high: float


class Estimate(msgspec.Struct, frozen=True):
    """A number with its interval."""

    value: float
    low: float
    high: float


class Curve(msgspec.Struct, frozen=True):
    """Points of a curve, one per distinct score, from the highest score on."""

    x: list[float]
    y: list[float]


def share(hits: int, of: int) -> Share | None:
    """Return a proportion with Wilson's interval; None if there is nothing to take it of."""
    if not of:
        return None
    p, z2 = hits / of, Z * Z
    middle = (p + z2 / (2 * of)) / (1 + z2 / of)
    half = Z / (1 + z2 / of) * sqrt(p * (1 - p) / of + z2 / (4 * of * of))
    # At 0 and at 1 the formula gives exactly 0 and 1, but for rounding.
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    high = 1.0 if hits == of else min(1.0, middle + half)
    return Share(hits, of, p, low, high)


def auc(fraud: Numbers, good: Numbers) -> Estimate | None:
    """Return the area under the ROC curve: the chance that a fraud scores above a good order, ties counting half.

    Args:
        fraud, good: the scores of either kind.

    Returns:
        None if either kind has fewer than two orders: then it has no variance.
    """
    if len(fraud) < 2 or len(good) < 2:
        return None
    of_fraud, of_good = _placements(fraud, good)
    return _within(of_fraud.mean(), of_fraud.var(ddof=1) / len(fraud) + of_good.var(ddof=1) / len(good), 0.0)


def auc_gain(before: tuple[Numbers, Numbers], after: tuple[Numbers, Numbers]) -> Estimate | None:
    """Return by how much the area grows from one score to another of the *same* orders in the same order.

    Args:
        before, after: the scores of fraud and of good orders.
    """
    if len(before[0]) < 2 or len(before[1]) < 2:
        return None
    (fraud_0, good_0), (fraud_1, good_1) = _placements(*before), _placements(*after)
    of_fraud, of_good = fraud_1 - fraud_0, good_1 - good_0
    return _within(of_fraud.mean(), of_fraud.var(ddof=1) / len(of_fraud) + of_good.var(ddof=1) / len(of_good), -1.0)


def _placements(fraud: Numbers, good: Numbers) -> tuple[Numbers, Numbers]:
    """Return for each fraud the share of good orders below it, and for each good order that of frauds above it."""
    goods, frauds = np.sort(good), np.sort(fraud)
    below = (np.searchsorted(goods, fraud, "left") + np.searchsorted(goods, fraud, "right")) / (2 * len(good))
    above = 1 - (np.searchsorted(frauds, good, "left") + np.searchsorted(frauds, good, "right")) / (2 * len(fraud))
    return below, above


def _within(value: float, variance: float, least: float) -> Estimate:
    half = Z * sqrt(max(0.0, variance))
    return Estimate(float(value), float(max(least, value - half)), float(min(1.0, value + half)))


def average_precision(fraud: Numbers, good: Numbers) -> Estimate | None:
    """Return the sum over falling thresholds of (gain in recall) x precision; None without both kinds."""
    if not len(fraud) or not len(good):
        return None
    frauds, goods = _by_score(fraud, good)
    draw = np.random.default_rng(SEED)
    sampled = _average(
        draw.multinomial(len(fraud), frauds / frauds.sum(), DRAWS),
        draw.multinomial(len(good), goods / goods.sum(), DRAWS),
    )
    low, high = np.percentile(sampled, (2.5, 97.5))
    return Estimate(float(_average(frauds[None], goods[None])[0]), float(low), float(high))


def roc(fraud: Numbers, good: Numbers) -> Curve:
    """Return recall (y) over the share of good orders stopped (x)."""
    frauds, goods = _by_score(fraud, good)
    x, y = np.cumsum(goods) / max(1, len(good)), np.cumsum(frauds) / max(1, len(fraud))
    return Curve([0.0, *x.tolist()], [0.0, *y.tolist()])


def precision_recall(fraud: Numbers, good: Numbers) -> Curve:
    """Return precision (y) over recall (x)."""
    frauds, goods = (np.cumsum(one) for one in _by_score(fraud, good))
    return Curve((frauds / max(1, len(fraud))).tolist(), (frauds / (frauds + goods)).tolist())


def _by_score(fraud: Numbers, good: Numbers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many of either kind have each distinct score, the highest first."""
    levels, place = np.unique(np.concatenate((fraud, good)), return_inverse=True)
    count = len(levels)
    frauds = np.bincount(place[: len(fraud)], minlength=count)
    goods = np.bincount(place[len(fraud) :], minlength=count)
    return frauds[::-1], goods[::-1]


def _average(frauds: NDArray[np.int64], goods: NDArray[np.int64]) -> Numbers:
    """Return the average precision of each row of counts by falling score."""
    found, all_ = np.cumsum(frauds, axis=1), np.cumsum(frauds + goods, axis=1)
    precision = np.divide(found, all_, out=np.zeros(found.shape), where=all_ > 0)
    result: Numbers = (frauds * precision).sum(axis=1) / frauds.sum(axis=1)
    return result
