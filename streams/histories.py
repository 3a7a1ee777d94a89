"""Entity histories of the partitions that a worker owns: in memory, changelogged, exact after any crash.

Faust's own tables are not used: their recovery hangs on an emptied changelog (faust-streaming/faust#597), reads up to
the high watermark whatever the isolation level, and their changelog is sent outside our transaction.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from order_fraud.history import History

log = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(History).decode
RESTORE_TIMEOUT_S = 120.0
PROGRESS_EVERY_S = 5.0


class HistoryTable:
    """Histories of one changelog partition, with the changes since the last commit kept apart.

    A mapping as far as :func:`order_fraud.relay.step` needs one.
    """

    __slots__ = ("_changed", "_kept", "changelog", "partition")

    def __init__(self, changelog: str, partition: int) -> None:
        self.changelog = changelog
        self.partition = partition
        self._kept: dict[str, History] = {}
        self._changed: dict[str, History] = {}

    def get(self, entity_id: str) -> History | None:
        """Return what is remembered of an entity, uncommitted changes included."""
        return self._changed.get(entity_id) or self._kept.get(entity_id)

    def __setitem__(self, entity_id: str, history: History) -> None:
        self._changed[entity_id] = history

    def __len__(self) -> int:
        return len(self._kept)

    def changes(self) -> list[dict[str, Any]]:
        """Return one changelog record per changed entity."""
        return [
            {"key": entity_id.encode(), "value": _encode(history), "partition": self.partition}
            for entity_id, history in self._changed.items()
        ]

    def commit(self) -> None:
        """Keep the changes."""
        self._kept.update(self._changed)
        self._changed.clear()

    def rollback(self) -> None:
        """Forget the changes."""
        self._changed.clear()

    def load(self, key: bytes, value: bytes) -> None:
        """Take one changelog record."""
        self._kept[key.decode()] = _decode(value)


class Histories:
    """All history tables of one worker, kept in step with the partitions that it is assigned."""

    def __init__(self, bootstrap: str, changelog_of: Mapping[str, str]) -> None:
        """Remember where the changelogs are: ``changelog_of`` gives the changelog topic of each input topic."""
        self._bootstrap = bootstrap
        self._changelog_of = dict(changelog_of)
        self._tables: dict[tuple[str, int], HistoryTable] = {}

    def table(self, topic: str, partition: int) -> HistoryTable:
        """Return the table beside one input partition.

        Raises:
            KeyError: the partition is not ours or was not restored.
        """
        return self._tables[topic, partition]

    def drop(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Forget the tables of partitions that went to another worker."""
        for topic, partition in partitions:
            self._tables.pop((topic, partition), None)

    def restore(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Rebuild the tables of newly assigned partitions from their changelogs.

        Call it once the group has given out stable committed offsets, that is when no transaction of a former owner is
        open. Its commit markers may still be on their way to the changelog, so reading goes on, read_committed, until
        the end of the log as it stood at the start, markers included.

        Raises:
            TimeoutError: the end was not reached; the message names the partitions.
            KafkaException: the broker refuses.
        """
        wanted = {
            (self._changelog_of[topic], partition): HistoryTable(self._changelog_of[topic], partition)
            for topic, partition in partitions
            if topic in self._changelog_of
        }
        if wanted:
            _replay(self._bootstrap, wanted)
        inputs = {changelog: topic for topic, changelog in self._changelog_of.items()}
        for (changelog, partition), table in wanted.items():
            self._tables[inputs[changelog], partition] = table


def _replay(bootstrap: str, tables: Mapping[tuple[str, int], HistoryTable]) -> None:
    ends = _ends(bootstrap, tables)
    waiting = {place for place, end in ends.items() if end > 0}
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "countersign-restore",  # required by librdkafka, never joined: partitions are assigned by hand
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    started = reported = time.monotonic()
    loaded = 0
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for topic, partition in waiting])
        while waiting:
            for message in consumer.consume(10_000, 0.2):
                error = message.error()
                place = cast(tuple[str, int], (message.topic(), message.partition()))
                if error is None:
                    tables[place].load(cast(bytes, message.key()), cast(bytes, message.value()))
                    loaded += 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    if cast(int, message.offset()) >= ends[place]:
                        waiting.discard(place)
                elif not error.retriable():
                    raise KafkaException(error)
            now = time.monotonic()
            if now - started > RESTORE_TIMEOUT_S:
                raise TimeoutError(f"changelogs not read to their end in {RESTORE_TIMEOUT_S:.0f} s: {sorted(waiting)}")
            if now - reported > PROGRESS_EVERY_S:
                reported = now
                log.info("restoring histories: %d records read, %d partitions to go", loaded, len(waiting))
    finally:
        consumer.close()
    log.info("histories restored: %d records, %.1f s", loaded, time.monotonic() - started)


def _ends(bootstrap: str, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """Return the end offsets of partitions, open transactions included."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    wanted = {TopicPartition(topic, partition): latest for topic, partition in places}
    found = admin.list_offsets(wanted, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=30)
    return {(place.topic, place.partition): future.result().offset for place, future in found.items()}
