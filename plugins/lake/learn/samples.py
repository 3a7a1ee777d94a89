"""Orders to learn from: what the relay knew of each at its verdict, and what it turned out to be."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lake.learn.candidates import CANDIDATES

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NAMES = tuple(one.signal for one in CANDIDATES)


@dataclass(frozen=True, slots=True)
class Samples:
    """Orders in the order of their time.

    Attributes:
        signals: a row per order, a column per candidate signal; NaN where the order does not have it.
        fraud: what each turned out to be.
    """

    signals: Floats
    fraud: Bools

    def __len__(self) -> int:
        """How many orders."""
        return len(self.fraud)

    def __getitem__(self, which: slice | Bools) -> "Samples":
        """Some of the orders."""
        return Samples(self.signals[which], self.fraud[which])


def samples(signals: Iterable[Mapping[str, float]], fraud: Sequence[bool]) -> Samples:
    """Return the samples of orders by their stamped signals; signals that are no candidates are left out."""
    rows = [[stamped.get(name, np.nan) for name in NAMES] for stamped in signals]
    return Samples(np.array(rows, dtype=np.float64).reshape(len(rows), len(NAMES)), np.array(fraud, dtype=np.bool_))
