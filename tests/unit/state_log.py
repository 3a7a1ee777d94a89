"""A changelog as a list, with compaction, and a table that lives beside it through commits, aborts and restarts."""

from typing import Any

from streams.state import Spec, Table
from streams.state.store import Store


class Record:
    """A changelog record as librdkafka would give it."""

    def __init__(self, key: bytes | None, value: bytes | None, offset: int = 0) -> None:
        self._key, self._value, self._offset = key, value, offset

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def offset(self) -> int:
        return self._offset

    def topic(self) -> str:
        return "log"

    def partition(self) -> int:
        return 1


class Log:
    """Committed records of one changelog partition, by offset."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.end = 0

    def append(self, produced: list[dict[str, Any]]) -> None:
        """Commit a transaction: its records, then its marker, which takes an offset too."""
        for record in produced:
            assert record["partition"] == 1
            self.records.append(Record(record["key"], record["value"], self.end))
            if "callback" in record:
                record["callback"](None, self.records[-1])
            self.end += 1
        self.end += 1

    def skip(self, produced: list[dict[str, Any]]) -> None:
        """Abort a transaction: what it wrote takes offsets, and its delivery is reported, yet nobody reads it."""
        for record in produced:
            if "callback" in record:
                record["callback"](None, Record(record["key"], record["value"], self.end))
            self.end += 1
        self.end += 1

    def compact(self, keep: int, *, tombstones: bool) -> None:
        """Drop what a later record of the same key makes void, but not among the last ``keep`` records."""
        last = {record.key(): record.offset() for record in self.records}
        tail = self.records[len(self.records) - keep :] if keep else []
        head = self.records[: len(self.records) - len(tail)]
        self.records = [
            record
            for record in head
            if last[record.key()] == record.offset() and (record.value() is not None or not tombstones)
        ] + tail


def restored(spec: Spec, log: Log, store: Store) -> Table[Any]:
    """Return a table as a restart would find it."""
    table: Table[Any] = Table(spec, 1, store)
    table.load([record for record in log.records if record.offset() >= table.next_offset])
    table.loaded()
    return table


def transaction(table: Table[Any], log: Log, *changes: tuple[str, Any]) -> None:
    """Commit some changes; None deletes."""
    for key, value in changes:
        if value is None:
            del table[key]
        else:
            table[key] = value
    log.append(table.changes())
    table.commit()
