"""The librdkafka pair under the transport: a consumer and a transactional producer, a transaction per poll (KIP-447).

    Step 1  poll        every record that is there, grouped by partition
    Step 2  (agents)    fold the batches; outputs and state changes wait in them
    Step 3  commit      begin, produce outputs + changelogs + dead letters, add the input offsets, commit

The consumer's group metadata goes with the offsets, so the broker refuses a worker that the group has given up on: a
zombie can never commit. All methods block and must be called from one thread.
"""

import logging
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from order_fraud.topics import DEAD_LETTERS
from streams.batch import Batch
from streams.settings import Settings

log = logging.getLogger(__name__)

Place = tuple[str, int]
SERVICE_TIMEOUT_S = 30.0
MAX_MESSAGE_BYTES = 8_000_000


class Aborted(Exception):
    """The transaction was aborted and the consumer set back; the same records come again."""


@dataclass
class Poll:
    """What one poll brought: partitions lost, the whole assignment if it changed, and the batches."""

    revoked: set[Place] = field(default_factory=set)
    assigned: set[Place] | None = None
    batches: list[Batch] = field(default_factory=list)


class ExactlyOnce:
    """One worker's consumer and producer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._assignment: set[Place] = set()
        self._next: dict[Place, int] = {}
        self._revoked: set[Place] = set()
        self._changed = False
        self._fatal: KafkaError | None = None
        self._consumer = Consumer(_consumer_config(settings) | {"error_cb": self._on_error})
        self._producer = Producer(_producer_config(settings) | {"error_cb": self._on_error})

    def start(self, topics: list[str]) -> None:
        """Fence off a predecessor of the same name, and join the group.

        Raises:
            KafkaException: the broker cannot be reached or refuses.
        """
        self._producer.init_transactions(SERVICE_TIMEOUT_S)
        self._consumer.subscribe(topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)

    def close(self) -> None:
        """Leave the group. Nothing is in flight: transactions live within :meth:`commit`."""
        self._consumer.close()

    def poll(self) -> Poll:
        """Return what is there, or nothing after the waiting time.

        Raises:
            KafkaException: an error that does not pass by itself; the message names topic and partition.
        """
        messages = self._consumer.consume(self._settings.batch_records, self._settings.batch_wait_ms / 1000)
        if self._fatal is not None:
            raise KafkaException(self._fatal)
        poll = Poll()
        if self._changed:
            poll.revoked, self._revoked, self._changed = self._revoked, set(), False
            poll.assigned = set(self._assignment)
            self._next = self._stable_offsets(poll.assigned)
        poll.batches = self._group(messages)
        return poll

    def commit(self, batches: list[Batch]) -> None:
        """Make the outputs, the state changes and the progress of these batches one fact.

        Raises:
            Aborted: it did not come about; state is rolled back and the consumer stands where it stood before.
            KafkaException: fatal: this worker was fenced off, or the broker refuses for good.
        """
        try:
            self._producer.begin_transaction()
            for batch in batches:
                self._produce(batch)
            offsets = [TopicPartition(batch.topic, batch.partition, batch.next_offset) for batch in batches]
            self._retry(
                self._producer.send_offsets_to_transaction,
                offsets,
                self._consumer.consumer_group_metadata(),
                SERVICE_TIMEOUT_S,
            )
            self._retry(self._producer.commit_transaction, SERVICE_TIMEOUT_S)
        except KafkaException as error:
            self._undo(batches, error)
        for batch in batches:
            if batch.state is not None:
                batch.state.commit()
            self._next[batch.topic, batch.partition] = batch.next_offset

    def _undo(self, batches: list[Batch], error: KafkaException) -> None:
        for batch in batches:
            if batch.state is not None:
                batch.state.rollback()
        # _STATE: the transaction failed in the background (its records timed out in a frozen process, say) and takes no
        # more records. If it is worse than that, aborting fails and takes the worker down.
        if not (error.args[0].txn_requires_abort() or error.args[0].code() == KafkaError._STATE):
            raise error
        log.warning("transaction aborted, %d batches come again: %s", len(batches), error.args[0])
        self._retry(self._producer.abort_transaction, SERVICE_TIMEOUT_S)
        for batch in batches:
            if (batch.topic, batch.partition) in self._assignment:
                self._next[batch.topic, batch.partition] = batch.first_offset
                self._consumer.seek(TopicPartition(batch.topic, batch.partition, batch.first_offset))
        raise Aborted from error

    @staticmethod
    def _retry(call: Any, *arguments: Any) -> None:
        """Repeat a transactional call while the broker says that it may be repeated (it is idempotent then)."""
        while True:
            try:
                call(*arguments)
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise
                log.warning("the broker is busy, trying again: %s", error.args[0])
            else:
                return

    def _produce(self, batch: Batch) -> None:
        for topic, records in batch.outputs.items():
            self._produce_all(topic, records)
        if batch.state is not None:
            self._produce_all(batch.state.changelog, batch.state.changes())
        for record, reason in batch.dead_letters:
            self._producer.produce(
                DEAD_LETTERS.name,
                key=record.key(),
                value=record.value(),
                headers=[
                    ("reason", reason.encode()),
                    ("topic", batch.topic.encode()),
                    ("partition", str(batch.partition).encode()),
                    ("offset", str(record.offset()).encode()),
                    ("service", self._settings.group.encode()),
                ],
            )

    def _produce_all(self, topic: str, records: list[dict[str, Any]]) -> None:
        """Queue records, waiting for room where librdkafka's queue is full.

        Raises:
            KafkaException: a record cannot be sent at all.
        """
        while records:
            if self._producer.produce_batch(topic, records) == len(records):
                return
            failed = [record for record in records if "_error" in record]
            for record in failed:
                error = record.pop("_error")
                if error.code() != KafkaError._QUEUE_FULL:
                    raise KafkaException(error)
            self._producer.poll(0.1)
            records = failed

    def _group(self, messages: list[Message]) -> list[Batch]:
        """Sort records by partition; leave out what a rebalance in the same poll took away or brought twice."""
        records: dict[Place, list[Message]] = defaultdict(list)
        for message in messages:
            error = message.error()
            if error is not None:
                if error.retriable() or error.code() == KafkaError._PARTITION_EOF:
                    continue
                raise KafkaException(error)
            place, offset = cast(Place, (message.topic(), message.partition())), cast(int, message.offset())
            expected = self._next.get(place)
            if expected is None or offset < expected:
                continue
            self._next[place] = offset + 1
            records[place].append(message)
        return [Batch(topic, partition, found) for (topic, partition), found in records.items()]

    def _stable_offsets(self, places: set[Place]) -> dict[Place, int]:
        """Return where each partition goes on, once no transaction of a former owner is open on it."""
        if not places:
            return {}
        asked = [TopicPartition(topic, partition) for topic, partition in places]
        committed = self._consumer.committed(asked, SERVICE_TIMEOUT_S)
        for found in committed:
            if found.error is not None:
                raise KafkaException(found.error)
        return {(found.topic, found.partition): max(found.offset, 0) for found in committed}

    def _on_error(self, error: KafkaError) -> None:
        """Librdkafka lives on after a fatal error without ever giving a record again: the worker must not."""
        if error.fatal():
            self._fatal = error
        else:
            log.warning("kafka: %s", error)

    def _on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assignment |= {(found.topic, found.partition) for found in partitions}
        self._changed = True

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        lost = {(found.topic, found.partition) for found in partitions}
        self._assignment -= lost
        self._revoked |= lost
        self._changed = True


def _consumer_config(settings: Settings) -> dict[str, Any]:
    return {
        "bootstrap.servers": settings.bootstrap,
        "group.id": settings.group,
        "group.instance.id": settings.instance,
        "client.id": settings.instance,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "partition.assignment.strategy": "range",  # one worker gets the same partition number of every topic
        "session.timeout.ms": settings.session_timeout_ms,
        "heartbeat.interval.ms": settings.session_timeout_ms // 4,
        "fetch.wait.max.ms": settings.batch_wait_ms,
        "fetch.message.max.bytes": MAX_MESSAGE_BYTES,
    }


def _producer_config(settings: Settings) -> dict[str, Any]:
    return {
        "bootstrap.servers": settings.bootstrap,
        "client.id": settings.instance,
        "transactional.id": f"{settings.group}/{settings.instance}",
        "transaction.timeout.ms": settings.transaction_timeout_ms,
        "partitioner": "murmur2_random",  # Kafka's own; librdkafka's default is crc32, and keys would part ways
        "linger.ms": 1,
        "batch.size": 900_000,
        "queue.buffering.max.messages": 1_000_000,
        "queue.buffering.max.kbytes": 1_048_576,
    }
