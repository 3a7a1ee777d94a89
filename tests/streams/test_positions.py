"""A group whose coordinator has forgotten what was committed: nothing is decided twice for it."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from order_fraud import events, topics
from streams.batch import Batch
from streams.positions import position, read_positions
from streams.settings import Settings
from streams.state import Unreadable
from tests.streams.conftest import Workers
from tests.streams.witness import differences, read, send, subjects, wait_for

GROUP = Settings().group


def order(order_id: str) -> tuple[bytes, bytes]:
    data = events.Order(
        order_id=order_id, customer_id=order_id, amount=100, currency="EUR", device_id=f"d-{order_id}", ip=order_id
    )
    time = datetime(2026, 1, 1, tzinfo=UTC)
    event = events.NewOrder(id=f"order/{order_id}", source="/t", subject=order_id, time=time, data=data)
    return order_id.encode(), events.encode(event)


def set_back(bootstrap: str, group: str) -> int:
    """Let a group forget half of what it has committed; return how many partitions that were.

    The broker takes offsets from outside once the group is empty: a static member that left is missed after a while.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap})

    def offsets() -> list[TopicPartition]:
        (asked,) = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
        return [place for place in asked.result().topic_partitions if place.offset > 0]

    def taken() -> bool:
        asked = ConsumerGroupTopicPartitions(group, back)
        try:
            (done,) = admin.alter_consumer_group_offsets([asked]).values()
            return all(place.error is None for place in done.result().topic_partitions)
        except KafkaException:
            return False

    back = [TopicPartition(place.topic, place.partition, place.offset // 2) for place in offsets()]
    wait_for(taken)
    assert sum(place.offset for place in offsets()) == sum(place.offset for place in back)
    return len(back)


def test_what_the_group_forgets_is_not_decided_twice(bootstrap: str, workers: Workers) -> None:
    """As after a broker's crash, when the coordinator answers before it has read its log to the end."""
    first = [f"back-{number}" for number in range(400)]
    send(bootstrap, map(order, first))
    workers.start(1)
    wait_for(lambda: subjects(bootstrap, topics.DELIVERY_EVENTS, "back-") >= Counter(first))
    letters = len(read(bootstrap, topics.DEAD_LETTERS))
    assert workers.stop(1) == 0
    assert set_back(bootstrap, GROUP) >= 16

    then = [f"back-again-{number}" for number in range(100)]
    send(bootstrap, map(order, then))
    workers.start(1)
    wait_for(lambda: subjects(bootstrap, topics.DELIVERY_EVENTS, "back-again-") >= Counter(then))
    assert workers.stop(1) == 0
    assert subjects(bootstrap, topics.FRAUD_VERDICTS, "back-") == Counter(first + then)
    assert subjects(bootstrap, topics.DELIVERY_EVENTS, "back-") == Counter(first + then)
    assert len(read(bootstrap, topics.DEAD_LETTERS)) == letters, "no order was refused as a repeat of itself"
    assert differences(bootstrap) == []


def test_positions_are_those_of_the_last_commit_of_the_group(bootstrap: str) -> None:
    def written(group: str, topic: str, partition: int, offset: int) -> None:
        name, value, key, home, *_ = position(group, Batch(topic, partition, [], next_offset=offset))
        assert name == topics.STREAM_POSITIONS.name
        told.append((home, key, value))

    told: list[tuple[int, bytes | None, bytes | None]] = []
    written("told", "a", 1, 10)
    written("told", "a", 5, 11)  # a topic with more partitions than ours have shares them
    written("told", "b", 1, 12)
    written("other", "a", 1, 99)
    written("told", "a", 1, 13)
    write(bootstrap, told)
    wanted = [("a", 1), ("a", 5), ("b", 1), ("c", 1)]
    assert read_positions(bootstrap, "told", wanted) == {("a", 1): 13, ("a", 5): 11, ("b", 1): 12}


@pytest.mark.parametrize("value", [b"", b"-1", b"ten"])
def test_what_is_no_position_is_named_with_its_remedy(bootstrap: str, value: bytes) -> None:
    write(bootstrap, [(2, f"bad/{value!r}/2".encode(), value)])
    with pytest.raises(Unreadable, match=r"stream.positions/2, offset \d+: .* is no offset.*write a record"):
        read_positions(bootstrap, "bad", [(repr(value), 2)])


def write(bootstrap: str, records: list[tuple[int, bytes | None, bytes | None]]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for partition, key, value in records:
        producer.produce(topics.STREAM_POSITIONS.name, value, key, partition)
    assert producer.flush(30) == 0
