"""Keeps records in memory, sorted by any of their keys, so that a page costs its own size and not that of the store."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator

type Value = int | str
type Position = tuple[Value, int]
"""Where a record stands in an index: the value sorted by, then the record's number, which tells equal values apart."""

AFTER_ALL_NUMBERS = 2**63


class Numbered[R]:
    """Records by id, each with the number it got when it first came in."""

    def __init__(self, first_number: int = 1) -> None:
        self._first_number = first_number
        self._numbers: dict[str, int] = {}
        self._records: dict[int, R] = {}
        self._indexes: dict[Callable[[R], Value], list[Position]] = {}

    def __len__(self) -> int:
        return len(self._records)

    def put(self, key: str, record: R) -> None:
        """Add a record, or replace the one of the same id."""
        number = self._numbers.setdefault(key, self._first_number + len(self._numbers))
        self._records[number] = record
        self._indexes.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._numbers.clear()
        self._records.clear()
        self._indexes.clear()

    def number(self, key: str) -> int | None:
        """The number of the record with this id, None if there is none."""
        return self._numbers.get(key)

    def get(self, number: int) -> R | None:
        """The record with this number, None if there is none."""
        return self._records.get(number)

    def scan(
        self,
        by: Callable[[R], Value],
        *,
        descending: bool = False,
        low: Value | None = None,
        high: Value | None = None,
        after: Position | None = None,
    ) -> Iterator[tuple[Position, R]]:
        """Yield records in the order of a key.

        Args:
            by: the key; the same function each time, since its index is kept.
            descending: from the highest on.
            low: the lowest value to include.
            high: the highest value to include.
            after: start behind this position, whether or not a record stands there.
        """
        index = self._index(by)
        start = 0 if low is None else bisect_left(index, (low, -1))
        stop = len(index) if high is None else bisect_right(index, (high, AFTER_ALL_NUMBERS))
        if after is not None and descending:
            stop = min(stop, bisect_left(index, after))
        elif after is not None:
            start = max(start, bisect_right(index, after))
        for place in range(stop - 1, start - 1, -1) if descending else range(start, stop):
            position = index[place]
            yield position, self._records[position[1]]

    def _index(self, by: Callable[[R], Value]) -> list[Position]:
        index = self._indexes.get(by)
        if index is None:
            index = sorted((by(record), number) for number, record in self._records.items())
            self._indexes[by] = index
        return index
