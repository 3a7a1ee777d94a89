"""A worker whose name, or whose partitions, another one has taken can never commit."""

import threading
import time
from dataclasses import replace

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from kafka_access import Access
from order_fraud import topics
from streams.batch import Batch
from streams.exactly_once import Aborted, ExactlyOnce
from streams.polling import Poller
from streams.settings import Settings
from tests.streams.witness import read, wait_for


@pytest.mark.parametrize("sent", [True, False])
def test_a_predecessor_of_the_same_name_can_never_commit(bootstrap: str, sent: bool) -> None:
    """The zombie: it has a batch in hand, its outputs perhaps sent already, when its successor starts."""
    settings = Settings(kafka=Access(brokers=bootstrap), group="zombies", instance="one")
    pollers = [Poller(settings), Poller(settings)]
    for poller in pollers:  # nobody assigns anything here: it is the name alone that must fence
        poller._membership = poller.consumer.consumer_group_metadata()
    zombie, successor = (ExactlyOnce(settings, poller) for poller in pollers)
    zombie.start()
    batch = Batch(topics.RELAY_BY_IP.name, 0, [], next_offset=1)
    batch.send(topics.FRAUD_VERDICTS.name, "zombie", b"written by a zombie", 0)
    zombie.begin([batch])
    if sent:
        zombie.add(batch)
        zombie._producer.flush(10)
    successor.start()
    if not sent:
        zombie.add(batch)
    with pytest.raises(KafkaException) as error:
        zombie.commit()
    assert error.value.args[0].fatal()
    assert all(message.value() != b"written by a zombie" for message in read(bootstrap, topics.FRAUD_VERDICTS))
    for poller in pollers:
        poller.close()


MOVED = replace(topics.RELAY_BY_IP, name="test.moved")
SAID = replace(topics.FRAUD_VERDICTS, name="test.moved.said")
"""Topics of this test's own: what it writes is nothing that a service could read."""


class Member:
    """As much of a worker as belongs to the group: it polls, and commits what it has in hand when it is told to."""

    def __init__(self, bootstrap: str, instance: str) -> None:
        settings = Settings(kafka=Access(brokers=bootstrap), group="moved", instance=instance)
        self.poller = Poller(settings)
        self.committing = ExactlyOnce(settings, self.poller)
        self.committing.start()
        self.poller.start([MOVED.name])
        self.in_hand: dict[int, Batch] = {}

    def poll(self) -> None:
        self.in_hand |= {batch.partition: batch for batch in self.poller.poll().batches}

    def commit(self, word: bytes) -> None:
        batches = list(self.in_hand.values())
        for batch in batches:
            batch.send(SAID.name, "moved", word, 0)
        self.committing.begin(batches)
        for batch in batches:
            self.committing.add(batch)
        self.committing.commit()


def test_what_was_polled_before_the_partitions_moved_can_never_be_committed(bootstrap: str) -> None:
    """Histories are read back while a batch is in hand; the group may give its partition away meanwhile."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic.name, topic.partitions) for topic in (MOVED, SAID)])
    wait_for(lambda: {MOVED.name, SAID.name} <= admin.list_topics(timeout=5).topics.keys())
    producer = Producer({"bootstrap.servers": bootstrap})
    for partition in range(MOVED.partitions):
        producer.produce(MOVED.name, b"moved", b"k", partition)
    producer.flush()
    until = time.monotonic() + 120
    first = Member(bootstrap, "one")
    while len(first.in_hand) < MOVED.partitions:
        first.poll()
        assert time.monotonic() < until
    second = Member(bootstrap, "two")
    while not second.in_hand:
        first.poller.keep_alive()  # as it does while it restores
        second.poll()
        assert time.monotonic() < until
    assert first.poller.moved
    second.commit(b"by the new owner")
    with pytest.raises(Aborted):
        first.commit(b"by the former owner")
    assert {message.value() for message in read(bootstrap, SAID)} == {b"by the new owner"}
    for member in (first, second):
        member.poller.close()


def test_one_who_leaves_while_the_group_gives_out_partitions_is_not_held_up(bootstrap: str) -> None:
    """The assignment is on its way when the worker closes, and is served while it closes, when no broker answers."""
    for number in range(3):
        members = [Member(bootstrap, f"leaving-{number}-{name}") for name in ("one", "two")]
        until = time.monotonic() + 60
        while not members[0].poller._assignment:
            members[0].poll()
            members[1].poller.keep_alive()
            assert time.monotonic() < until
        for member in members:
            leaving = threading.Thread(target=member.poller.close, daemon=True)
            leaving.start()
            leaving.join(30)
            assert not leaving.is_alive()
