"""State comes back exactly: committed changes all, uncommitted none, and not before open transactions are over."""

import logging
import time

import msgspec
import pytest
from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

from kafka_access import Access
from streams.settings import Settings
from streams.state import Codec, Spec, Table, Tables, Unreadable, restore
from tests.streams.witness import wait_for

INPUT = "test.input"
CODEC: Codec[int] = Codec(msgspec.msgpack.encode, msgspec.msgpack.decode)


@pytest.fixture
def spec(bootstrap: str, request: pytest.FixtureRequest) -> Spec:
    """A table with a changelog of its own."""
    name = f"test.state.{abs(hash(request.node.name))}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, 2, config={"cleanup.policy": "compact"})])[name].result()
    wait_for(lambda: name in admin.list_topics(timeout=5).topics)
    return Spec(name, INPUT, CODEC)


class Watching:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []
        self.over: list[tuple[int, float]] = []

    def restoring(self, records: int, partitions_to_go: int) -> None:
        self.told.append((records, partitions_to_go))

    def restored(self, records: int, seconds: float) -> None:
        self.over.append((records, seconds))


def tables_of(bootstrap: str, spec: Spec, watching: Watching | None = None) -> Tables:
    return Tables(Settings(kafka=Access(brokers=bootstrap)), [spec], watching or Watching())


def restored(bootstrap: str, spec: Spec) -> Table[int]:
    tables = tables_of(bootstrap, spec)
    tables.restore([(INPUT, 1)])
    return tables.table(spec.changelog, 1)


def transactional(bootstrap: str, name: str, timeout_ms: int = 4_000) -> Producer:
    producer = Producer(
        {"bootstrap.servers": bootstrap, "transactional.id": name, "transaction.timeout.ms": timeout_ms}
    )
    producer.init_transactions(30)
    return producer


def put(producer: Producer, spec: Spec, key: str, value: int | None, partition: int = 1) -> None:
    packed = None if value is None else CODEC.pack(value)
    producer.produce(spec.changelog, packed, key.encode(), partition=partition)


def test_restore_waits_for_open_transactions_and_takes_only_what_was_committed(bootstrap: str, spec: Spec) -> None:
    committed = transactional(bootstrap, "test/committed")
    committed.begin_transaction()
    for key in ("kept", "changed", "deleted"):
        put(committed, spec, key, 1)
    committed.commit_transaction()
    committed.begin_transaction()
    put(committed, spec, "deleted", None)
    committed.commit_transaction()
    dying = transactional(bootstrap, "test/dying")
    dying.begin_transaction()
    put(dying, spec, "changed", 2)
    put(dying, spec, "never", 2)
    dying.flush(10)

    started = time.monotonic()
    table = restored(bootstrap, spec)  # the broker aborts the open transaction after its four seconds

    assert time.monotonic() - started > 1, "the open transaction was not waited for"
    assert dict(table.items()) == {"kept": 1, "changed": 1}
    with pytest.raises(KafkaException):
        dying.commit_transaction()


def test_a_restore_that_gets_nowhere_ends_with_the_partitions_named(
    bootstrap: str, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "STALLED_S", 2.0)
    stuck = transactional(bootstrap, "test/stuck", 60_000)
    stuck.begin_transaction()
    put(stuck, spec, "never", 1)
    stuck.flush(10)
    with pytest.raises(TimeoutError, match=f"nothing came from {spec.changelog}/1 for 2 s"):
        restored(bootstrap, spec)
    stuck.abort_transaction()
    assert len(restored(bootstrap, spec)) == 0


def test_restoring_an_empty_changelog_ends_at_once(bootstrap: str, spec: Spec) -> None:
    """Faust's own recovery would hang: faust-streaming/faust#597."""
    watching = Watching()
    tables = tables_of(bootstrap, spec, watching)
    tables.restore([(INPUT, 0), ("another.topic", 0)])
    assert len(tables.table(spec.changelog, 0)) == 0
    assert watching.over[0][0] == 0
    tables.drop([(INPUT, 0)])
    with pytest.raises(KeyError):
        tables.table(spec.changelog, 0)
    tables.restore([("another.topic", 0)])
    assert len(watching.over) == 1, "there was nothing to restore"


def test_an_emptied_changelog_is_an_empty_table(bootstrap: str, spec: Spec) -> None:
    """All records deleted, so that its first offset is its end: where Faust's own recovery hangs (#597)."""
    producer = transactional(bootstrap, "test/emptied")
    producer.begin_transaction()
    put(producer, spec, "gone", 1)
    producer.commit_transaction()
    admin = AdminClient({"bootstrap.servers": bootstrap})
    change = ConfigEntry("cleanup.policy", "compact,delete", incremental_operation=AlterConfigOpType.SET)
    topic = ConfigResource(ConfigResource.Type.TOPIC, spec.changelog, incremental_configs=[change])
    admin.incremental_alter_configs([topic])[topic].result()
    end = restore.spans(bootstrap, [(spec.changelog, 1)])[spec.changelog, 1][1]
    place = TopicPartition(spec.changelog, 1, end)
    admin.delete_records([place])[place].result()
    assert len(restored(bootstrap, spec)) == 0


def test_progress_is_told_and_logged(
    bootstrap: str, spec: Spec, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(restore, "CHUNK", 1_000)
    monkeypatch.setattr(restore, "PROGRESS_EVERY_S", 0.0)
    producer = transactional(bootstrap, "test/progress", 30_000)
    producer.begin_transaction()
    for number in range(10_000):
        put(producer, spec, str(number), number, number % 2)
    producer.commit_transaction()
    watching = Watching()
    tables = tables_of(bootstrap, spec, watching)
    with caplog.at_level(logging.INFO, "streams.state"):
        tables.restore([(INPUT, 0), (INPUT, 1)])
    assert watching.over[0][0] == 10_000
    assert watching.told[0][1] == 2
    shares = [int(line.getMessage().split()[2]) for line in caplog.records if "restoring state" in line.getMessage()]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 100
    assert shares[-1] >= 99
    for partition in (0, 1):
        table = tables.table(spec.changelog, partition)
        assert dict(table.items()) == {str(number): number for number in range(partition, 10_000, 2)}


def test_a_changelog_that_is_not_ours_is_refused_by_name(bootstrap: str, spec: Spec) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(spec.changelog, b"value", b"\xff", partition=1)
    producer.flush(10)
    with pytest.raises(Unreadable, match=f"changelog {spec.changelog}, partition 1: key at offset 0"):
        restored(bootstrap, spec)


def test_a_missing_changelog_is_refused_by_name(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore, "STALLED_S", 1.0)
    with pytest.raises(KafkaException, match=r"end of test\.state\.none/1"):
        restored(bootstrap, Spec("test.state.none", INPUT, CODEC))
