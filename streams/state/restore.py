"""Reads changelogs to their end: read_committed, in big chunks, with progress."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol, cast

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from kafka_access import Brokers, client
from order_fraud.rights import RESTORE_GROUP
from streams.passing import passes

log = logging.getLogger(__name__)

Place = tuple[str, int]
CHUNK = 50_000
CHUNK_S = 0.1
STALLED_S = 30.0
PROGRESS_EVERY_S = 5.0
REQUEST_TIMEOUT_S = 30.0


class Loading(Protocol):
    """What a changelog partition is read into."""

    def load(self, records: Iterable[Message]) -> None:
        """Take records in offset order."""


@dataclass
class Progress:
    """How far a restore is, told in the log and to whoever watches.

    Attributes:
        told: called about once a second with the records read and the number of partitions to go.
        wanted: offsets that were to be read at the start.
    """

    told: Callable[[int, int], None]
    wanted: int
    records: int = 0
    started: float = field(default_factory=time.monotonic)
    _told: float = 0.0
    _logged: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self.started

    def report(self, reached: int, to_go: int) -> None:
        """Tell, if it is time: ``reached`` offsets are behind us, ``to_go`` partitions before us."""
        now = time.monotonic()
        if now - self._told > 1:
            self._told = now
            self.told(self.records, to_go)
        if now - self._logged > PROGRESS_EVERY_S:
            self._logged = now
            share = min(100, 100 * reached // max(1, self.wanted))
            log.info(
                "restoring state: %d %%, %d records, %.0f records/s, %d partitions to go",
                share,
                self.records,
                self.records / self.seconds,
                to_go,
            )


def spans(brokers: Brokers, places: Iterable[Place]) -> dict[Place, tuple[int, int]]:
    """Return the first and the end offset of partitions, open transactions included.

    Raises:
        KafkaException: the broker cannot be reached or refuses; a changelog is missing, say.
    """
    admin = AdminClient(client(brokers))
    wanted = list(places)
    starts = _ask(admin, wanted, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
    ends = _ask(admin, wanted, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    return {place: (starts[place], ends[place]) for place in wanted}


def _ask(admin: AdminClient, places: list[Place], spec: OffsetSpec) -> dict[Place, int]:
    """Ask for offsets, again and again for a while: brokers that were restarted are without leaders for a moment."""
    until = time.monotonic() + STALLED_S
    asked = {TopicPartition(topic, partition): spec for topic, partition in places}
    found: dict[Place, int] = {}
    while asked:
        answers = admin.list_offsets(
            asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=REQUEST_TIMEOUT_S
        )
        for place, answer in answers.items():
            try:
                found[place.topic, place.partition] = answer.result().offset
                del asked[place]
            except KafkaException as error:
                reason: KafkaError = error.args[0]
                if not passes(reason) or time.monotonic() > until:
                    named = f"end of {place.topic}/{place.partition}: {reason.str()}"
                    raise KafkaException(KafkaError(reason.code(), named)) from error
        if asked:
            time.sleep(0.2)
    return found


def replay(
    brokers: Brokers,
    tables: Mapping[Place, Loading],
    ranges: Mapping[Place, tuple[int, int]],
    told: Callable[[int, int], None],
) -> int:
    """Load each changelog partition into its table; return how many records that were.

    Args:
        brokers: where to read.
        tables: one for each partition to read.
        ranges: where to begin in each, and the end to reach. Reading waits, read_committed, for the transactions that
            are open before that end: their commit or abort belongs to it.
        told: hears of the progress: records read and the number of partitions to go.

    Raises:
        TimeoutError: nothing came for ``STALLED_S``; the message names the partitions.
        KafkaException: the broker refuses.
        Unreadable: a record cannot be read; the message names it and the remedy.
    """
    waiting = {place for place, (begin, end) in ranges.items() if end > begin}
    positions = {place: ranges[place][0] for place in waiting}
    begun = sum(positions.values())
    progress = Progress(told, sum(ranges[place][1] for place in waiting) - begun)
    if not waiting:
        return 0
    consumer = Consumer(_config(brokers))
    heard = time.monotonic()
    try:
        consumer.assign([TopicPartition(topic, partition, ranges[topic, partition][0]) for topic, partition in waiting])
        while waiting:
            messages = consumer.consume(CHUNK, CHUNK_S)
            for place, run in _runs(messages):
                end = _end(run.pop()) if run[-1].error() is not None else None
                if run:
                    heard = time.monotonic()
                    positions[place] = cast(int, run[-1].offset()) + 1
                    progress.records += len(run)
                    tables[place].load(run)
                if end is not None:
                    heard = time.monotonic()
                    positions[place] = end
                    if end >= ranges[place][1]:
                        waiting.discard(place)
            if time.monotonic() - heard > STALLED_S:
                raise TimeoutError(
                    f"restoring state: nothing came from {', '.join(f'{t}/{p}' for t, p in sorted(waiting))} for "
                    f"{STALLED_S:.0f} s: does the broker have a leader for these partitions, and no transaction open?"
                )
            progress.report(sum(positions.values()) - begun, len(waiting))
    finally:
        consumer.close()
    return progress.records


def _runs(messages: list[Message]) -> Iterator[tuple[Place, list[Message]]]:
    """Cut messages into runs of one partition; one that tells of an error, or of the end, ends its run.

    No Python code runs per record here: a million of them pass.
    """
    topics, partitions = map(Message.topic, messages), map(Message.partition, messages)
    places = list(zip(topics, partitions, strict=True))
    told = [number for number, error in enumerate(map(Message.error, messages)) if error is not None]
    begin = 0
    for place, numbers in groupby(range(len(messages)), places.__getitem__):
        end = begin + len(list(numbers))
        while told and told[0] < end:
            cut = told.pop(0) + 1
            yield cast(Place, place), messages[begin:cut]
            begin = cut
        if begin < end:
            yield cast(Place, place), messages[begin:end]
            begin = end


def _end(message: Message) -> int | None:
    """Return the end of a partition that has been reached, None for an error that passes by itself.

    Raises:
        KafkaException: any other.
    """
    error = cast(KafkaError, message.error())
    if error.code() == KafkaError._PARTITION_EOF:
        return cast(int, message.offset())
    if not passes(error):
        raise KafkaException(error)
    return None


def _config(brokers: Brokers) -> dict[str, Any]:
    return client(brokers) | {
        "group.id": RESTORE_GROUP,  # required by librdkafka, never joined: partitions are assigned by hand
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 50,
        "fetch.message.max.bytes": 4 * 1024 * 1024,
        "fetch.max.bytes": 64 * 1024 * 1024,
    }
