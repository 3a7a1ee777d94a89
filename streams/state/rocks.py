"""Committed values in files (RocksDB), for more of them than fit into memory; equally exact.

The changelog counts, the files are a copy of it. They hold only what was committed: values are written after their
Kafka transaction is through, together with a *marker*, a changelog offset up to which they are complete. A restart
reads on from the marker; reading a record twice changes nothing, since the last value of a key wins. So a crash between
commit and files is healed by the next restart.

The marker is the offset that the broker gave to this transaction's own records, not the end of the log: a worker that
does not know yet that its partition has moved would take in the end of its successor's records, which it never saw. All
records of a successor lie behind ours, because a successor starts only when our last transaction is over.

Files whose past does not lead up to this changelog are discarded and built anew; :func:`open_store` says which.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from math import inf
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Message
from rocksdict import (
    BlockBasedIndexType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
    WriteOptions,
)

from streams.state.spec import StateError, Unreadable
from streams.state.store import DAY_MS, Commit, Due

log = logging.getLogger(__name__)

CACHE_BYTES = 128 * 1024 * 1024
"""Blocks, indexes and filters that all tables of a worker keep in memory together."""
BUFFER_BYTES = 8 * 1024 * 1024
"""Values that one table keeps in memory until they go to a file; twice at most."""
_VALUE, _DAY, _MARKER = b"v", b"d", b"m"


class Marker(msgspec.Struct, array_like=True, frozen=True):
    """How far the files of one table are.

    Attributes:
        identity: of the changelog: cluster and topic, as the broker numbers them, and the format of the files.
        offset: every record before it is in the files.
        latest: largest event time accepted by then.
        written_ms: when that was so, by this machine's clock.
    """

    identity: str
    offset: int
    latest: int
    written_ms: int


class Past(msgspec.Struct, frozen=True):
    """What the files' past must lead up to.

    Attributes:
        identity: of the changelog.
        first: its first offset.
        end: its end.
        tombstones_ms: how long after a deletion its tombstone can still be read; older files may have missed one.
    """

    identity: str
    first: int
    end: int
    tombstones_ms: int

    def objection(self, marker: Marker | None, now_ms: int) -> str | None:
        """Return why files with this marker cannot be used, None if they can."""
        if marker is None:
            return "they were never complete"
        if marker.identity != self.identity:
            return "they belong to another cluster, another topic of this name, or another version"
        if not self.first <= marker.offset <= self.end:
            return f"they end at offset {marker.offset}, but the changelog goes from {self.first} to {self.end}"
        if not 0 <= now_ms - marker.written_ms < self.tombstones_ms:
            return "they are so old that a deletion may have been missed"
        return None


def new_cache() -> Cache:
    """Return the cache that all tables of a worker share."""
    return Cache(CACHE_BYTES)


def open_store(path: Path, past: Past, as_of: Callable[[bytes], int] | None, cache: Cache) -> "RocksStore":
    """Open the files of one table, or begin new ones if their past is not known for certain.

    Raises:
        StateError: the folder cannot be used; the message names it.
    """
    now_ms = _now_ms()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        database, objection = _reopen(path, past, now_ms, cache)
        if database is not None:
            return RocksStore(database, past.identity, as_of, now_ms)
        log.warning("state files %s are built anew: %s", path, objection)
        shutil.rmtree(path)
    store = RocksStore(_open(path, cache), past.identity, as_of, now_ms)
    store.next_offset = past.first
    return store


def _reopen(path: Path, past: Past, now_ms: int, cache: Cache) -> tuple[Rdict | None, str | None]:
    try:
        database = _open(path, cache)
        marker = _marker(database)
    except (_Broken, msgspec.DecodeError) as error:
        return None, f"they are broken ({error})"
    objection = past.objection(marker, now_ms)
    if objection is None:
        return database, None
    database.close()
    return None, objection


class _Broken(Exception):
    """RocksDB cannot make sense of its files."""


def _open(path: Path, cache: Cache) -> Rdict:
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    table.set_bloom_filter(10, False)  # most keys asked for that are not in memory are new
    # Indexes and filters lie in the cache too, so that memory is bounded, and in small pieces: one larger than a shard
    # of the cache, a 64th, would not stay there but be read from the file for every key asked for (20 times slower).
    table.set_cache_index_and_filter_blocks(True)
    table.set_index_type(BlockBasedIndexType.two_level_index_search())
    table.set_partition_filters(True)
    table.set_pin_top_level_index_and_filter(True)
    options = Options(raw_mode=True)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_size(BUFFER_BYTES)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_keep_log_file_num(2)
    options.set_max_open_files(256)
    try:
        return Rdict(str(path), options)
    except Exception as error:  # rocksdict raises nothing more specific
        if str(error).startswith(("Corruption", "Invalid argument")):
            raise _Broken(str(error)) from error
        raise StateError(f"state files {path} cannot be opened: {error}") from error


def _marker(database: Rdict) -> Marker | None:
    found = database.get(_MARKER)
    return None if found is None else msgspec.msgpack.decode(found, type=Marker)


class RocksStore:
    """One table's files: values, the calendar of when to look at each again, and the marker.

    All three lie in one key space, so that a write batch, and what is left of the files after a crash of the machine,
    is one moment of all of them.
    """

    wants_offset = True

    def __init__(self, database: Rdict, identity: str, as_of: Callable[[bytes], int] | None, opened_ms: int) -> None:
        self._database = database
        self._identity = identity
        self._as_of = as_of
        self._opened_ms = opened_ms
        marker = _marker(database)
        self._latest = 0 if marker is None else marker.latest
        self.next_offset = 0 if marker is None else marker.offset
        self.oldest_day: float = -inf
        self._looked_to = _DAY
        self._loading = WriteOptions()
        self._loading.disable_wal = True  # type: ignore[method-assign,assignment] # rocksdict's stub is wrong here

    def read(self, key: str) -> bytes | None:
        """Return the packed value of a key, None if there is none."""
        found: bytes | None = self._database.get(_VALUE + key.encode())
        return found

    def load(self, records: Iterable[Message]) -> None:
        """See :meth:`streams.state.store.Store.load`.

        Without RocksDB's own log: until :meth:`loaded` has moved the marker, a crash starts from the old one.
        """
        batch, as_of = WriteBatch(raw_mode=True), self._as_of
        for record in records:
            key, value = record.key(), record.value()
            self.next_offset = record.offset() + 1  # type: ignore[operator]
            if not isinstance(key, bytes):
                raise Unreadable(f"key at offset {record.offset()} (none)")
            if value is None:
                batch.delete(_VALUE + key)
                continue
            batch.put(_VALUE + key, value)
            if as_of is not None:
                try:
                    time_ms = as_of(value)
                except Exception as error:
                    raise Unreadable(f"value at offset {record.offset()} ({error})") from error
                self._latest = max(self._latest, time_ms)
                self._file(batch, time_ms // DAY_MS, key)
        self._write(batch, self._loading)

    def loaded(self) -> int:
        """See :meth:`streams.state.store.Store.loaded`.

        The marker dates from before the first record was read: what was deleted since then is still in the log.
        """
        self._database.flush()
        batch = WriteBatch(raw_mode=True)
        self._mark(batch, self._opened_ms)
        self._write(batch)
        return 0 if self._as_of is None else self._latest

    def due(self, before: int, most: int) -> list[Due]:
        """See :meth:`streams.state.store.Store.due`."""
        found: list[Due] = []
        entry: Any
        for entry in self._database.keys(from_key=self._looked_to):
            if entry[:1] != _DAY or len(found) == most:
                break
            day = int.from_bytes(entry[1:5])
            if day >= before:
                break
            found.append(Due(day, entry[5:].decode()))
        if not found:
            self.oldest_day = before
        return found

    def write(self, commit: Commit) -> None:
        """See :meth:`streams.state.store.Store.write`.

        Raises:
            StateError: the files cannot be written. The changelog has everything; this worker must not go on.
        """
        batch = WriteBatch(raw_mode=True)
        if commit.looked_at:
            entry = b""
            for day, key in commit.looked_at:
                entry = _entry(day, key.encode())
                batch.delete(entry)
            self._looked_to = entry
        new, as_of = commit.new, self._as_of
        for key, value in commit.values.items():
            stored = key.encode()
            if value is None:
                batch.delete(_VALUE + stored)
                continue
            batch.put(_VALUE + stored, value)
            if as_of is not None and key in new:
                self._file(batch, as_of(value) // DAY_MS, stored)
        for day, key in commit.file_again:
            self._file(batch, day, key.encode())
        if batch.is_empty():
            return
        self._latest = commit.latest
        if commit.offset is not None:
            self.next_offset = commit.offset
        self._mark(batch, _now_ms())
        self._write(batch)

    def _file(self, batch: WriteBatch, day: int, key: bytes) -> None:
        entry = _entry(day, key)
        batch.put(entry, b"")
        if entry < self._looked_to:
            self._looked_to = entry
        self.oldest_day = min(self.oldest_day, day)

    def _mark(self, batch: WriteBatch, now_ms: int) -> None:
        marker = Marker(self._identity, self.next_offset, self._latest, now_ms)
        batch.put(_MARKER, msgspec.msgpack.encode(marker))

    def _write(self, batch: WriteBatch, options: WriteOptions | None = None) -> None:
        try:
            self._database.write(batch, options)
        except Exception as error:  # rocksdict raises nothing more specific
            raise StateError(
                f"state files {self._database.path()} cannot be written: {error}. Nothing is lost: once there is room "
                "again, a worker that is started reads on in the changelog"
            ) from error

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Yield all keys and packed values, in the order of the keys' bytes."""
        entry: Any
        for entry, value in self._database.items(from_key=_VALUE):
            yield entry[1:].decode(), value

    def __len__(self) -> int:
        return sum(1 for _ in self._database.keys(from_key=_VALUE))

    def close(self) -> None:
        """Close the files; the marker stays as the last commit left it."""
        path = self._database.path()
        try:
            self._database.close()
        except Exception as error:  # what is not written now is read again
            log.warning("state files %s were not closed well: %s", path, error)


def _entry(day: int, key: bytes) -> bytes:
    return _DAY + max(0, day).to_bytes(4) + key


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
