"""State in files, on a real broker: markers, and real workers killed in the middle of their work."""

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from kafka_access import Access
from order_fraud import events, topics
from order_fraud.relay import ROUTE
from stack import Ports, Stack
from streams.fraud import SPECS
from streams.settings import Settings
from streams.state import Codec, Spec, Table, Tables
from tests.streams.conftest import Workers
from tests.streams.witness import differences, send, subjects, wait_for

INPUT = "test.input"
CODEC: Codec[int] = Codec(msgspec.msgpack.encode, msgspec.msgpack.decode)


@pytest.fixture(scope="module")
def stack_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A broker whose topics hold nothing but this module's records."""
    with Stack(tmp_path_factory.mktemp("rocks"), ports=Ports.free(), parts=("kafka", "topics")) as running:
        yield running


@pytest.fixture
def broker(stack_of_its_own: Stack) -> str:
    return stack_of_its_own.env["COUNTERSIGN_KAFKA"]


@pytest.fixture
def spec(broker: str, request: pytest.FixtureRequest) -> Spec:
    """A table with a changelog of its own."""
    name = f"test.state.{abs(hash(request.node.name))}"
    create(broker, name)
    return Spec(name, INPUT, CODEC)


def create(broker: str, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(name, 2, config={"cleanup.policy": "compact"})])[name].result()
    wait_for(lambda: name in admin.list_topics(timeout=5).topics)


class Life:
    """One worker's life, from the start of its process to its end, with a transactional producer."""

    def __init__(self, broker: str, spec: Spec, folder: Path, instance: str = "one") -> None:
        self.read = 0
        self._spec = spec
        settings = Settings(kafka=Access(brokers=broker), state="rocksdb", state_dir=str(folder), instance=instance)
        self._tables = Tables(settings, [spec], self)
        self._tables.restore([(INPUT, 1)])
        self._producer = Producer({"bootstrap.servers": broker, "transactional.id": f"{spec.changelog}/{instance}"})
        self._producer.init_transactions(30)

    def restoring(self, records: int, partitions_to_go: int) -> None:
        pass

    def restored(self, records: int, seconds: float) -> None:
        self.read = records

    @property
    def table(self) -> Table[int]:
        return self._tables.table(self._spec.changelog, 1)

    def send(self, **values: int) -> None:
        """Send changes in a transaction, and leave it open."""
        for key, value in values.items():
            self.table[key] = value
        self._producer.begin_transaction()
        records = self.table.changes()
        assert self._producer.produce_batch(self._spec.changelog, records) == len(records)

    def end(self) -> None:
        """Commit it on the broker, and no more."""
        self._producer.commit_transaction(30)

    def abort(self) -> None:
        self._producer.flush(10)
        self._producer.abort_transaction(30)
        self.table.rollback()

    def commit(self, **values: int) -> None:
        self.send(**values)
        self.end()
        self.table.commit()

    def die(self) -> None:
        self._tables.close()


def test_a_restart_reads_nothing_that_it_has(broker: str, spec: Spec, tmp_path: Path) -> None:
    first = Life(broker, spec, tmp_path)
    first.commit(a=1, b=1)
    first.send(a=2, b=2, c=2)
    first.abort()
    first.commit(a=3)
    assert first.table.next_offset == 2 + 1 + 3 + 1 + 1, "the offset came with the delivery report"
    first.die()
    again = Life(broker, spec, tmp_path)
    assert again.read == 0
    assert dict(again.table.items()) == {"a": 3, "b": 1}
    again.die()


def test_what_was_committed_but_not_written_is_read_after_a_crash(broker: str, spec: Spec, tmp_path: Path) -> None:
    first = Life(broker, spec, tmp_path)
    first.commit(a=1, b=1)
    first.send(a=2)
    first.end()
    first.die()
    again = Life(broker, spec, tmp_path)
    assert again.read == 1
    assert dict(again.table.items()) == {"a": 2, "b": 1}
    again.die()


def test_a_partition_comes_back_with_what_another_worker_did(broker: str, spec: Spec, tmp_path: Path) -> None:
    ours = Life(broker, spec, tmp_path)
    ours.commit(a=1, b=1)
    ours._tables.drop([(INPUT, 1)])
    theirs = Life(broker, spec, tmp_path, "two")
    assert theirs.read == 2
    theirs.commit(b=2)
    theirs.die()
    ours._tables.restore([(INPUT, 1)])
    assert ours.read == 1
    assert dict(ours.table.items()) == {"a": 1, "b": 2}
    ours.die()


def test_a_topic_that_was_made_anew_has_nothing_to_do_with_the_files(broker: str, spec: Spec, tmp_path: Path) -> None:
    first = Life(broker, spec, tmp_path)
    first.commit(a=1)
    first.die()
    admin = AdminClient({"bootstrap.servers": broker})
    admin.delete_topics([spec.changelog])[spec.changelog].result()
    wait_for(lambda: spec.changelog not in admin.list_topics(timeout=5).topics)
    create(broker, spec.changelog)
    again = Life(broker, spec, tmp_path)
    assert dict(again.table.items()) == {}
    again.commit(b=1)
    again.die()


ORDERS = 5_000
STAYS = (("c", 90), ("d", 200), ("i", 60))
"""How many orders pass until an entity is followed by another."""
_FIRST = datetime(2015, 1, 1, tzinfo=UTC)


def order(number: int) -> tuple[bytes, bytes]:
    """The orders of four years: each customer, device and ip is seen for a while, and forgotten after it."""
    customer_id, device_id, ip = (
        f"{kind}{number // stay}-{number % 7}" for kind, stay in (("c", 90), ("d", 200), ("i", 60))
    )
    order_id = f"rocks-{number}"
    data = events.Order(
        order_id=order_id, customer_id=customer_id, amount=100 + number, currency="EUR", device_id=device_id, ip=ip
    )
    at = _FIRST + timedelta(hours=7 * number)
    event = events.NewOrder(id=f"order/{order_id}", source="/t", subject=order_id, time=at, data=data)
    return customer_id.encode(), events.encode(event)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_workers_with_files_are_killed_and_decide_as_if_nothing_had_been(
    stack_of_its_own: Stack, broker: str, tmp_path: Path
) -> None:
    state = {"COUNTERSIGN_STATE": "rocksdb", "COUNTERSIGN_STATE_DIR": str(tmp_path / "state")}
    crew: Any = SimpleNamespace(environ={**stack_of_its_own.environ, **state})
    workers = Workers(crew, tmp_path)
    wanted = Counter(f"rocks-{number}" for number in range(ORDERS))

    def shop() -> None:
        for start in range(0, ORDERS, 100):
            send(broker, [order(number) for number in range(start, start + 100)])
            time.sleep(0.15)

    selling = threading.Thread(target=shop)
    try:
        workers.start(1)
        workers.start(2)
        selling.start()
        for index in (1, 2, 1):
            time.sleep(1.5)
            workers.kill(index)
            workers.start(index)
        workers.kill(2)  # for good: its partitions go to worker 1, whose files know little of them
        selling.join()
        wait_for(lambda: subjects(broker, topics.DELIVERY_EVENTS, "rocks-") >= wanted)
        assert subjects(broker, topics.FRAUD_VERDICTS, "rocks-") == wanted
        assert subjects(broker, topics.DELIVERY_EVENTS, "rocks-") == wanted
        assert differences(broker) == []
        assert workers.stop(1) == 0
    finally:
        selling.join()
        workers.kill_all()

    in_files, in_memory, read_again = contents(broker, state["COUNTERSIGN_STATE_DIR"])
    assert in_files == in_memory
    assert read_again == 0, "the files of a worker that was stopped are complete"
    entities = {f"{kind}{number // stay}-{number % 7}" for number in range(ORDERS) for kind, stay in STAYS}
    assert len(in_memory) < len(entities), "what has expired was dropped while they worked"
    restarted = re.search(r"state restored: (\d+) tables, (\d+) records", (tmp_path / "worker-1-3.log").read_text())
    assert restarted is not None
    # Those of its 14 tables have some 12,000 records by then; how long the tail is depends on how busy the machine is.
    assert int(restarted[2]) < ORDERS / 2, "a killed worker reads the tail of its changelogs, not all of them"


def contents(broker: str, state_dir: str) -> tuple[dict[str, Any], dict[str, Any], int]:
    """Return all histories as worker 1 has them in its files and as the changelogs have them."""
    places = [(hop.reads.name, partition) for hop in ROUTE for partition in range(hop.reads.partitions)]
    watching = SimpleNamespace(restoring=lambda records, to_go: None, restored=lambda records, _: read.append(records))
    read: list[int] = []
    found = []
    for settings in (
        Settings(kafka=Access(brokers=broker), instance="worker-1", state="rocksdb", state_dir=state_dir),
        Settings(kafka=Access(brokers=broker)),
    ):
        tables = Tables(settings, SPECS, watching)
        tables.restore(places)
        rows: dict[str, Any] = {}
        for spec in SPECS:
            for partition in range(topics.PARTITIONS):
                table = tables.table(spec.changelog, partition)
                rows |= {f"{spec.changelog}/{key}": value for key, value in table.items()}
                rows[f"latest of {spec.changelog}/{partition}"] = table.latest
        found.append(rows)
        tables.close()
    return found[0], found[1], read[0]
