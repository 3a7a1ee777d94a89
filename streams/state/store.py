"""What a table asks of the place where its committed values are."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from confluent_kafka import Message

DAY_MS = 24 * 60 * 60 * 1000


class Due(NamedTuple):
    """A key whose turn it is to be looked at: when it was filed, its value was as of that day."""

    day: int
    key: str


@dataclass(slots=True)
class Commit:
    """What one transaction did to a table.

    Attributes:
        values: packed values by key; None: deleted.
        new: which of the keys the store does not have yet.
        looked_at: what :meth:`Store.due` said and has been seen to.
        file_again: keys among them that live on, with the day that their values are as of.
        latest: largest event time, after this transaction.
        offset: a changelog offset up to which the table is complete with this commit, None if not known.
    """

    values: dict[str, bytes | None]
    new: set[str]
    looked_at: list[Due]
    file_again: list[Due]
    latest: int
    offset: int | None = None


class Store(Protocol):
    """Committed, packed values of one partition, and a calendar of when to look at each again.

    Attributes:
        oldest_day: no key is filed before this day.
        wants_offset: whether :attr:`Commit.offset` is of use.
        next_offset: where the changelog goes on from for this store.
    """

    oldest_day: float
    wants_offset: bool
    next_offset: int

    def read(self, key: str, /) -> bytes | None:
        """Return the packed value of a key, None if there is none."""

    def load(self, records: Iterable[Message]) -> None:
        """Take changelog records in offset order; the last one of a key counts.

        Raises:
            Unreadable: a record cannot be read; the message names it and the remedy.
        """

    def loaded(self) -> int:
        """End the loading; return the largest ``as_of`` of all committed values, 0 if there is none.

        Raises:
            Unreadable: a value cannot be read.
        """

    def due(self, before: int, most: int) -> list[Due]:
        """Return up to ``most`` keys filed before day ``before``: the same ones until a commit says otherwise."""

    def write(self, commit: Commit) -> None:
        """Keep what a committed transaction changed."""

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Yield all keys and packed values."""

    def __len__(self) -> int: ...

    def close(self) -> None:
        """Let go of files, if there are any."""
