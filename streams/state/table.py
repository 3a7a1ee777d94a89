"""One partition's table: the open transaction's changes, hot values as objects, and expiry."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from confluent_kafka import KafkaError, Message

from streams.state.spec import Spec, Unreadable
from streams.state.store import DAY_MS, Commit, Due, Store

log = logging.getLogger(__name__)

HOT = 4_096
"""Values that one table keeps as objects, twice at most: what is asked for again soon need not be unpacked again."""

LOOKS = 64
"""Keys that a transaction looks at, at least, to see whether they have expired. It looks at two for each that it
changed, so that dropping keeps up with writing, and no transaction does more than a fraction of its own work."""


class Table[V]:
    """Values by key of one changelog partition; a mapping as far as agents need one.

    Everything is written to the open transaction, and read from it. :meth:`changes` says what the changelog must get,
    then :meth:`commit` keeps it or :meth:`rollback` forgets it, ``latest`` included.

    A value is in one place of each kind: packed in the store if it is committed; as an object in ``_hot`` or ``_warm``
    if it was asked for lately. ``_hot`` becomes ``_warm`` when it is full, and what was warm is let go.

    Attributes:
        changelog: topic of the changelog.
        partition: of the changelog and of the input topic.
        latest: largest event time that the table's user has accepted, ms; whoever uses it moves it on.
    """

    __slots__ = (
        "_changed",
        "_codec",
        "_commit",
        "_committed_latest",
        "_delivered",
        "_hot",
        "_new",
        "_read",
        "_store",
        "_warm",
        "changelog",
        "latest",
        "partition",
    )

    def __init__(self, spec: Spec, partition: int, store: Store) -> None:
        self.changelog = spec.changelog
        self.partition = partition
        self.latest = self._committed_latest = 0
        self._codec = spec.codec
        self._store = store
        self._read: Callable[[str], bytes | None] = store.read
        self._hot: dict[str, V] = {}
        self._warm: dict[str, V] = {}
        self._changed: dict[str, V | None] = {}
        self._new: set[str] = set()  # keys asked for that the store does not have
        self._commit: Commit | None = None
        self._delivered: list[int] = []

    def get(self, key: str, /) -> V | None:
        """Return the value of a key, None if it has none.

        Raises:
            Unreadable: the changelog held something else; the message says what to do.
        """
        value = self._hot.get(key)
        return self._fetch(key) if value is None else value

    def _fetch(self, key: str) -> V | None:
        if key in self._new or key in self._changed:  # changed and not hot: deleted
            return None
        value = self._warm.pop(key, None)
        if value is None:
            packed = self._read(key)
            if packed is None:
                self._new.add(key)
                return None
            value = self._unpack(key, packed)
        self._hot[key] = value
        return value

    def _unpack(self, key: str, packed: bytes) -> V:
        try:
            value: V = self._codec.unpack(packed)
        except Exception as error:
            raise self._unreadable(f"value of {key!r} ({error})") from error
        return value

    def _unreadable(self, what: object) -> Unreadable:
        return Unreadable(
            f"changelog {self.changelog}, partition {self.partition}: {what} was not written by this version. Run the "
            f"version that wrote it; or, to begin with empty tables, stop all workers and delete and create the topic"
        )

    def __setitem__(self, key: str, value: V, /) -> None:
        hot = self._hot
        if key not in hot:
            self._fetch(key)
        hot[key] = self._changed[key] = value

    def __delitem__(self, key: str, /) -> None:
        """Delete a key; deleting what is not there does nothing."""
        if self.get(key) is not None:
            del self._hot[key]
            self._changed[key] = None

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key) is not None

    def __len__(self) -> int:
        """Return how many keys have a value (with files: reads all of them)."""
        balance = sum((key in self._new) - (value is None) for key, value in self._changed.items())
        return len(self._store) + balance

    def items(self) -> Iterator[tuple[str, V]]:
        """Yield keys and values as they are now; the table may be changed meanwhile, but not committed."""
        changed = dict(self._changed)
        for key, packed in self._store.items():
            if key not in changed:
                yield key, self._unpack(key, packed)
        for key, value in changed.items():
            if value is not None:
                yield key, value

    def changes(self) -> list[dict[str, Any]]:
        """Return the changelog records of the open transaction; the value of a deleted key is None.

        Keys that have expired are deleted on the way. That changes no answer (see :class:`streams.state.spec.Codec`),
        so it can happen in any transaction, and be rolled back with it.
        """
        commit = self._commit = self._prepare()
        records: list[dict[str, Any]] = [
            {"key": key.encode(), "value": value, "partition": self.partition} for key, value in commit.values.items()
        ]
        if records and self._store.wants_offset:
            delivered: list[int] = []  # this transaction's own: reports of an aborted one that come late do not count
            self._delivered = delivered
            records[-1]["callback"] = lambda error, record: _note(delivered, error, record)
        return records

    def _prepare(self) -> Commit:
        pack, new = self._codec.pack, self._new
        unseen: set[str] | frozenset[str] = new if self._commit is None else frozenset()
        values = {
            key: None if value is None else pack(value)
            for key, value in self._changed.items()
            if value is not None or key not in unseen  # come and gone before anything was sent: no tombstone needed
        }
        commit = Commit(values, new, [], [], self.latest)
        self._expire(commit)
        return commit

    def _expire(self, commit: Commit) -> None:
        values = commit.values
        as_of = self._codec.as_of
        if as_of is None:
            return
        before = self.latest - self._codec.expiry_ms
        if self._store.oldest_day >= before // DAY_MS:
            return
        for due in self._store.due(before // DAY_MS, LOOKS + 2 * len(values)):
            key = due.key
            value = values[key] if key in values else self._read(key)
            commit.looked_at.append(due)
            if value is None:
                continue
            time = as_of(value)
            if time < before:
                values[key] = None
            else:
                commit.file_again.append(Due(time // DAY_MS, key))

    def commit(self) -> None:
        """Keep the changes: the transaction that :meth:`changes` went into is through.

        Raises:
            StateError: files cannot be written. Nothing is lost, but this worker must not go on.
        """
        commit = self._commit or self._prepare()
        if self._delivered:
            commit.offset = self._delivered[-1] + 1
        self._store.write(commit)
        self._committed_latest = self.latest
        for _, key in commit.looked_at:
            if key in commit.values and commit.values[key] is None:
                self._hot.pop(key, None)
                self._warm.pop(key, None)
        self._begin()
        if len(self._hot) > HOT:
            self._hot, self._warm = {}, self._hot

    def rollback(self) -> None:
        """Forget the changes: the transaction was aborted."""
        self.latest = self._committed_latest
        self._hot.clear()
        self._warm.clear()
        self._begin()

    def _begin(self) -> None:
        self._commit = None
        self._changed.clear()
        self._new.clear()
        self._delivered = []

    @property
    def next_offset(self) -> int:
        """Where the changelog goes on from for this table; 0: it knows nothing yet."""
        return self._store.next_offset

    def load(self, records: Iterable[Message]) -> None:
        """Take changelog records, in offset order, at a restore.

        Raises:
            Unreadable: one of them cannot be read.
        """
        try:
            self._store.load(records)
        except Unreadable as error:
            raise self._unreadable(error) from error

    def loaded(self) -> None:
        """End the restore.

        ``latest`` is then what it was at the last commit, although it stands in no record: it equals the largest
        ``as_of`` of all values. Every event that moved ``latest`` on also wrote an entity, which bears it as its
        ``as_of``, and the entity that holds the largest is the last that could ever expire: something must exceed it
        by ``expiry_ms`` first.

        Raises:
            Unreadable: a value cannot be read.
        """
        try:
            self.latest = self._committed_latest = self._store.loaded()
        except Unreadable as error:
            raise self._unreadable(error) from error

    def close(self) -> None:
        """Let go of files, if there are any; the table is of no use any more."""
        self._store.close()


def _note(delivered: list[int], error: KafkaError | None, record: Message) -> None:
    offset = record.offset()
    if error is None and offset is not None:
        delivered.append(offset)
