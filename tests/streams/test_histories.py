"""Histories come back exactly: committed changes all, uncommitted none, and not before open transactions are over."""

import time

import msgspec
import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from order_fraud import topics
from order_fraud.history import History
from streams.batch import Batch
from streams.exactly_once import ExactlyOnce
from streams.histories import Histories, HistoryTable
from streams.settings import Settings
from tests.streams.witness import wait_for

CHANGELOG = "test.history"
PARTITION = 2
INPUT = topics.RELAY_BY_IP


@pytest.fixture(scope="module", autouse=True)
def changelog(bootstrap: str) -> None:
    """A changelog of its own, untouched by the workers of other tests."""
    wanted = NewTopic(CHANGELOG, 4, config={"cleanup.policy": "compact"})
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([wanted])[CHANGELOG].result()
    wait_for(lambda: CHANGELOG in admin.list_topics(timeout=5).topics)


def transactional(bootstrap: str, name: str, timeout_ms: int = 4_000) -> Producer:
    producer = Producer(
        {"bootstrap.servers": bootstrap, "transactional.id": name, "transaction.timeout.ms": timeout_ms}
    )
    producer.init_transactions(30)
    return producer


def put(producer: Producer, entity_id: str, seen: int) -> None:
    value = msgspec.json.encode(History(seen, seen))
    producer.produce(CHANGELOG, value, entity_id.encode(), partition=PARTITION)


def restored(bootstrap: str) -> HistoryTable:
    histories = Histories(bootstrap, {INPUT.name: CHANGELOG})
    histories.restore([(INPUT.name, PARTITION)])
    return histories.table(INPUT.name, PARTITION)


def test_restore_waits_for_open_transactions_and_takes_only_what_was_committed(bootstrap: str) -> None:
    committed = transactional(bootstrap, "test/committed")
    committed.begin_transaction()
    put(committed, "kept", 1)
    put(committed, "changed", 1)
    committed.commit_transaction()
    dying = transactional(bootstrap, "test/dying")
    dying.begin_transaction()
    put(dying, "changed", 2)
    put(dying, "never", 2)
    dying.flush(10)

    started = time.monotonic()
    table = restored(bootstrap)  # the broker aborts the open transaction after its four seconds

    assert time.monotonic() - started > 1, "the open transaction was not waited for"
    assert table.get("kept") == History(1, 1)
    assert table.get("changed") == History(1, 1)
    assert table.get("never") is None
    assert len(table) == 2
    with pytest.raises(KafkaException):
        dying.commit_transaction()


def test_restoring_an_empty_changelog_ends_at_once(bootstrap: str) -> None:
    histories = Histories(bootstrap, {INPUT.name: CHANGELOG})
    histories.restore([(INPUT.name, 3)])
    assert len(histories.table(INPUT.name, 3)) == 0
    histories.drop([(INPUT.name, 3)])
    with pytest.raises(KeyError):
        histories.table(INPUT.name, 3)


def test_a_table_forgets_what_was_not_committed() -> None:
    table = HistoryTable("log", 1)
    table["a"] = History(1, 1)
    assert table.get("a") == History(1, 1)
    table.rollback()
    assert table.get("a") is None
    table["a"] = History(1, 2)
    table["a"] = History(1, 3)
    assert table.changes() == [{"key": b"a", "value": msgspec.json.encode(History(1, 3)), "partition": 1}]
    table.commit()
    assert table.get("a") == History(1, 3)
    assert table.changes() == []


def test_a_predecessor_of_the_same_name_can_never_commit(bootstrap: str) -> None:
    """The zombie: it has a batch in hand when its successor starts."""
    settings = Settings(bootstrap=bootstrap, group="zombies", instance="one")
    zombie, successor = ExactlyOnce(settings), ExactlyOnce(settings)
    zombie.start([INPUT.name])
    batch = Batch(INPUT.name, 0, [_Record()])
    batch.send(topics.FRAUD_VERDICTS.name, "zombie", b"written by a zombie")
    successor.start([INPUT.name])
    with pytest.raises(KafkaException) as error:
        zombie.commit([batch])
    assert error.value.args[0].fatal()
    successor.close()


class _Record:
    """Stands for a consumed record; only its offset is asked for."""

    def offset(self) -> int:
        return 0
