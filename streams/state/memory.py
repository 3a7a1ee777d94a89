"""Committed values in memory: packed bytes, a few hundred bytes an entity."""

from collections.abc import Callable, Iterable, Iterator
from math import inf

from confluent_kafka import Message

from streams.state.spec import Unreadable
from streams.state.store import DAY_MS, Commit, Due


class MemoryStore:
    """A dict of packed values, and the keys once more by the day on which to look at them.

    Values stay packed: as objects they take four times the memory (docs/decisions/0070), and a dict of nothing but
    strings and bytes costs the garbage collector nothing.
    """

    wants_offset = False

    def __init__(self, as_of: Callable[[bytes], int] | None) -> None:
        self._as_of = as_of
        self._packed: dict[str, bytes] = {}
        self._days: dict[int, list[str]] = {}
        self.read: Callable[[str], bytes | None] = self._packed.get
        self.oldest_day: float = inf
        self.next_offset = 0

    def load(self, records: Iterable[Message]) -> None:
        """See :meth:`streams.state.store.Store.load`."""
        records = list(records)
        try:
            loaded = {record.key().decode(): record.value() for record in records}  # type: ignore[union-attr]
        except (AttributeError, UnicodeDecodeError) as error:
            raise Unreadable(_first_without_key(records)) from error
        packed = self._packed
        packed.update(loaded)  # type: ignore[arg-type] # the Nones leave at once
        for key in [key for key, value in loaded.items() if value is None]:
            del packed[key]

    def loaded(self) -> int:
        """See :meth:`streams.state.store.Store.loaded`."""
        as_of, days, latest = self._as_of, self._days, 0
        if as_of is None:
            return 0
        for key, value in self._packed.items():
            try:
                time = as_of(value)
            except Exception as error:
                raise Unreadable(f"value of {key!r} ({error})") from error
            if time > latest:
                latest = time
            day = time // DAY_MS
            if day in days:
                days[day].append(key)
            else:
                days[day] = [key]
        self.oldest_day = min(days, default=inf)
        return latest

    def due(self, before: int, most: int) -> list[Due]:
        """See :meth:`streams.state.store.Store.due`."""
        found: list[Due] = []
        if self.oldest_day >= before:
            return found
        for day in sorted(day for day in self._days if day < before):
            found.extend(Due(day, key) for key in self._days[day][len(found) - most :])
            if len(found) >= most:
                break
        return found

    def write(self, commit: Commit) -> None:
        """See :meth:`streams.state.store.Store.write`."""
        if commit.looked_at:
            self._take_out(commit.looked_at)
        packed, new, as_of = self._packed, commit.new, self._as_of
        for key, value in commit.values.items():
            if value is None:
                packed.pop(key, None)
                continue
            packed[key] = value
            if as_of is not None and key in new:
                self._file(as_of(value) // DAY_MS, key)
        for day, key in commit.file_again:
            self._file(day, key)

    def _take_out(self, looked_at: list[Due]) -> None:
        """Remove what :meth:`due` gave from the ends of the days' lists, where it came from."""
        for day, _ in looked_at:
            keys = self._days[day]
            keys.pop()
            if not keys:
                del self._days[day]
        self.oldest_day = min(self._days, default=inf)

    def _file(self, day: int, key: str) -> None:
        if day in self._days:
            self._days[day].append(key)
        else:
            self._days[day] = [key]
            self.oldest_day = min(self.oldest_day, day)

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Yield all keys and packed values."""
        return iter(self._packed.items())

    def __len__(self) -> int:
        return len(self._packed)

    def close(self) -> None:
        """Do nothing."""


def _first_without_key(records: list[Message]) -> str:
    for record in records:
        try:
            record.key().decode()  # type: ignore[union-attr]
        except (AttributeError, UnicodeDecodeError) as error:
            return f"key at offset {record.offset()} ({error})"
    return "a key"
