"""Learns the weights of a scorecard: logistic regression on bins that only ever add suspicion.

**Form.** log odds of fraud = base + sum of the weights of the cuts that an order has crossed. A *cut* is a signal and
an edge: ``device.customers >= 2``, ``customer.account_age_s < 60``. All weights are positive, and cuts of a signal that
speaks ``UP`` are all of the kind ``>=``. So the points of its bins rise with it, exactly and not only on average, and
an order that lacks a signal has crossed none of its cuts: it gets no points, which is what a scorecard does.

**Weights.** They minimise

    sum of log loss over the orders + RIDGE / 2 * sum of (weight - prior weight)^2,  every weight >= 0

which is the most likely model if each weight was drawn from a normal distribution around what was believed before
(Hastie, Tibshirani, Friedman, "The Elements of Statistical Learning", 3.4.1); a cut of which nothing was believed has
the prior weight 0. Few labels leave the belief as it is, many overrule it. Solved by SciPy's L-BFGS-B, which keeps the
bounds.

**Choice.** All cuts of the prior, then forward, one cut at a time. The next cut is the one with the largest score
statistic

    U^2 / V,  U = sum of (y - p) over the orders that have crossed it,  V = c - c^2 / sum of p(1 - p),
              c = sum of p(1 - p) over the orders that have crossed it

which is what a likelihood ratio test would gain by it, without a fit for each (Rao, "Large sample tests of statistical
hypotheses", 1948). It must be more than ln(number of orders), the price of a parameter by the Bayesian information
criterion (Schwarz, 1978). A signal that is only 0 or 1 pays nothing: its direction is known beforehand and there is no
edge to search for, so that the penalty on its weight is guard enough. After each, all weights are fitted anew; one that
ends at zero is left out of the model.

Nothing is drawn at random: the same orders always give the same model.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import log
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from threadpoolctl import threadpool_limits

from lake.learn.candidates import BOTH, CANDIDATES, DOWN, UP, Candidate
from lake.learn.samples import Bools, Floats, Samples

LEAST_ORDERS = 25
"""A cut that fewer orders have crossed is not looked at: a bin of a handful proves nothing."""

LEAST_FRAUDS = 25
"""Below so many known frauds, and as many honest orders, nothing is learned at all."""

MOST_CUTS = 40
FLAG_PRICE = 0.0
"""Of a signal that is only 0 or 1; of others, ln(orders)."""
RIDGE = 2.0
"""Strength of the penalty: a normal prior of variance 1/2 on each weight, so that two thirds lie within a factor of two
of the odds that were believed. It also keeps the weight of a bin that is all fraud finite."""
NOTHING_BELIEVED: Mapping["Cut", float] = MappingProxyType({})


LEAST_WEIGHT = 1e-6
"""In log odds; the solver's own precision, below which a weight is nought."""

_COLUMNS = {one.signal: column for column, one in enumerate(CANDIDATES)}


class TooFewLabels(ValueError):
    """There is too little to learn from; the message says what there is and what it takes."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One edge of one signal.

    Attributes:
        signal: its name on the order.
        above: crossed by values from ``at`` up; else by values below ``at``.
        at: the edge.
    """

    signal: str
    above: bool
    at: float


@dataclass(frozen=True, slots=True)
class Model:
    """What was learned.

    Attributes:
        base: log odds of an order that has crossed no cut.
        weights: log odds that each cut adds, all above zero.
        orders: how many it was learned from.
        frauds: how many of them were fraud.
    """

    base: float
    weights: dict[Cut, float]
    orders: int
    frauds: int


# On a busy machine several threads spend many times longer waiting for each other than such small sums take.
@threadpool_limits.wrap(limits=1, user_api="blas")
def fit(known: Samples, prior: Mapping[Cut, float] = NOTHING_BELIEVED) -> Model:
    """Return what the orders teach.

    Args:
        known: labelled orders.
        prior: the weight in log odds of each cut that was believed in before.

    Raises:
        TooFewLabels: fewer than ``LEAST_FRAUDS`` frauds or honest orders.
    """
    frauds = int(known.fraud.sum())
    if min(frauds, len(known) - frauds) < LEAST_FRAUDS:
        raise TooFewLabels(
            f"{frauds} of {len(known)} orders are known as fraud, {len(known) - frauds} as honest: it takes "
            f"{LEAST_FRAUDS} of each to learn from"
        )
    search = _Search(known, prior)
    chosen = [_Option(cut, crossed(cut, known.signals[:, _COLUMNS[cut.signal]]), prior[cut]) for cut in prior]
    share = frauds / len(known)
    found = _weights(known, chosen, np.array([log(share / (1 - share)), *prior.values()]))
    price = log(len(known))
    while len(chosen) < len(prior) + MOST_CUTS:
        best = search.best(_chances(chosen, found, len(known)), price)
        if best is None:
            break
        chosen.append(best)
        found = _weights(known, chosen, np.append(found, 0.0))
    weights = {one.cut: float(weight) for one, weight in zip(chosen, found[1:], strict=True) if weight > LEAST_WEIGHT}
    return Model(float(found[0]), weights, len(known), frauds)


@dataclass(frozen=True, slots=True)
class _Option:
    cut: Cut
    crossed: Bools
    believed: float


class _Search:
    """All cuts that there are, looked through by histogram: one pass over the orders per signal, not per cut."""

    def __init__(self, known: Samples, taken: Iterable[Cut]) -> None:
        self._known = known
        self._fraud = known.fraud.astype(np.float64)
        self._tried = set(taken)
        self._places = [_places(one, known.signals[:, column]) for column, one in enumerate(CANDIDATES)]
        self._orders = [
            np.bincount(places, minlength=len(one.edges) + 2)
            for one, places in zip(CANDIDATES, self._places, strict=True)
        ]

    def best(self, chance: Floats, price: float) -> _Option | None:
        """Return the cut that explains most of what the chances so far leave open, None if none is worth the price."""
        missed, spread = self._fraud - chance, chance * (1 - chance)
        total = float(spread.sum())
        found: tuple[float, Cut, int] | None = None
        for column, one in enumerate(CANDIDATES):
            if not self._orders[column][1:].any():
                continue
            u, c = (np.bincount(self._places[column], part, len(one.edges) + 2) for part in (missed, spread))
            for above in _kinds(one):
                gains = _gains(_crossing(u, above), _crossing(c, above), _crossing(self._orders[column], above), total)
                for place in np.argsort(-gains, kind="stable"):
                    cut = Cut(one.signal, above, float(one.edges[place]))
                    if gains[place] <= max(found[0] if found else 0.0, FLAG_PRICE if len(one.edges) == 1 else price):
                        break
                    if cut not in self._tried:
                        found = float(gains[place]), cut, column
                        break
        if found is None:
            return None
        _, cut, column = found
        self._tried.add(cut)
        return _Option(cut, crossed(cut, self._known.signals[:, column]), 0.0)


def crossed(cut: Cut, values: Floats) -> Bools:
    """Return which values have crossed a cut; NaN has crossed none."""
    return values >= cut.at if cut.above else values < cut.at


def log_odds(model: Model, orders: Samples) -> Floats:
    """Return the model's log odds of fraud of each order."""
    return model.base + suspicion(model, orders)


def suspicion(model: Model, orders: Samples) -> Floats:
    """Return by how much the log odds of each order lie above those of one with nothing against it."""
    found = np.zeros(len(orders))
    for cut, weight in model.weights.items():
        found += weight * crossed(cut, orders.signals[:, _COLUMNS[cut.signal]])
    return found


def _kinds(one: Candidate) -> tuple[bool, ...]:
    return {UP: (True,), DOWN: (False,), BOTH: (True, False)}[one.direction]


def _places(one: Candidate, values: Floats) -> NDArray[np.intp]:
    """Return the bin of each value: 0 where it is missing, 1 below the first edge, and so on."""
    return np.where(np.isnan(values), 0, np.searchsorted(one.edges, values, side="right") + 1)


def _crossing(sums: Floats, above: bool) -> Floats:
    """Return, per edge, the sum over all bins on its suspicious side; the first bin, of missing values, is on none."""
    return np.cumsum(sums[:1:-1])[::-1] if above else np.cumsum(sums[1:-1])


def _gains(u: Floats, c: Floats, orders: Floats, total: float) -> Floats:
    """Return the score statistic per edge, 0 where the cut would speak for honesty or too few have crossed it."""
    variance = c - c * c / total
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = u * u / variance
    return np.where((u > 0) & (orders >= LEAST_ORDERS) & (variance > 1e-9), gains, 0.0)


def _weights(known: Samples, chosen: list[_Option], start: Floats) -> Floats:
    """Return the base and the weights, in one row."""
    crossings = _matrix(chosen, len(known))
    believed, fraud = np.array([one.believed for one in chosen]), known.fraud.astype(np.float64)

    def loss(row: Floats) -> tuple[float, Floats]:
        odds, off = row[0] + crossings @ row[1:], row[1:] - believed
        missed = expit(odds) - fraud
        value = float(np.logaddexp(0, odds).sum() - fraud @ odds + RIDGE / 2 * off @ off)
        return value, np.concatenate(([missed.sum()], crossings.T @ missed + RIDGE * off))

    bounds = [(None, None)] + [(0, None)] * len(chosen)
    options = {"maxiter": 500, "ftol": 1e-10}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return np.asarray(found.x, dtype=np.float64)


def _chances(chosen: list[_Option], found: Floats, orders: int) -> Floats:
    return np.asarray(expit(found[0] + _matrix(chosen, orders) @ found[1:]), dtype=np.float64)


def _matrix(chosen: list[_Option], orders: int) -> Floats:
    return np.column_stack([one.crossed for one in chosen]).astype(np.float64) if chosen else np.zeros((orders, 0))
