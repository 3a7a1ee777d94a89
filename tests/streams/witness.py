"""Reads the topics from outside and folds them again: written apart from the streams code, which it judges."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from kafka_access import Brokers, client
from order_fraud import events, policies, topics
from order_fraud.judge import Panel
from order_fraud.policies import Policies
from order_fraud.relay import ROUTE, Shelf, receive, step
from order_fraud.topics import Topic
from scorecards import PANEL

PLANTED = "planted"


def send(bootstrap: str, records: Iterable[tuple[bytes | None, bytes]], topic: Topic = topics.CUSTOMER_EVENTS) -> None:
    """Produce raw records and wait for their acknowledgements."""
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "enable.idempotence": True})
    failed: list[KafkaError] = []
    for key, value in records:
        producer.produce(topic.name, value, key, on_delivery=lambda error, _: failed.append(error) if error else None)
        producer.poll(0)
    assert producer.flush(30) == 0
    assert not failed


def read(bootstrap: Brokers, topic: Topic, *, planted: bool = False) -> list[Message]:
    """Return every committed record of a topic, partition by partition in offset order.

    Records that bear the header ``PLANTED`` were put there by a test in place of a service, and are left out unless
    asked for.
    """
    consumer = Consumer(
        {
            **client(bootstrap),
            "group.id": "witness",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    found: list[Message] = []
    consumer.assign([TopicPartition(topic.name, partition, 0) for partition in range(topic.partitions)])
    ends = 0
    while ends < topic.partitions:
        for message in consumer.consume(10_000, 1.0):
            if message.error() is None:
                if planted or PLANTED not in dict(message.headers() or ()):
                    found.append(message)
            else:
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                ends += 1
    consumer.close()
    return sorted(found, key=lambda message: (message.partition(), message.offset()))


def wait_for(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not so after {seconds:.0f} s"
        time.sleep(0.5)


def subjects(bootstrap: str, topic: Topic, prefix: str) -> Counter[str]:
    """Count the events of a topic by subject, of the subjects that begin with ``prefix``; alarms are no outcomes."""
    found = (events.decode(message.value()) for message in read(bootstrap, topic))
    return Counter(
        event.subject
        for event in found
        if event.subject.startswith(prefix) and not isinstance(event, events.VerdictOverdue)
    )


def verdicts(bootstrap: str) -> list[events.PossibleFraud | events.NoFraudDetected]:
    """Return all verdicts, partition by partition in their order."""
    found = (events.decode(message.value()) for message in read(bootstrap, topics.FRAUD_VERDICTS))
    return [event for event in found if isinstance(event, events.PossibleFraud | events.NoFraudDetected)]


def published(bootstrap: str) -> Policies:
    """Return all scorecards; records that hold none are passed over."""
    known = policies.initial(PANEL)
    for message in read(bootstrap, topics.FRAUD_POLICIES):
        with contextlib.suppress(policies.Refused):
            known = known.apply(policies.receive(message.key(), message.value()))
    return known


def differences(bootstrap: str) -> list[str]:
    """Fold every hop topic again in offset order and return what the stream did not write byte for byte.

    An order is judged again by those whom its verdict names: that they were the right ones is another question.
    """
    known, named = published(bootstrap), {event.subject: event.data for event in verdicts(bootstrap)}
    panels: dict[tuple[str, ...], Panel] = {(): PANEL}

    def panel_of(order_id: str) -> Panel:
        verdict = named.get(order_id)
        names = (verdict.scorecard_version, *(one.scorecard_version for one in verdict.shadows)) if verdict else ()
        if names not in panels:
            panels[names] = known.bench(names[0], names[1:])
        return panels[names]

    written = Counter(
        (message.topic(), message.key(), message.value())
        for topic in (*(hop.reads for hop in ROUTE[1:]), topics.FRAUD_VERDICTS)
        for message in read(bootstrap, topic)
    )
    expected: Counter[tuple[str | None, bytes | None, bytes | None]] = Counter()
    for hop in ROUTE:
        histories: dict[int, Shelf] = {}
        for message in read(bootstrap, hop.reads):
            try:
                event = receive(hop, message.key(), message.value(), message.timestamp()[1])
                onward = step(hop, histories.setdefault(message.partition(), Shelf()), event, panel_of(event.subject))
            except events.BadEvent:
                continue
            if onward is not None:
                expected[onward.topic.name, onward.key.encode(), events.encode(onward.event)] += 1
    return [f"missing {record}" for record in (expected - written)] + [
        f"not derivable {record}" for record in (written - expected)
    ]
