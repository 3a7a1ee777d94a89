"""Asks the broker what a topic is and how far it reaches."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from kafka_access import Brokers, client, missing_right
from lake.errors import Hopeless
from order_fraud.rights import READING_GROUPS
from order_fraud.topics import LANDING, Topic

TIMEOUT_S = 30.0


class Bounds(NamedTuple):
    """The readable range of one partition: the first retained offset and the last stable offset (exclusive)."""

    start: int
    end: int


class KafkaRefuses(Hopeless):
    """Kafka does not let this task in, or not do what it wants; the message says who was refused what."""


class TopicUnusable(RuntimeError):
    """The topic is not there or is not what the registry says; the message names the remedy."""


def identity(bootstrap: Brokers, topic: Topic) -> tuple[str, int]:
    """Return the id that the broker gave the topic when it was made, and its number of partitions.

    Raises:
        TopicUnusable: there is no such topic, or the broker does not answer.
        KafkaRefuses: we may not know it.
    """
    admin = AdminClient(client(bootstrap) | {"socket.timeout.ms": int(TIMEOUT_S * 1000)})
    answer = admin.describe_topics(TopicCollection([topic.name]), request_timeout=TIMEOUT_S)[topic.name]
    try:
        described = answer.result(timeout=TIMEOUT_S + 5)
    except Exception as error:
        raise_refusal(error, bootstrap, topic.name)
        raise TopicUnusable(
            f"topic {topic.name} cannot be read at {bootstrap}: {error}. Is the broker up (COUNTERSIGN_KAFKA), and "
            f"were the "
            "topics made (`make up` does both)?"
        ) from error
    return str(described.topic_id), len(described.partitions)


def raise_refusal(error: Exception, bootstrap: Brokers, topic: str, transactional_id: str = "") -> None:
    """Do nothing about an error, unless it says that a right is missing.

    Not even if Kafka no longer lets us in: it did when the task began, and will be asked again when it is tried again.

    Args:
        error: of any kind.
        bootstrap: whose it is.
        topic, transactional_id: what was used.

    Raises:
        KafkaRefuses: it is one, and trying again mends nothing.
    """
    if not isinstance(error, KafkaException) or not isinstance(error.args[0], KafkaError):
        return
    if refused := missing_right(error.args[0], bootstrap, topic, READING_GROUPS[LANDING], transactional_id):
        raise KafkaRefuses(str(refused)) from error


@contextmanager
def reader(bootstrap: Brokers) -> Iterator[Consumer]:
    """Give a read_committed consumer that belongs to no group in practice: it only ever assigns and never commits."""
    consumer = Consumer(
        client(bootstrap)
        | {
            "group.id": READING_GROUPS[LANDING],  # librdkafka wants one; no offset is ever stored under it
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "fetch.max.bytes": 64 * 1024 * 1024,
            "max.partition.fetch.bytes": 8 * 1024 * 1024,
            "fetch.wait.max.ms": 50,
            "check.crcs": True,
        }
    )
    try:
        yield consumer
    finally:
        consumer.close()


def bounds(consumer: Consumer, topic: Topic, partitions: int) -> dict[int, Bounds]:
    """Return the readable range of every partition; the consumer reads committed, so it ends at the stable offset."""
    return {
        partition: Bounds(*consumer.get_watermark_offsets(TopicPartition(topic.name, partition), timeout=TIMEOUT_S))
        for partition in range(partitions)
    }


def ends(bootstrap: Brokers, topics: Iterable[Topic]) -> dict[str, dict[int, int]]:
    """Return how far each topic reaches, per partition, asking for the topics one after the other in the order given.

    Give effects before their causes: what caused a record that lies before the end of its topic was committed before
    that record, so it lies before the end of its own topic, which is asked for later.

    Raises:
        TopicUnusable: there is no such topic, or the broker does not answer.
    """
    with reader(bootstrap) as consumer:
        return {
            topic.name: {
                partition: bound.end
                for partition, bound in bounds(consumer, topic, identity(bootstrap, topic)[1]).items()
            }
            for topic in topics
        }
