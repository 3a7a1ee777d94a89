"""The registry: all tables of one worker, in step with the partitions that it is assigned."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from streams.settings import Settings
from streams.state.memory import MemoryStore
from streams.state.restore import Place, replay, spans
from streams.state.spec import Spec
from streams.state.store import Store
from streams.state.table import Table

if TYPE_CHECKING:
    from streams.state.folder import Folder

log = logging.getLogger(__name__)


class Watching(Protocol):
    """Who is told how a restore goes, on the thread that restores."""

    def restoring(self, records: int, partitions_to_go: int) -> None:
        """Hear that a restore is under way: records read so far."""

    def restored(self, records: int, seconds: float) -> None:
        """Hear that a restore is over."""


class Tables:
    """Tables by changelog and partition.

    Calls come from one thread at a time: the one that polls, restores and commits, or the one whose agents have the
    batches of that poll in hand.
    """

    def __init__(self, settings: Settings, specs: Iterable[Spec], watching: Watching) -> None:
        """Make ready for the tables of ``specs``, in memory or, with ``state=rocksdb``, in files.

        Raises:
            StateError: the folder for the files cannot be used; the message names it and the remedy.
        """
        self._brokers = settings.kafka
        self._specs: Sequence[Spec] = tuple(specs)
        self._watching = watching
        self._tables: dict[Place, Table[Any]] = {}
        self._folder = _folder(settings)

    def table(self, changelog: str, partition: int) -> Table[Any]:
        """Return the table of one changelog partition.

        Raises:
            KeyError: the partition is not ours or was not restored.
        """
        return self._tables[changelog, partition]

    def drop(self, partitions: Iterable[Place]) -> None:
        """Let go of the tables beside input partitions that went to another worker."""
        for spec, partition in self._beside(partitions):
            table = self._tables.pop((spec.changelog, partition), None)
            if table is not None:
                table.close()

    def close(self) -> None:
        """Let go of all tables, and of their folder."""
        while self._tables:
            self._tables.popitem()[1].close()
        if self._folder is not None:
            self._folder.close()

    def restore(self, partitions: Iterable[Place], meanwhile: Callable[[], object] = lambda: None) -> None:
        """Rebuild the tables beside newly assigned input partitions from their changelogs.

        Call it once the group has given out stable committed offsets, that is when no transaction of a former owner is
        open. Its commit markers may still be on their way to the changelog, so reading goes on, read_committed, until
        the end of the log as it stood at the start, markers included. ``meanwhile`` is called about once a second.

        Raises:
            TimeoutError: no progress; the message names the partitions.
            KafkaException: the broker refuses.
            StateError: a changelog holds what this version cannot read, or files cannot be used; the message names the
                remedy.
        """
        wanted = {(spec.changelog, partition): spec for spec, partition in self._beside(partitions)}
        if not wanted:
            return

        def tell(records: int, partitions_to_go: int) -> None:
            self._watching.restoring(records, partitions_to_go)
            meanwhile()

        started = time.monotonic()
        ranges = spans(self._brokers, wanted)
        tables = self._open(wanted, ranges)
        try:
            to_read = {place: (max(first, tables[place].next_offset), end) for place, (first, end) in ranges.items()}
            records = replay(self._brokers, tables, to_read, tell)
            for table in tables.values():
                table.loaded()
        except BaseException:
            for table in tables.values():
                table.close()
            raise
        self._tables.update(tables)
        seconds = time.monotonic() - started
        self._watching.restored(records, seconds)
        log.info("state restored: %d tables, %d records, %.1f s", len(tables), records, seconds)

    def _beside(self, partitions: Iterable[Place]) -> list[tuple[Spec, int]]:
        return [(spec, partition) for topic, partition in partitions for spec in self._specs if spec.beside == topic]

    def _open(self, wanted: dict[Place, Spec], ranges: dict[Place, tuple[int, int]]) -> dict[Place, Table[Any]]:
        stores: Mapping[Place, Store]
        if self._folder is not None:
            stores = self._folder.open(wanted, ranges)
        else:
            stores = {place: MemoryStore(spec.codec.as_of) for place, spec in wanted.items()}
        return {place: Table(spec, place[1], stores[place]) for place, spec in wanted.items()}


def _folder(settings: Settings) -> "Folder | None":
    if settings.state == "memory":
        return None
    from streams.state.folder import Folder  # RocksDB is loaded only where it is asked for

    return Folder(str(settings.state_dir), settings.group, settings.instance, settings.kafka)
