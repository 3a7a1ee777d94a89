"""Reading topics from outside, read_committed, and counting the verdicts as they arrive."""

import time
from collections.abc import Callable, Iterator

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from kafka_access import Brokers, client
from order_fraud.topics import FRAUD_VERDICTS, Topic

QUIET_S = 60.0
POLL_S = 0.005


def reader(bootstrap: Brokers, *, eof: bool = False) -> Consumer:
    """Return a read_committed consumer that takes a quiet topic's records within milliseconds."""
    return Consumer(
        client(bootstrap)
        | {
            "log_level": 0,  # the broker goes before its clients do
            "group.id": "bench-witness",  # required by librdkafka, never joined: partitions are assigned by hand
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": eof,
            "fetch.wait.max.ms": 5,
            "fetch.message.max.bytes": 8_000_000,
        }
    )


class VerdictWatch:
    """Sees the verdicts of one round arrive.

    Attributes:
        seen: every verdict so far as (key, value).
        last_arrival: Unix time at which the last one arrived.
    """

    def __init__(self, bootstrap: Brokers) -> None:
        """Start to read at the end of the topic as it stands."""
        self.seen: list[tuple[bytes | None, bytes | None]] = []
        self.last_arrival = 0.0
        self._consumer = reader(bootstrap)
        self._consumer.assign(
            [
                TopicPartition(FRAUD_VERDICTS.name, number, OFFSET_BEGINNING)
                for number in range(FRAUD_VERDICTS.partitions)
            ]
        )

    def poll(self) -> list[Message]:
        """Return the verdicts that are there, after a few milliseconds at most.

        Raises:
            KafkaException: the broker refuses.
        """
        messages = self._consumer.consume(10_000, POLL_S)
        if messages:
            self.last_arrival = time.time()
            for message in messages:
                if (error := message.error()) is not None:
                    raise KafkaException(error)
                self.seen.append((message.key(), message.value()))
        return messages

    def wait(self, count: int, check: Callable[[], None]) -> None:
        """Wait until ``count`` verdicts were seen, with ``check`` called about once a second.

        Raises:
            TimeoutError: none came for a minute.
        """
        quiet_since = looked = time.monotonic()
        while len(self.seen) < count:
            now = time.monotonic()
            if self.poll():
                quiet_since = now
            if now - quiet_since > QUIET_S:
                raise TimeoutError(f"{len(self.seen)} of {count} verdicts, and none for {QUIET_S:.0f} s")
            if now - looked > 1:
                looked = now
                check()

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()


def read_all(bootstrap: Brokers, topic: Topic) -> Iterator[Message]:
    """Yield every committed record of a topic, each partition in offset order.

    Raises:
        KafkaException: the broker refuses.
    """
    consumer = reader(bootstrap, eof=True)
    consumer.assign([TopicPartition(topic.name, number, OFFSET_BEGINNING) for number in range(topic.partitions)])
    at_end: set[int | None] = set()
    try:
        while len(at_end) < topic.partitions:
            for message in consumer.consume(10_000, 1.0):
                if (error := message.error()) is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    at_end.add(message.partition())
                else:
                    raise KafkaException(error)
    finally:
        consumer.close()
