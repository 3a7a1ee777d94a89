"""Kafka into Iceberg on a real broker and a real store: everything once, whatever goes wrong."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import msgspec
import polars as pl
import pytest
from confluent_kafka import TopicPartition
from pyiceberg.catalog import Catalog

from lake import tables
from lake.ahead import not_dated_ahead
from lake.landing import kafka
from lake.landing.broker import TopicUnusable, ends, reader
from lake.landing.kafka import OffsetGap, land_topic
from lake.landing.progress import OFFSET, Conflict, Landed, ProgressLost, latest
from lake.masking import Masker
from order_fraud import policies, topics, watch
from order_fraud.events import (
    Activation,
    ChargebackOpened,
    Feedback,
    FraudCleared,
    FraudConfirmed,
    NewOrder,
    decode,
    encode,
)
from order_fraud.relay import ROUTE, Unusable, receive
from order_fraud.scorecard import ListEntry
from scorecards import SCORECARD
from tests.lake.kafka_topic import Tape, order
from tests.lake.reconcile_world import full_traffic

KEY = "a masking key for tests"


@pytest.fixture
def tape(stack: dict[str, str]) -> Tape:
    return Tape(stack["COUNTERSIGN_KAFKA"])


def land(lake: Catalog, tape: Tape, run_id: str = "run", mask: Masker | None = None) -> Landed:
    return land_topic(lake, tape.topic, tape.bootstrap, mask or Masker(KEY), run_id)


def land_committed(lake: Catalog, tape: Tape, expected: int) -> int:
    """Land until as many rows have come: the broker answers a commit before its markers are in every partition."""
    came = 0
    deadline = monotonic() + 30
    while came < expected and monotonic() < deadline:
        came += land(lake, tape).rows
    return came


def rows(lake: Catalog, tape: Tape) -> list[dict[str, Any]]:
    found = lake.load_table(tables.records(tape.topic).identifier).scan().to_arrow().to_pylist()
    return sorted(found, key=lambda row: (row["partition"], row["offset"]))


def quarantined(lake: Catalog, tape: Tape) -> list[dict[str, Any]]:
    spec = tables.quarantine(tables.records(tape.topic))
    return lake.load_table(spec.identifier).scan().to_arrow().to_pylist()


def test_rows_say_what_the_records_said_and_ips_are_masked(lake: Catalog, tape: Tape) -> None:
    tape.send(encode(order(1)), key=b"1")
    assert land(lake, tape).rows == 1
    (row,) = rows(lake, tape)
    assert (row["partition"], row["offset"], row["key"], row["type"]) == (0, 0, "1", "NewOrder")
    assert (row["event_id"], row["subject"]) == ("order/1-1", "1-1")
    assert row["time"] == order(1).time
    assert row["day"] == date(2015, 1, 1)
    landed = decode(row["value"].encode())
    assert isinstance(landed, NewOrder)
    assert landed.data.ip == Masker(KEY)("10.1.2.3")
    assert "10.1.2.3" not in row["value"]
    assert encode(landed).decode() == row["value"], "the value is not canonical"


def test_record_without_a_time_stamp_is_dated_ahead_in_the_archive_as_in_the_stream(lake: Catalog, tape: Tape) -> None:
    """Kafka's word for none is -1 ms; the client gives it out as a time stamp like any other."""
    tape.send(encode(order(1)), key=b"1", timestamp=-1)
    with reader(tape.bootstrap) as consumer:
        consumer.assign([TopicPartition(tape.topic.name, 0, 0)])
        (message,) = consumer.consume(1, 30)
    kind, stamp = message.timestamp()
    assert (bool(kind), stamp) == (True, -1)
    with pytest.raises(Unusable, match="more than a day after its record"):
        receive(ROUTE[0], message.key(), message.value(), stamp)
    assert land(lake, tape).rows == 1
    assert [row["timestamp"].timestamp() for row in rows(lake, tape)] == [-0.001]
    archived = lake.load_table(tables.records(tape.topic).identifier).scan().to_arrow()
    assert not_dated_ahead(pl.DataFrame(pl.from_arrow(archived))).is_empty()


def test_key_that_is_an_ip_is_masked(lake: Catalog, stack: dict[str, str]) -> None:
    tape = Tape(stack["COUNTERSIGN_KAFKA"], like=topics.RELAY_BY_IP)
    tape.send(encode(order(1)), key=b"10.1.2.3")
    land(lake, tape)
    (row,) = rows(lake, tape)
    assert row["key"] == decode(row["value"].encode()).data.ip == Masker(KEY)("10.1.2.3")


WORLD = full_traffic()
KEYED = (
    (topics.CUSTOMER_EVENTS, "customer_id"),
    (topics.RELAY_BY_CARD, "card"),
    (topics.RELAY_BY_EMAIL_DOMAIN, "email_domain"),
    (topics.RELAY_BY_ADDRESS, "address"),
)


@pytest.mark.parametrize(("topic", "name"), KEYED, ids=[name for _, name in KEYED])
def test_words_of_fraud_land_masked_and_fingerprints_as_they_are(
    lake: Catalog, stack: dict[str, str], topic: topics.Topic, name: str
) -> None:
    """On every topic of the relay; on a topic keyed by a fingerprint, the key is one."""
    tape = Tape(stack["COUNTERSIGN_KAFKA"], like=topic)
    words = [event for event in WORLD if isinstance(event.data, Feedback) and event.data.ip]
    assert {type(event) for event in words} == {FraudConfirmed, FraudCleared, ChargebackOpened}
    for event in words:
        tape.send(encode(event), key=getattr(event.data, name).encode())
    assert land(lake, tape).rows == len(words)
    for event, row in zip(words, rows(lake, tape), strict=True):
        landed = decode(row["value"].encode())
        assert row["key"] == getattr(event.data, name)
        assert landed.data.ip == Masker(KEY)(event.data.ip)
        assert event.data.ip not in str(row)
        assert msgspec.structs.replace(landed.data, ip=event.data.ip) == event.data, "something else was changed"
        assert (row["type"], row["event_id"]) == (type(event).__name__, event.id)


def test_ips_on_the_lists_of_a_scorecard_are_masked(lake: Catalog, stack: dict[str, str]) -> None:
    tape = Tape(stack["COUNTERSIGN_KAFKA"], like=topics.FRAUD_POLICIES)
    common = {"effect": "block", "reason": "known", "owner": "ann"}
    lists = (
        ListEntry(code="a", entity="ip", value="10.1.2.3", **common),
        ListEntry(code="b", entity="card", value="card1", **common),
    )
    event = policies.publication(msgspec.structs.replace(SCORECARD, version="2", lists=lists), order(1).time)
    tape.send(encode(event), key=policies.key(event).encode())
    assert land(lake, tape).rows == 1
    (row,) = rows(lake, tape)
    assert (row["key"], row["type"], row["subject"]) == ("policy/2", "PolicyPublished", "2")
    landed = policies.receive(row["key"].encode(), row["value"].encode()).data
    assert [entry.value for entry in landed.lists] == [Masker(KEY)("10.1.2.3"), "card1"]
    assert "10.1.2.3" not in row["value"]
    assert msgspec.structs.replace(landed, lists=lists) == event.data


def test_compaction_leaves_gaps_and_the_landing_goes_on(lake: Catalog, stack: dict[str, str]) -> None:
    """The broker really compacts: activations that were replaced vanish, before and behind what has landed."""
    quick = {"segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"}
    kept = {"min.compaction.lag.ms": "3600000"}  # until all three have landed
    tape = Tape(stack["COUNTERSIGN_KAFKA"], topics.FRAUD_POLICIES, {**topics.FRAUD_POLICIES.config, **quick, **kept})

    def say(first: int, count: int) -> None:
        for number in range(first, first + count):
            chosen = Activation(active="1", owner="ann", reason=f"the {number}th")
            event = policies.activation(chosen, order(number).time)
            tape.send(encode(event), key=policies.key(event).encode())
            sleep(0.12)  # so that the next record begins a segment

    say(0, 3)
    assert land(lake, tape).rows == 3
    tape.set("min.compaction.lag.ms", "0")
    tape.set("max.compaction.lag.ms", "100")
    say(3, 3)
    deadline = monotonic() + 120
    while tape.readable(0) > 2 and monotonic() < deadline:
        sleep(1)  # the cleaner looks every 15 seconds
    assert tape.readable(0) <= 2, "the broker did not compact"
    later = land(lake, tape).rows
    assert 1 <= later <= 2
    found = rows(lake, tape)
    assert [row["offset"] for row in found][:3] == [0, 1, 2], "what has landed stays, though the broker forgot it"
    assert found[-1]["offset"] == 5
    assert json.loads(found[-1]["value"])["data"]["reason"] == "the 5th"
    assert land(lake, tape).rows == 0


def test_event_without_ip_lands_as_it_is(lake: Catalog, tape: Tape) -> None:
    tape.send(encode(order(1, ip=None)))
    land(lake, tape)
    assert rows(lake, tape)[0]["value"].encode() == encode(order(1, ip=None))


def test_landing_twice_changes_nothing(lake: Catalog, tape: Tape) -> None:
    tape.send_orders(0, 40)
    assert land(lake, tape).rows == 40
    assert land(lake, tape).rows == 0
    assert len(lake.load_table(tables.records(tape.topic).identifier).snapshots()) == 1
    assert len(rows(lake, tape)) == 40


def test_second_landing_brings_only_what_is_new(lake: Catalog, tape: Tape) -> None:
    tape.send_orders(0, 40)
    land(lake, tape)
    tape.send_orders(40, 8)
    assert land(lake, tape).rows == 8
    assert sorted(row["subject"] for row in rows(lake, tape)) == sorted(f"{number}-1" for number in range(48))


def test_landing_stops_at_the_mark_and_goes_on_from_there(lake: Catalog, tape: Tape) -> None:
    tape.send_orders(0, 40)
    marked = ends(tape.bootstrap, [tape.topic])[tape.topic.name]
    assert sum(marked.values()) == 40
    tape.send_orders(40, 8)
    first = land_topic(lake, tape.topic, tape.bootstrap, Masker(KEY), "run", until=marked)
    assert first.rows == 40
    assert sorted(row["subject"] for row in rows(lake, tape)) == sorted(f"{number}-1" for number in range(40))
    assert land(lake, tape).rows == 8
    again = land_topic(lake, tape.topic, tape.bootstrap, Masker(KEY), "run", until=marked)
    assert again.rows == 0, "an old mark takes nothing back"
    assert len(rows(lake, tape)) == 48


def test_open_transaction_is_the_end_and_lands_when_committed(lake: Catalog, tape: Tape) -> None:
    tape.send(encode(order(1)))
    with tape.transaction() as producer:
        producer.produce(tape.topic.name, value=encode(order(2)), key=b"k", partition=0)
        producer.flush(30)
        tape.send(encode(order(3)))  # behind the open transaction: not stable yet
        assert land(lake, tape).rows == 1
        producer.commit_transaction(30)
    assert land_committed(lake, tape, 2) == 2
    assert [row["subject"] for row in rows(lake, tape)] == ["1-1", "2-1", "3-1"]


def test_aborted_records_and_markers_leave_gaps_and_nothing_else(lake: Catalog, tape: Tape) -> None:
    with tape.transaction() as producer:
        producer.produce(tape.topic.name, value=encode(order(1)), key=b"k", partition=0)
        producer.flush(30)
        producer.abort_transaction(30)
        producer.begin_transaction()
        producer.produce(tape.topic.name, value=encode(order(2)), key=b"k", partition=0)
        producer.commit_transaction(30)
    assert land_committed(lake, tape, 1) == 1
    assert [(row["subject"], row["offset"]) for row in rows(lake, tape)] == [("2-1", 2)]
    assert latest(lake.load_table(tables.records(tape.topic).identifier), OFFSET)["0"] == "4"
    assert land(lake, tape).rows == 0


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"jane.doe@example.com", "JSON"),
        (None, "no value"),
        (b'{"type":"jane.doe@example.com"}', "type"),
        (encode(order(1)).replace(b'"NewOrder"', b'"DeliveryHeld"'), "cause"),
    ],
)
def test_undecodable_record_is_set_aside_without_its_content(
    lake: Catalog, tape: Tape, value: bytes | None, reason: str
) -> None:
    tape.send(encode(order(1)), value, encode(order(2)))
    landed = land(lake, tape)
    assert (landed.rows, landed.quarantined) == (2, 1)
    (row,) = quarantined(lake, tape)
    assert row["row_id"] == row["origin"] == f"{tape.topic.name}/0/1"
    assert reason in row["reason"]
    content = value or b""
    assert json.loads(row["row"]) == {"length": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert "jane.doe" not in str(row)
    assert (land(lake, tape).quarantined, len(quarantined(lake, tape))) == (0, 1)


def test_event_of_another_topic_is_set_aside(lake: Catalog, stack: dict[str, str]) -> None:
    tape = Tape(stack["COUNTERSIGN_KAFKA"], like=topics.FRAUD_VERDICTS)
    tape.send(encode(order(1)))
    assert land(lake, tape).quarantined == 1
    assert "NewOrder has no business on" in quarantined(lake, tape)[0]["reason"]


def test_alarm_of_the_delivery_service_lands_as_what_it_is(lake: Catalog, stack: dict[str, str]) -> None:
    tape = Tape(stack["COUNTERSIGN_KAFKA"], like=topics.DELIVERY_EVENTS)
    memory: dict[str, watch.Entry] = {}
    watch.came_in(memory, [(b"c", encode(order(1)), 7, 1_767_268_800_000)], now=0)
    (alarm,) = watch.look(memory, 0, now=60_001, since=0, longer_than_s=60.0).overdue
    tape.send(encode(alarm))
    landed = land(lake, tape)
    assert (landed.rows, landed.quarantined) == (1, 0)
    (row,) = rows(lake, tape)
    assert (row["type"], row["event_id"]) == ("VerdictOverdue", alarm.id)
    assert decode(row["value"].encode()) == alarm


def test_many_commits_land_what_one_would(lake: Catalog, tape: Tape, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "ROWS_PER_COMMIT", 10)
    monkeypatch.setattr(kafka, "CONSUME", 7)
    tape.send_orders(0, 60)
    assert land(lake, tape).rows == 60
    assert len(lake.load_table(tables.records(tape.topic).identifier).snapshots()) > 3
    found = rows(lake, tape)
    assert len({(row["partition"], row["offset"]) for row in found}) == len(found) == 60


class Interrupting(Masker):
    """Does something at the first value it sees: in the middle of a landing, after progress was read."""

    def __init__(self, first: Callable[[], object]) -> None:
        super().__init__(KEY)
        self._first: Callable[[], object] | None = first

    def __call__(self, value: str) -> str:
        first, self._first = self._first, None
        if first is not None:
            first()
        return super().__call__(value)


def test_two_landings_at_once_cannot_double_rows(lake: Catalog, tape: Tape) -> None:
    tape.send_orders(0, 20)
    land(lake, tape)
    tape.send_orders(20, 20)
    with pytest.raises(Conflict, match="nothing of this one landed"):
        land(lake, tape, mask=Interrupting(lambda: land(lake, tape)))
    assert land(lake, tape).rows == 0
    assert sorted(row["subject"] for row in rows(lake, tape)) == sorted(f"{number}-1" for number in range(40))


def test_two_first_landings_at_once_cannot_double_rows(lake: Catalog, tape: Tape) -> None:
    tape.send_orders(0, 20)
    with pytest.raises(Conflict):
        land(lake, tape, mask=Interrupting(lambda: land(lake, tape)))
    assert len(rows(lake, tape)) == 20


KILLED = """
import os, sys
from dataclasses import replace
from lake import tables
from lake.catalog import open_catalog
from lake.landing import kafka
from lake.masking import Masker
from order_fraud import topics

if sys.argv[2] == "after":
    kafka._append = lambda *_: os._exit(9)
class Killed(Masker):
    def __call__(self, value):
        if sys.argv[2] == "before":
            os._exit(9)
        return super().__call__(value)
topic = replace(topics.CUSTOMER_EVENTS, name=sys.argv[1])
kafka.land_topic(open_catalog(), topic, os.environ["COUNTERSIGN_KAFKA"], Killed("a masking key for tests"), "killed")
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_landing_changes_nothing(
    lake: Catalog, tape: Tape, stack: dict[str, str], catalog_uri: str, moment: str
) -> None:
    """Killed while it reads, or when the quarantine is written and the rows are not."""
    tape.send(encode(order(1)), b"garbage", encode(order(2)))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, tape.topic.name, moment],
        env={**stack, "COUNTERSIGN_CATALOG": catalog_uri, "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == 9, killed.stderr[-2000:]
    assert rows(lake, tape) == []
    landed = land(lake, tape)
    assert (landed.rows, landed.quarantined) == (2, 1 if moment == "before" else 0)
    assert len(quarantined(lake, tape)) == 1


def test_snapshots_of_others_do_not_hide_the_progress(lake: Catalog, tape: Tape) -> None:
    tape.send_orders(0, 8)
    land(lake, tape)
    table = lake.load_table(tables.records(tape.topic).identifier)
    table.delete("offset == 0 and partition == 0")
    tape.send_orders(8, 4)
    assert land(lake, tape).rows == 4
    assert len(rows(lake, tape)) == 11


def test_lost_progress_is_an_error_not_a_second_copy(lake: Catalog, tape: Tape) -> None:
    tape.send_orders(0, 8)
    land(lake, tape)
    table = lake.load_table(tables.records(tape.topic).identifier)
    landed = table.metadata.current_snapshot_id
    table.delete("offset == 0 and partition == 0")
    table.maintenance.expire_snapshots().by_id(landed).commit()
    with pytest.raises(ProgressLost, match="no snapshot in its history carries countersign"):
        land(lake, tape)


def test_records_lost_to_retention_are_an_error_that_names_them(lake: Catalog, tape: Tape) -> None:
    tape.send(*(encode(order(number)) for number in range(5)))
    land(lake, tape)
    tape.send(*(encode(order(number)) for number in range(5, 10)))
    tape.delete_before(0, 7)
    with pytest.raises(OffsetGap, match=r"partition 0: .*retention has removed the offsets 5 to 6"):
        land(lake, tape)
    assert len(rows(lake, tape)) == 5


def test_first_landing_starts_with_what_is_retained(lake: Catalog, tape: Tape) -> None:
    tape.send(*(encode(order(number)) for number in range(5)))
    tape.delete_before(0, 3)
    assert land(lake, tape).rows == 2


def test_topic_made_again_is_an_error_even_when_it_is_longer(lake: Catalog, tape: Tape) -> None:
    tape.send_orders(0, 8)
    land(lake, tape)
    tape.make_again()
    tape.send_orders(0, 40)
    with pytest.raises(OffsetGap, match="deleted and made again"):
        land(lake, tape)


def test_progress_beyond_the_end_is_an_error(lake: Catalog, tape: Tape) -> None:
    tape.send_orders(0, 8)
    land(lake, tape)
    table = lake.load_table(tables.records(tape.topic).identifier)
    table.append(table.scan().to_arrow().slice(0, 0), {f"{OFFSET}{number}": "999" for number in range(4)})
    with pytest.raises(OffsetGap, match="landed up to offset 999, but the partition ends at 2"):
        land(lake, tape)


def test_empty_topic_counts_as_landed(lake: Catalog, tape: Tape) -> None:
    assert land(lake, tape).rows == 0
    assert lake.load_table(tables.records(tape.topic).identifier).current_snapshot() is not None
    tape.send_orders(0, 4)
    assert land(lake, tape).rows == 4


def test_missing_topic_is_named_with_the_remedy(lake: Catalog, tape: Tape) -> None:
    tape.remove()
    with pytest.raises(TopicUnusable, match=rf"{tape.topic.name}.*make up"):
        land(lake, tape)


def test_catalog_and_tables_made_by_many_at_once(stack: dict[str, str], catalog_uri: str, tmp_path: Path) -> None:
    script = (
        "import sys; from lake import tables; from lake.catalog import open_catalog\n"
        "catalog = open_catalog()\n"
        "from lake.landing.flows import folder, tables_in\n"
        "specs = (*tables.TOPICS, *tables_in(folder()).values())\n"
        "specs = (*specs, *map(tables.quarantine, specs), tables.FINDINGS, tables.LABELS)\n"
        "for spec in specs: tables.ensure(catalog, spec)\n"
    )
    env = {**stack, "COUNTERSIGN_CATALOG": catalog_uri, "PATH": ""}
    started = [
        subprocess.Popen([sys.executable, "-c", script], env=env, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for process in started:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors[-2000:]
