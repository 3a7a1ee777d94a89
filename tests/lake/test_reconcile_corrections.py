"""Corrections on a real broker: each once, also across crashes, zombies and second runs."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from time import sleep

import pytest
from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from lake.landing import broker
from lake.reconcile import corrections
from lake.reconcile.corrections import Emitted, NotEmitted, emit, events_of
from lake.reconcile.findings import REMEDIES, Difference
from order_fraud import events
from order_fraud.events import Finding, FindingKind
from order_fraud.topics import RECONCILIATION_FINDINGS as TOPIC

AT = datetime(2015, 3, 1, 12, tzinfo=UTC)


def difference(kind: FindingKind, order_id: str, state: str = "open") -> Difference:
    finding = Finding(
        kind=kind,
        order_id=order_id,
        customer_id="c",
        cause="because",
        evidence={"where": "there"},
        amount=100,
        currency="USD",
        remedy=REMEDIES[kind],
    )
    return Difference(finding, AT, state)  # type: ignore[arg-type]


FOUND = [
    difference("order-not-streamed", "a"),
    difference("released-without-clearance", "b"),
    difference("amount-differs", "c"),
]


def test_a_finding_and_the_correction_that_a_service_of_ours_can_carry_out() -> None:
    made = list(events_of(FOUND))
    assert [event.id for event in made] == [
        "finding/order-not-streamed/a",
        "correction/order-not-streamed/a",
        "finding/released-without-clearance/b",
        "correction/released-without-clearance/b",
        "finding/amount-differs/c",
    ]
    assert {event.time for event in made} == {AT}
    assert made[3].data.remedy == "cancel-delivery"
    assert made[3].data.finding_id == made[2].id
    assert [events.decode(events.encode(event)) for event in made] == made


def test_what_has_been_remedied_is_not_asked_for_again() -> None:
    made = list(events_of([difference("released-without-clearance", "b", "remedied")]))
    assert [event.id for event in made] == ["finding/released-without-clearance/b"]


@pytest.fixture(scope="module")
def bootstrap(stack: dict[str, str]) -> str:
    return stack["COUNTERSIGN_KAFKA"]


@pytest.fixture
def topic(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A topic of its own for each test, in place of the real one."""
    name = f"findings-{uuid.uuid4().hex[:8]}"
    own = corrections.RECONCILIATION_FINDINGS.__class__(
        name=name, key=TOPIC.key, writers=TOPIC.writers, readers=TOPIC.readers, description=TOPIC.description
    )
    monkeypatch.setattr(corrections, "RECONCILIATION_FINDINGS", own)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics([NewTopic(name, TOPIC.partitions, 1)]).values():
        made.result(30)
    wait_for_leaders(bootstrap, name)
    yield name
    admin.delete_topics([name])


def wait_for_leaders(bootstrap: str, topic: str) -> None:
    """A topic just made has no leaders for a moment."""
    with broker.reader(bootstrap) as consumer:
        for _ in range(100):
            try:
                for partition in range(TOPIC.partitions):
                    consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
                return
            except KafkaException:
                sleep(0.1)
    pytest.fail(f"{topic} has no leaders after 10 s")


def on_topic(bootstrap: str, topic: str, at_least: int = 0) -> list[tuple[str, str]]:
    """Return (key, id) of everything committed; the broker marks a commit a moment after it agreed to it."""
    for _ in range(100):
        if len(found := committed(bootstrap, topic)) >= at_least:
            return found
        sleep(0.1)
    pytest.fail(f"after 10 s {topic} holds {found}, less than {at_least} records")


def committed(bootstrap: str, topic: str) -> list[tuple[str, str]]:
    found = []
    with broker.reader(bootstrap) as consumer:
        for partition in range(TOPIC.partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
            if low == high:
                continue
            consumer.assign([TopicPartition(topic, partition, low)])
            while (message := consumer.poll(30)) is not None and message.error() is None:
                found.append((message.key().decode(), events.decode(message.value()).id))
    return sorted(found)


def test_second_run_emits_nothing(bootstrap: str, topic: str) -> None:
    assert emit(bootstrap, "one", FOUND, dry_run=False) == Emitted(findings=3, corrections=2, known=0)
    once = on_topic(bootstrap, topic, 5)
    assert once == sorted((event.subject, event.id) for event in events_of(FOUND))
    assert emit(bootstrap, "two", FOUND, dry_run=False) == Emitted(findings=0, corrections=0, known=5)
    more = [*FOUND, difference("released-without-clearance", "d")]
    assert emit(bootstrap, "three", more, dry_run=False) == Emitted(findings=1, corrections=1, known=5)
    assert [found for found in on_topic(bootstrap, topic, 7) if found[0] != "d"] == once


def test_dry_run_says_what_it_would_and_does_nothing(bootstrap: str, topic: str) -> None:
    assert emit(bootstrap, "one", FOUND, dry_run=True) == Emitted(findings=3, corrections=2, known=0)
    assert on_topic(bootstrap, topic) == []


def test_no_findings_emit_nothing(bootstrap: str, topic: str) -> None:
    assert emit(bootstrap, "one", [], dry_run=False) == Emitted(0, 0, 0)


def test_what_the_topic_has_forgotten_is_not_emitted_again(bootstrap: str, topic: str) -> None:
    gone = {"finding/amount-differs/c", "finding/order-not-streamed/a", "correction/order-not-streamed/a"}
    assert emit(bootstrap, "one", FOUND, gone, dry_run=False) == Emitted(findings=1, corrections=1, known=3)


def test_crash_before_the_commit_leaves_nothing_and_the_retry_emits_all(
    bootstrap: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dies(Exception):
        """The worker is killed."""

    def half(producer: Producer, run_id: str, new: list[events.Event]) -> None:
        producer.begin_transaction()
        for event in new:
            producer.produce(topic, key=event.subject, value=events.encode(event))
        producer.flush(30)  # the records are in the log, the transaction is open
        raise Dies

    with monkeypatch.context() as patched:
        patched.setattr(corrections, "_commit", half)
        with pytest.raises(Dies):
            emit(bootstrap, "one", FOUND, dry_run=False)
    assert on_topic(bootstrap, topic) == []
    assert emit(bootstrap, "one", FOUND, dry_run=False) == Emitted(3, 2, 0)
    assert len(on_topic(bootstrap, topic, 5)) == 5


def test_crash_after_the_commit_does_not_double(bootstrap: str, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = corrections._commit

    def then_dies(producer: Producer, run_id: str, new: list[events.Event]) -> None:
        whole(producer, run_id, new)
        raise KafkaException("the answer to the commit got lost")

    with monkeypatch.context() as patched:
        patched.setattr(corrections, "_commit", then_dies)
        with pytest.raises(NotEmitted):
            emit(bootstrap, "one", FOUND, dry_run=False)
    assert emit(bootstrap, "one", FOUND, dry_run=False) == Emitted(3, 2, 0)  # the run still knows what it has emitted
    assert emit(bootstrap, "two", FOUND, dry_run=False) == Emitted(0, 0, 5)
    assert len(on_topic(bootstrap, topic, 5)) == 5


def test_zombie_of_an_older_run_is_fenced(bootstrap: str, topic: str) -> None:
    zombie = corrections._take_over(bootstrap)
    zombie.begin_transaction()
    zombie.produce(topic, key="a", value=events.encode(next(events_of(FOUND))))
    zombie.flush(30)
    assert emit(bootstrap, "one", FOUND, dry_run=False) == Emitted(3, 2, 0)
    with pytest.raises(KafkaException):
        zombie.commit_transaction(30)
    assert len(on_topic(bootstrap, topic, 5)) == 5


def test_foreign_records_on_the_topic_are_passed_over(bootstrap: str, topic: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(topic, key="x", value=b"not json")
    producer.produce(topic, key="x", value=None)
    producer.flush(30)
    assert emit(bootstrap, "one", FOUND, dry_run=False) == Emitted(3, 2, 0)


def test_no_broker_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "TIMEOUT_S", 1.0)
    with pytest.raises(NotEmitted, match="run it again"):
        emit("127.0.0.1:1", "one", FOUND, dry_run=False)


def test_topic_that_is_not_there_is_named(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = TOPIC.__class__(name="no-such-topic", key="", writers={}, readers=(), description="")
    monkeypatch.setattr(corrections, "RECONCILIATION_FINDINGS", own)
    with pytest.raises(NotEmitted, match="no-such-topic"):
        emit(bootstrap, "one", FOUND, dry_run=False)
