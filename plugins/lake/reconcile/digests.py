"""Byte-for-byte comparison of what is too large to be held in memory twice: by 128-bit digests with keys of the run.

The digests are those of polars (one pass over the column at memory speed). Their keys are drawn anew for each run and
leave it with nobody, so that no two documents can be prepared that have the same digest; by chance that happens to one
comparison in 2^128.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl


def _key() -> tuple[int, int, int, int]:
    return tuple(secrets.randbits(64) for _ in range(4))  # type: ignore[return-value]  # it has four


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one run."""

    value: tuple[int, int, int, int] = field(default_factory=_key)
    again: tuple[int, int, int, int] = field(default_factory=_key)
    event: tuple[int, int, int, int] = field(default_factory=_key)

    def of(self, event_ids: pl.Series, values: pl.Series) -> np.ndarray:
        """Return the digests of (event id, value) pairs: an array of two rows of 64-bit numbers."""
        values = values.cast(pl.Binary)
        second = values.hash(*self.again).to_numpy() ^ event_ids.hash(*self.event).to_numpy()
        return np.stack([values.hash(*self.value).to_numpy(), second])


@dataclass(frozen=True, slots=True)
class Archived:
    """The digests of one archived partition, or of that part of it which one run read.

    Attributes:
        partition: of the topic.
        rows: an array of three rows, sorted by the first: both halves of the digest, and the offset.
        number: of the run, see :class:`lake.reconcile.shards.Since`.
    """

    partition: int
    rows: np.ndarray
    number: int = 0

    @classmethod
    def of(
        cls, partition: int, digests: Sequence[np.ndarray], offsets: Sequence[np.ndarray], number: int = 0
    ) -> "Archived":
        """Return the digests of a partition whose batches are these."""
        if not digests:
            return cls(partition, np.empty((3, 0), np.uint64), number)
        rows = np.vstack([np.concatenate(digests, axis=1), np.concatenate(offsets).astype(np.uint64)])
        return cls(partition, np.ascontiguousarray(rows[:, np.argsort(rows[0], kind="stable")]), number)

    def find(self, digests: np.ndarray) -> np.ndarray:
        """Return for each digest where it stands in ``rows``, -1 if it does not."""
        first, second, _ = self.rows
        if not first.size:
            return np.full(digests.shape[1], -1)
        order = np.argsort(digests[0])  # neighbours in turn: the same lines of the processor's cache
        place = np.empty(digests.shape[1], np.int64)
        place[order] = np.searchsorted(first, digests[0][order])
        at = np.minimum(place, first.size - 1)
        return np.where((first[at] == digests[0]) & (second[at] == digests[1]), at, -1)
