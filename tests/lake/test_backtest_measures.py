"""Intervals against published numbers, and the areas against their definitions."""

import numpy as np
import pytest

from lake.backtest.measures import auc, auc_gain, average_precision, precision_recall, roc, share

DRAWN = [np.random.default_rng(seed) for seed in range(40)]
TIED = [(draw.integers(-3, 4, draw.integers(2, 20)), draw.integers(-3, 4, draw.integers(2, 20))) for draw in DRAWN]
"""Scores of fraud and good orders with many ties."""


def floats(values: "list[int] | np.ndarray") -> "np.ndarray":
    return np.array(values, dtype=np.float64)


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [
        # Newcombe, "Two-sided confidence intervals for the single proportion", Stat. Med. 17 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_numbers(hits: int, of: int, low: float, high: float) -> None:
    found = share(hits, of)
    assert found is not None
    assert (found.hits, found.of, found.value) == (hits, of, hits / of)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_share_of_nothing_is_none_and_all_reaches_one() -> None:
    assert share(0, 0) is None
    found = share(7, 7)
    assert found is not None
    assert found.high == 1.0
    assert found.low < 1.0


@pytest.mark.parametrize(("fraud", "good"), TIED)
def test_auc_is_the_chance_to_score_higher(fraud: "np.ndarray", good: "np.ndarray") -> None:
    pairs = [(f > g) + (f == g) / 2 for f in fraud for g in good]
    found = auc(floats(fraud), floats(good))
    assert found is not None
    assert found.value == pytest.approx(sum(pairs) / len(pairs))
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_delong_variance_is_that_of_the_definition() -> None:
    """Structural components by the double sum of the paper."""
    draw = np.random.default_rng(3)
    fraud, good = draw.normal(1, 1, 30).round(1), draw.normal(0, 1, 50).round(1)
    psi = (fraud[:, None] > good[None, :]) + (fraud[:, None] == good[None, :]) / 2
    variance = psi.mean(axis=1).var(ddof=1) / 30 + psi.mean(axis=0).var(ddof=1) / 50
    found = auc(fraud, good)
    assert found is not None
    assert found.high - found.value == pytest.approx(1.959964 * variance**0.5, rel=1e-6)


def test_gain_is_paired() -> None:
    draw = np.random.default_rng(4)
    fraud, good = draw.normal(1, 1, 200), draw.normal(0, 1, 400)
    same = auc_gain((fraud, good), (2 * fraud, 2 * good))
    assert same is not None
    assert (same.value, same.low, same.high) == (0, 0, 0), "another unit ranks alike"
    better = auc_gain((fraud, good), (fraud + 0.3, good))
    assert better is not None
    alone, shifted = auc(fraud, good), auc(fraud + 0.3, good)
    assert alone is not None
    assert shifted is not None
    assert better.value == pytest.approx(shifted.value - alone.value)
    assert better.low > 0 > alone.low - shifted.value, "the pairs make certain what two intervals would not"


@pytest.mark.parametrize(("fraud", "good"), TIED)
def test_average_precision_by_its_definition(fraud: "np.ndarray", good: "np.ndarray") -> None:
    expected = 0.0
    for level in sorted(set(fraud.tolist()), reverse=True):
        caught = (fraud >= level).sum()
        expected += (fraud == level).mean() * caught / (caught + (good >= level).sum())
    found = average_precision(floats(fraud), floats(good))
    assert found is not None
    assert found.value == pytest.approx(expected)
    assert found == average_precision(floats(fraud), floats(good)), "the draws have a fixed seed"


def test_too_few_orders_give_no_number() -> None:
    assert auc(floats([1]), floats([1, 2])) is None
    assert auc_gain((floats([]), floats([1, 2])), (floats([]), floats([1, 2]))) is None
    assert average_precision(floats([]), floats([1])) is None


def test_curves_go_from_the_highest_score_to_all() -> None:
    fraud, good = floats([90, 50, 50]), floats([50, 10, 0, 0])
    assert list(zip(roc(fraud, good).x, roc(fraud, good).y, strict=True)) == [
        (0.0, 0.0),
        (0.0, pytest.approx(1 / 3)),
        (0.25, 1.0),
        (0.5, 1.0),
        (1.0, 1.0),
    ]
    curve = precision_recall(fraud, good)
    assert curve.x == [pytest.approx(1 / 3), 1.0, 1.0, 1.0]
    assert curve.y == [1.0, 0.75, 0.6, pytest.approx(3 / 7)]
