"""The consumer under the transport: polls partition batches, and says what a rebalance took and brought.

All methods block and must be called from one thread.
"""

import contextlib
import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from kafka_access import Patience, Refused, client, missing_right
from streams.batch import Batch
from streams.observer import Place
from streams.passing import passes
from streams.positions import read_positions
from streams.settings import Settings

log = logging.getLogger(__name__)

SERVICE_TIMEOUT_S = 10.0
START_TIMEOUT_S = 30.0
"""For what has to wait until a former owner's transaction is over."""

IDLE_S = 0.1
"""How long a poll waits for a first record, so how long it takes at most to hear that the worker is to stop."""

MAX_MESSAGE_BYTES = 8_000_000

REBALANCE_AT_MOST_MS = 30_000
"""How long the group waits at a rebalance for a member that does not come. Seen with Kafka 4.1: after a broker's crash
it waited for static members that had died, for this long and not for their session's. A poll takes less, its
commit included (see ``streams.deadline``)."""


@dataclass
class Poll:
    """What one poll brought: partitions lost, the whole assignment if it changed, and the batches."""

    revoked: set[Place] = field(default_factory=set)
    assigned: set[Place] | None = None
    batches: list[Batch] = field(default_factory=list)


class Leaving(Exception):
    """Ends the callback of an assignment that came while the consumer closes.

    Nobody will poll those partitions. To return from the callback will not do: confluent-kafka then takes them by
    itself, and librdkafka waits for ever for the part of it that has closed already (seen with 2.16).
    """


class Poller:
    """One worker's membership in the consumer group, and where it stands in each partition."""

    def __init__(self, settings: Settings) -> None:
        self._brokers, self._group_id = settings.kafka, settings.group
        self._patience = Patience(settings.kafka)
        self._records = settings.batch_records
        self._linger_s = settings.batch_wait_ms / 1000
        self._assignment: set[Place] = set()
        self._next: dict[Place, int] = {}
        self._starts: dict[Place, int] = {}
        self._ends: dict[Place, int] = {}
        self._revoked: set[Place] = set()
        self._held: list[Message] = []
        self._changed = False
        self._closing = False
        self._fatal: KafkaError | None = None
        self._refused: Refused | None = None
        self._joined: Any = None
        self._membership: Any = None
        self.consumer = Consumer(_config(settings) | {"error_cb": self.on_error})

    def start(self, topics: Iterable[str]) -> None:
        """Join the group.

        Raises:
            KafkaException: the broker refuses.
        """
        self.consumer.subscribe(
            list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def close(self) -> None:
        """Leave the group."""
        self._closing = True
        with contextlib.suppress(Leaving):
            self.consumer.close()

    def poll(self) -> Poll:
        """Return what is there: at once if anything is, filled up for ``batch_wait_ms``, or nothing after a moment.

        Raises:
            KafkaException: an error that does not pass by itself; the message names topic and partition.
        """
        messages, self._held = self._held, []
        messages += self.consumer.consume(1, IDLE_S)
        if messages and self._records > 1:
            messages += self.consumer.consume(self._records - 1, self._linger_s)
        self.check()
        poll = Poll()
        if self._changed:
            poll.revoked, self._revoked, self._changed = self._revoked, set(), False
            poll.assigned = set(self._assignment)
            self._next = {place: self._starts[place] for place in poll.assigned}
            self._ends = {}
            self._membership = self._joined
        poll.batches = self._group(messages)
        return poll

    @property
    def moved(self) -> bool:
        """Whether partitions moved since the last poll: what it brought may be another worker's by now."""
        return self._changed

    @property
    def membership(self) -> Any:
        """The group's metadata of the assignment in which the last poll was made, for the offsets of its transaction.

        Not as they are by now: a rebalance that is served between poll and commit, while histories are read back, makes
        this worker a member of a later generation, in whose name the broker would take offsets of partitions that it
        has given away.

        Raises:
            KafkaException: the group has assigned nothing yet.
        """
        if self._membership is None:
            raise KafkaException(KafkaError(KafkaError._STATE, "no partitions were assigned, so none can be committed"))
        return self._membership

    def check(self) -> None:
        """Do nothing, as long as all is well.

        Raises:
            KafkaException: the consumer or the producer will never work again; fenced off, say.
            Refused: the brokers have not let this worker in for a while, or it lacks a right.
        """
        if self._refused is not None:
            raise self._refused
        if self._fatal is not None:
            raise KafkaException(self._fatal)

    def hold(self) -> None:
        """Take no records for a while, of the partitions that are ours now."""
        self.consumer.pause([TopicPartition(*place) for place in self._assignment])

    def keep_alive(self) -> None:
        """Show the group, in the middle of something long, that this worker lives.

        A rebalance may come of it, and then records; both are dealt with by the next :meth:`poll`.
        """
        self._held += self.consumer.consume(1, 0)

    def go_on(self) -> None:
        """Take records again."""
        self.consumer.resume([TopicPartition(*place) for place in self._assignment])

    def go_back(self, batches: Iterable[Batch]) -> None:
        """Read batches once more, those that are still ours."""
        for batch in batches:
            place = batch.topic, batch.partition
            if place in self._assignment:
                self._next[place] = batch.first_offset
                self.consumer.seek(TopicPartition(*place, batch.first_offset))

    def empty_batch(self, place: Place) -> Batch:
        """Return a batch without records that leaves a partition where it stands."""
        return Batch(*place, [], self._next[place])

    def positions(self) -> dict[Place, tuple[int, int]]:
        """Return for each of our partitions the offset that comes next and the end of its log, as far as known.

        Both are equal where everything has been read: the marks of transactions at the end of a log, which no consumer
        is ever given, count as read.
        """
        found = {}
        for place in self._assignment:
            following = self._next.get(place, 0)
            end = self.consumer.get_watermark_offsets(TopicPartition(*place), cached=True)[1]
            if end < 0:  # nothing was fetched since the assignment
                continue
            reached = max(following, self._ends.get(place, 0))
            found[place] = (end, end) if reached >= end else (following, end)
        return found

    def _group(self, messages: list[Message]) -> list[Batch]:
        """Sort records by partition; leave out what a rebalance in the same poll took away or brought twice."""
        records: dict[Place, list[Message]] = defaultdict(list)
        following = self._next
        for message in messages:
            if message.error() is not None:
                self._note(message)
                continue
            place, offset = cast(Place, (message.topic(), message.partition())), cast(int, message.offset())
            expected = following.get(place)
            if expected is None or offset < expected:
                continue
            following[place] = offset + 1
            records[place].append(message)
        return [Batch(topic, partition, found) for (topic, partition), found in records.items()]

    def _note(self, message: Message) -> None:
        error = cast(KafkaError, message.error())
        if error.code() == KafkaError._PARTITION_EOF:
            self._ends[cast(Place, (message.topic(), message.partition()))] = cast(int, message.offset())
        elif not passes(error):
            raise missing_right(error, self._brokers, message.topic() or "", self._group_id) or KafkaException(error)

    def _stable_offsets(self, places: set[Place]) -> dict[Place, int]:
        """Return where each partition goes on, once no transaction of a former owner is open on it."""
        if not places:
            return {}
        committed = self.consumer.committed([TopicPartition(*place) for place in places], START_TIMEOUT_S)
        for found in committed:
            if found.error is not None:
                raise KafkaException(found.error)
        return {(found.topic, found.partition): max(found.offset, 0) for found in committed}

    def _begin_at(self, places: set[Place]) -> dict[Place, int]:
        """Return where each partition goes on: what the group says, unless the log knows better."""
        starts = self._stable_offsets(places)
        for place, offset in read_positions(self._brokers, self._group_id, places).items():
            if offset > starts[place]:
                log.warning(
                    "%s, partition %d: the group says offset %d, but everything before %d is decided: its coordinator "
                    "has forgotten what was committed; going on at %d",
                    *place, starts[place], offset, offset,
                )  # fmt: skip
                starts[place] = offset
        return starts

    def on_error(self, error: KafkaError) -> None:
        """Librdkafka lives on after a fatal error without ever giving a record again: the worker must not."""
        if error.fatal():
            self._fatal, self._refused = error, missing_right(error, self._brokers)
        else:
            self._refused = self._refused or self._patience.hear(error)
            log.warning("kafka: %s", error)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._closing:
            raise Leaving
        places = {(found.topic, found.partition) for found in partitions}
        self._starts |= self._begin_at(places)
        consumer.assign([TopicPartition(*place, self._starts[place]) for place in places])
        self._assignment |= places
        self._joined = self.consumer.consumer_group_metadata()
        self._changed = True

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        lost = {(found.topic, found.partition) for found in partitions}
        self._assignment -= lost
        self._revoked |= lost
        self._changed = True


def _config(settings: Settings) -> dict[str, Any]:
    return client(settings.kafka) | {
        "group.id": settings.group,
        "group.instance.id": settings.instance,
        "client.id": settings.instance,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "partition.assignment.strategy": "range",  # one worker gets the same partition number of every topic
        "session.timeout.ms": settings.session_timeout_ms,
        "max.poll.interval.ms": REBALANCE_AT_MOST_MS,
        "heartbeat.interval.ms": settings.session_timeout_ms // 4,
        "fetch.wait.max.ms": 10,
        "fetch.message.max.bytes": MAX_MESSAGE_BYTES,
    }
