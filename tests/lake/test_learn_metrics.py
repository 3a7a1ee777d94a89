"""Measures against their plain definitions, ties included."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from lake.learn.metrics import auc, gain, interval, quality, recall_at, reliability, threshold_at


def drawn(seed: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and scores with so many different values that know a little of them."""
    chance = np.random.default_rng(seed)
    fraud = chance.random(400) < 0.15
    return fraud, np.floor((chance.random(400) + 0.4 * fraud) * levels)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("levels", [1, 3, 1000])
def test_auc_is_the_share_of_pairs_in_the_right_order_with_ties_half(seed: int, levels: int) -> None:
    fraud, score = drawn(seed, levels)
    bad, good = score[fraud][:, None], score[~fraud][None, :]
    expected = ((bad > good).mean() + 0.5 * (bad == good).mean()).item()
    assert auc(fraud, score) == pytest.approx(expected)
    assert quality(fraud, score).auc == pytest.approx(expected)
    assert quality(fraud, score).average_precision == pytest.approx(average_precision_score(fraud, score))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("levels", [1, 3, 20, 1000])
@pytest.mark.parametrize("rate", [0, 0.001, 0.01, 0.2, 1])
def test_recall_is_the_best_that_any_threshold_within_the_rate_gives(seed: int, levels: int, rate: float) -> None:
    fraud, score = drawn(seed, levels)
    fitting = [at for at in [*np.unique(score), math.inf] if (score[~fraud] >= at).mean() <= rate]
    assert recall_at(fraud, score, rate) == max((score[fraud] >= at).mean() for at in fitting)
    assert threshold_at(fraud, score, rate) == min(fitting)


def test_tied_orders_are_in_or_out_together() -> None:
    """Two thirds of the fraud tie with 3 % of the honest orders: at 1 % none of the tie is found, not a third of it."""
    fraud = np.array([True] * 3 + [False] * 100)
    score = np.array([9.0, 5, 5] + [5.0] * 3 + [0.0] * 97)
    assert recall_at(fraud, score, 0.01) == pytest.approx(1 / 3)
    assert recall_at(fraud, score, 0.03) == 1


def test_nothing_can_be_measured_without_fraud_or_honest_orders() -> None:
    for fraud in (np.zeros(5, bool), np.ones(5, bool)):
        found = quality(fraud, np.arange(5.0))
        assert all(math.isnan(value) for value in found[:4])
        assert (found.orders, found.fraud) == (5, fraud.sum())


def test_intervals_are_the_same_every_time_and_hold_the_value() -> None:
    fraud, score = drawn(1, 1000)
    one = interval(fraud, score, auc)
    assert one == interval(fraud, score, auc)
    assert one.low < one.value < one.high
    # Hanley and McNeil's standard error is near 0.03 here.
    assert 0.05 < one.high - one.low < 0.2


def test_gain_over_itself_is_nothing_and_over_noise_is_sure() -> None:
    fraud, score = drawn(2, 1000)
    same = gain(fraud, score, score, auc)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    noise = np.random.default_rng(3).random(len(fraud))
    assert gain(fraud, score + 300 * fraud, noise, auc).low > 0.1


def test_reliability_counts_every_order_once_and_equal_chances_together() -> None:
    chance = np.repeat([0.1, 0.2, 0.9], [500, 300, 200])
    fraud = np.arange(1000) % 10 == 0
    found = reliability(fraud, chance)
    assert [(group.orders, group.predicted) for group in found] == [
        (500, pytest.approx(0.1)),
        (300, pytest.approx(0.2)),
        (200, pytest.approx(0.9)),
    ]
    assert [group.fraud for group in found] == [50, 30, 20]
