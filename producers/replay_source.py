"""Which records of a topic are to be sent again: by partition, offset, time stamp, and for dead letters by reason."""

import argparse
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from kafka_access import Brokers, client
from order_fraud.rights import READING_GROUPS
from order_fraud.topics import DEAD_LETTERS, REPLAY

Headers = tuple[tuple[str, bytes | None], ...]
ANSWER_SECONDS = 15.0


class NothingThere(Exception):
    """The topic or one of its partitions is not there; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class Found:
    """A record that was selected.

    Attributes:
        topic, partition, offset: where it stands.
        timestamp: ms since 1970.
        key, value: as they stand there, or as they were repaired.
        headers: to go with it; those of a dead letter say why it is one, and stay behind.
        target: topic that it is to be sent to, None if a dead letter does not say where it came from.
        reason: of a dead letter.
        left_out: what a dead letter does not have of its record, None if it has all.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    target: str | None
    reason: str | None = None
    left_out: str | None = None

    @property
    def place(self) -> str:
        """Where it stands, as the header ``replayed-from`` and the topic of replays say it."""
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What to take; None means whatever there is.

    Attributes:
        offsets: the first and the last offset, both included.
        since, until: time stamps of records, ms: from ``since`` on, before ``until``.
        reason, origin: of dead letters: a pattern found in the reason, and the topic that the record came from.
        to_topic: where to send; None for dead letters: each to where it came from.
    """

    topic: str = DEAD_LETTERS.name
    partitions: frozenset[int] | None = None
    offsets: tuple[int, int] = (0, 2**63 - 1)
    since: int | None = None
    until: int | None = None
    reason: re.Pattern[str] | None = None
    origin: str | None = None
    to_topic: str | None = None

    def take(self, message: Message) -> Found | None:
        """Return the record if it is selected."""
        offset, timestamp = message.offset() or 0, message.timestamp()[1]
        if not self.offsets[0] <= offset <= self.offsets[1]:
            return None
        if (self.since is not None and timestamp < self.since) or (self.until is not None and timestamp >= self.until):
            return None
        headers: Headers = tuple(message.headers() or ())
        target, reason, left_out = self.to_topic, None, None
        if self.topic == DEAD_LETTERS.name:
            said = {name: (value or b"").decode(errors="replace") for name, value in headers}
            reason, origin, headers = said.get("reason", ""), said.get("topic"), ()
            if self.origin is not None and origin != self.origin:
                return None
            if self.reason is not None and not self.reason.search(reason):
                return None
            target = self.to_topic or origin
            if "left-out" in said:
                left_out = f"{said['left-out']}; it stands on {origin}/{said.get('partition')}/{said.get('offset')}"
        return Found(
            self.topic,
            message.partition() or 0,
            offset,
            timestamp,
            message.key(),
            message.value(),
            headers,
            target,
            reason,
            left_out,
        )


@dataclass
class Reading:
    """Reads a topic from the first offset that can matter to the end that it has now: what is added later is not read.

    Attributes:
        total: offsets to go over.
        gone_over: offsets gone over so far.
    """

    bootstrap: Brokers
    selection: Selection
    total: int = 0
    gone_over: int = 0
    _at: dict[int, int] = field(default_factory=dict)

    def records(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Found]:
        """Yield what is selected, each partition in the order of its offsets.

        Raises:
            NothingThere: no such topic, or no such partition.
            KafkaException: the broker cannot be reached or refuses.
        """
        consumer = reader(self.bootstrap)
        try:
            bounds = self._bounds(consumer)
            self.total = sum(end - start for start, end in bounds.values())
            self._at = {partition: start for partition, (start, _) in bounds.items()}
            open_ = {partition for partition, (start, end) in bounds.items() if start < end}
            topic = self.selection.topic
            consumer.assign([TopicPartition(topic, partition, bounds[partition][0]) for partition in open_])
            while open_ and not stop():
                for message in consumer.consume(5_000, 0.5):
                    if (partition := message.partition()) not in open_:
                        continue
                    end = bounds[partition][1]
                    error = message.error()
                    if error is not None and error.code() != KafkaError._PARTITION_EOF:
                        if error.retriable():
                            continue
                        raise KafkaException(error)
                    offset = message.offset() or 0
                    self._gone_to(partition, min(end, offset + (error is None)))
                    if error is None and offset < end and (found := self.selection.take(message)) is not None:
                        yield found
                    if error is not None or offset >= end - 1:
                        open_.discard(partition)
        finally:
            consumer.close()

    def _gone_to(self, partition: int, offset: int) -> None:
        self.gone_over += max(0, offset - self._at[partition])
        self._at[partition] = max(offset, self._at[partition])

    def _bounds(self, consumer: Consumer) -> dict[int, tuple[int, int]]:
        """Return the first offset to read and the one to stop before, per partition."""
        topic = self.selection.topic
        known = consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
        if known.error is not None:
            raise NothingThere(f"the broker at {self.bootstrap} has no topic {topic}: is --topic spelt right?")
        wanted = self.selection.partitions or frozenset(known.partitions)
        if missing := wanted - known.partitions.keys():
            raise NothingThere(f"topic {topic} has no partition {min(missing)}: it has {len(known.partitions)}, from 0")
        begin = {partition: 0 for partition in wanted}
        if self.selection.since is not None:
            asked = [TopicPartition(topic, partition, self.selection.since) for partition in sorted(wanted)]
            for found in consumer.offsets_for_times(asked, ANSWER_SECONDS):
                begin[found.partition] = found.offset if found.offset != OFFSET_END else 2**63 - 1
        bounds = {}
        for partition in sorted(wanted):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), ANSWER_SECONDS)
            start = max(low, begin[partition], self.selection.offsets[0])
            bounds[partition] = (start, max(start, min(high, self.selection.offsets[1] + 1)))
        return bounds


def reader(bootstrap: Brokers) -> Consumer:
    """Return a consumer that belongs to no group and reads what is committed."""
    return Consumer(
        client(bootstrap)
        | {
            "group.id": READING_GROUPS[REPLAY],  # required by librdkafka, never joined
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that select."""
    group = parser.add_argument_group("which records")
    group.add_argument(
        "--topic", default=DEAD_LETTERS.name, metavar="TOPIC", help="that they stand on (default: %(default)s)"
    )
    group.add_argument("--partition", type=int, action="append", metavar="N", help="only this one; may be repeated")
    group.add_argument(
        "--offsets", type=offsets, metavar="A:B", help="from A to B, both included; A: and :B and A work"
    )
    group.add_argument(
        "--from", dest="since", type=moment, metavar="TIME", help="time stamp from then on, UTC, ISO 8601"
    )
    group.add_argument("--to", dest="until", type=moment, metavar="TIME", help="time stamp before then")
    group.add_argument("--reason", type=pattern, metavar="REGEX", help="dead letters whose reason has this in it")
    group.add_argument("--origin", metavar="TOPIC", help="dead letters that came from this topic")


def selection(options: argparse.Namespace) -> Selection:
    """Return what the options select.

    Raises:
        ValueError: options that do not go together; the message says which.
    """
    if options.topic != DEAD_LETTERS.name:
        if options.reason or options.origin:
            raise ValueError(f"--reason and --origin go with --topic {DEAD_LETTERS.name}: other records have neither")
        if not options.to_topic:
            raise ValueError(f"say --to-topic: only {DEAD_LETTERS.name} say where they came from")
    if options.since is not None and options.until is not None and options.since >= options.until:
        raise ValueError("--from must lie before --to")
    return Selection(
        topic=options.topic,
        partitions=frozenset(options.partition) if options.partition else None,
        offsets=options.offsets or (0, 2**63 - 1),
        since=options.since,
        until=options.until,
        reason=options.reason,
        origin=options.origin,
        to_topic=options.to_topic,
    )


def moment(text: str) -> int:
    """An argument that is a moment, as ms since 1970; without a zone it is UTC.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 2026-01-31 or 2026-01-31T12:00:00") from None
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def offsets(text: str) -> tuple[int, int]:
    """An argument that is a range of offsets.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    found = re.fullmatch(r"(\d*)(:?)(\d*)", text)
    if found is None or not (found[1] or found[3]):
        raise argparse.ArgumentTypeError(f"{text!r} is no range of offsets: write 100:200, 100: or :200")
    first = int(found[1] or 0)
    last = int(found[3]) if found[3] else (2**63 - 1 if found[2] else first)
    if first > last:
        raise argparse.ArgumentTypeError(f"{text!r} ends before it begins")
    return first, last


def pattern(text: str) -> re.Pattern[str]:
    """An argument that is a regular expression.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None
