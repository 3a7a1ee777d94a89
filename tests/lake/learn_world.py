"""Orders to learn from: signals drawn at random, fraud drawn by known weights."""

import numpy as np

from lake.learn.candidates import CANDIDATES
from lake.learn.fit import Cut, crossed
from lake.learn.samples import NAMES, Samples

COLUMN = {name: place for place, name in enumerate(NAMES)}


def draw(seed: int, orders: int, base: float, weights: dict[Cut, float]) -> Samples:
    """Return orders whose log odds of fraud are ``base`` and the weights of the cuts that they have crossed.

    Every candidate signal has values on both sides of its edges, and is missing on every fifth order.
    """
    chance = np.random.default_rng(seed)
    signals = np.full((orders, len(NAMES)), np.nan)
    for place, one in enumerate(CANDIDATES):
        inner = (one.edges[0] - 1, *one.edges)
        signals[:, place] = chance.choice(inner, orders)
    signals[chance.random(signals.shape) < 0.2] = np.nan
    odds = np.full(orders, base)
    for cut, weight in weights.items():
        odds += weight * crossed(cut, signals[:, COLUMN[cut.signal]])
    return Samples(signals, chance.random(orders) < 1 / (1 + np.exp(-odds)))
