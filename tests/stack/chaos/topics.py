"""What lies on the topics when all is over, as plain records that a test can tamper with."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, cast

from confluent_kafka import Consumer, KafkaError, TopicPartition

from order_fraud.topics import TOPICS, Topic
from tests.streams.witness import read


class Record(NamedTuple):
    """One committed record.

    Attributes:
        partition: that it lies on.
        offset: in that partition.
        key: None for a record without.
        value: None for a record without.
        headers: name to value.
        appended: the record's own time stamp, ms since 1970; None if it has none.
    """

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]
    appended: int | None


Log = dict[str, list[Record]]
"""Every topic's records by topic name, partition by partition in offset order."""


def read_all(bootstrap: str, tell: Callable[[str], None]) -> Log:
    """Read every topic of the registry from its start to its end, read_committed."""
    log: Log = {}
    for topic in TOPICS:
        log[topic.name] = [
            Record(
                cast(int, message.partition()),
                cast(int, message.offset()),
                message.key(),
                message.value(),
                dict(cast(list[tuple[str, bytes]], message.headers() or [])),
                message.timestamp()[1] if message.timestamp()[0] else None,
            )
            for message in read(bootstrap, topic)
        ]
        tell(f"{topic.name}: {len(log[topic.name]):,} records")
    return log


def unread(bootstrap: str, group: str, topics: Iterable[Topic]) -> list[str]:
    """Return the partitions, as ``topic[partition]@offset``, on which a group has committed records to go.

    The end of a partition cannot tell: behind the last record lies the marker of its transaction.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,  # to ask for its offsets; it is never joined
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    asked = [TopicPartition(topic.name, partition) for topic in topics for partition in range(topic.partitions)]
    behind: dict[tuple[str, int], str] = {}
    try:
        places = [TopicPartition(at.topic, at.partition, max(at.offset, 0)) for at in consumer.committed(asked, 10)]
        consumer.assign(places)
        waiting = {(at.topic, at.partition) for at in places}
        while waiting:
            for message in consumer.consume(1_000, 1.0):
                place = cast(tuple[str, int], (message.topic(), message.partition()))
                error = message.error()
                if error is None:
                    behind.setdefault(place, f"{place[0]}[{place[1]}]@{message.offset()}")
                    waiting.discard(place)
                elif error.code() == KafkaError._PARTITION_EOF:
                    waiting.discard(place)
    finally:
        consumer.close()
    return sorted(behind.values())


def follow(bootstrap: str, topics: Iterable[Topic]) -> Consumer:
    """Return a consumer that stands at the start of topics, reads what is committed, and is quiet about outages."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "chaos",  # required by librdkafka, never joined: partitions are assigned by hand
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
    consumer.assign(
        [TopicPartition(topic.name, partition, 0) for topic in topics for partition in range(topic.partitions)]
    )
    return consumer
