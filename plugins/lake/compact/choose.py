"""Which data files of a table become one: small neighbours within a partition."""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

LARGE_BYTES = 32 * 2**20
"""What files are put together to. Ten times that is in memory meanwhile: JSON compresses well."""
FEWEST = 8
"""So many files are worth being written anew."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A data file.

    Attributes:
        path: its name.
        partition: what it is partitioned by; files of different partitions never become one.
        place: where it stands among those of its partition; neighbours stay neighbours.
        size: in bytes.
    """

    path: str
    partition: Hashable
    place: int
    size: int


def together(pieces: Iterable[Piece], large: int = LARGE_BYTES, fewest: int = FEWEST) -> Iterator[list[Piece]]:
    """Yield the files that become one, in the order of their places.

    A file of half of ``large`` or more is left alone, and none is put together across it, so that the rows of a
    partition keep the order that their files have. What is written is at most ``large``, give or take compression.
    """
    by_partition: dict[Hashable, list[Piece]] = {}
    for piece in sorted(pieces, key=lambda one: (one.place, one.path)):
        by_partition.setdefault(piece.partition, []).append(piece)
    for its in by_partition.values():
        yield from (run for run in _runs(its, large) if len(run) >= fewest)


def _runs(pieces: list[Piece], large: int) -> Iterator[list[Piece]]:
    run: list[Piece] = []
    size = 0
    for piece in pieces:
        alone = piece.size * 2 >= large
        if run and (alone or size + piece.size > large):
            yield run
            run, size = [], 0
        if not alone:
            run.append(piece)
            size += piece.size
    if run:
        yield run
