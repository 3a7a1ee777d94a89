"""Producers against a real broker: what they report is what the broker has.

Uses the broker of ``COUNTERSIGN_TEST_KAFKA`` where that is set (its topics are created if they are missing), else
starts one of its own.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiokafka.partitioner import murmur2
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from order_fraud import events, relay
from order_fraud.events import Customer, DeliveryReleased, NewCustomer, NewOrder, NoFraudDetected
from order_fraud.topics import CUSTOMER_EVENTS, DELIVERY_EVENTS, FRAUD_POLICIES, FRAUD_VERDICTS, TOPICS, Topic
from producers import book, feedback, forge, forge_policy, generate, labels, orders_csv, patterns, repeat, shop
from producers.outbox import BrokerUnusable, Outbox
from stack import Ports, Stack

READ_SECONDS = 20.0
_NOT_YET = {"NOT_LEADER_FOR_PARTITION", "LEADER_NOT_AVAILABLE", "UNKNOWN_TOPIC_OR_PART"}
HEADER = ",".join(orders_csv.COLUMNS)


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    given = os.environ.get("COUNTERSIGN_TEST_KAFKA")
    if given:
        _create_topics(given)
        yield given
        return
    with Stack(tmp_path_factory.mktemp("stack"), ports=Ports.free(), parts=("kafka", "topics")) as running:
        yield running.env["COUNTERSIGN_KAFKA"]


def _create_topics(bootstrap: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    known = admin.list_topics(timeout=10).topics
    missing = [topic for topic in TOPICS if topic.name not in known]
    if missing:
        wanted = [NewTopic(topic.name, topic.partitions, 1, config=topic.config) for topic in missing]
        for created in admin.create_topics(wanted).values():
            created.result()


type NewRecords = Callable[[], list[Message]]


@pytest.fixture
def reading(bootstrap: str) -> Iterator[Callable[[Topic], NewRecords]]:
    """Gives for a topic a function that returns all that was written to it since."""
    consumers: list[Consumer] = []

    def since_now(topic: Topic) -> NewRecords:
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test", "enable.auto.commit": False})
        consumers.append(consumer)
        places = [TopicPartition(topic.name, number) for number in range(topic.partitions)]

        def ends() -> list[int]:
            return [_end(consumer, place) for place in places]

        starts = ends()

        def new() -> list[Message]:
            expected = sum(ends()) - sum(starts)
            consumer.assign(
                [TopicPartition(topic.name, place.partition, at) for place, at in zip(places, starts, strict=True)]
            )
            found: list[Message] = []
            while len(found) < expected:
                some = consumer.consume(expected - len(found), timeout=READ_SECONDS)
                assert some, f"{len(found)} of {expected} records within {READ_SECONDS} s"
                found += some
            assert all(record.error() is None for record in found)
            return found

        return new

    yield since_now
    for consumer in consumers:
        consumer.close()


def _end(consumer: Consumer, place: TopicPartition) -> int:
    """The partition's end; a topic that is just made has no leader for a moment."""
    until = time.monotonic() + READ_SECONDS
    while True:
        try:
            return int(consumer.get_watermark_offsets(place, timeout=10)[1])
        except KafkaException as error:
            if error.args[0].name() not in _NOT_YET or time.monotonic() > until:
                raise
            time.sleep(0.1)


def values(records: list[Message]) -> set[bytes]:
    return {record.value() for record in records}


def test_the_broker_has_every_event_under_its_key_in_order_of_time(
    bootstrap: str, reading: Callable[[Topic], NewRecords], tmp_path: Path
) -> None:
    new = reading(CUSTOMER_EVENTS)
    summary = tmp_path / "summary.json"
    arguments = ["--generate", "2000", "--seed", "9", "--bootstrap", bootstrap, "--summary", str(summary)]
    assert shop.main(arguments) == shop.ALL_WELL
    records = new()
    expected = patterns.generate(2000, 9)
    assert sorted(values(records)) == sorted(events.encode(event) for _, event in book.events(expected))
    told = json.loads(summary.read_text())
    assert told.pop("seconds") > 0
    assert told == {"customers": len(expected.signups), "orders": 2000, "rejected_rows": 0, "withheld": 0}
    for partition in range(CUSTOMER_EVENTS.partitions):
        mine = [record for record in records if record.partition() == partition]
        times = [events.decode(record.value()).time for record in mine]
        assert times == sorted(times)
        assert mine
        for record in mine:
            assert record.key() == events.decode(record.value()).data.customer_id.encode()
            # Java's rule, by another implementation than the producer's: the sign bit goes, then the remainder.
            assert (murmur2(record.key()) & 0x7FFFFFFF) % CUSTOMER_EVENTS.partitions == partition


def test_bad_rows_and_withheld_orders_are_not_sent_and_the_exit_code_says_so(
    bootstrap: str, reading: Callable[[Topic], NewRecords], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = reading(CUSTOMER_EVENTS)
    orders, withhold, summary = tmp_path / "orders.csv", tmp_path / "withhold.txt", tmp_path / "summary.json"
    good = "{},2015-02-24 22:55:49,2015-04-18 02:47:11,34,DEVICE,SEO,Chrome,M,39,,0"
    lines = [HEADER, good.format(1), good.format(2).replace(",34,", ",abc,"), good.format(3), good.format("x")]
    orders.write_text("\n".join(lines))
    withhold.write_text("3-1\n\n4711-1\n")
    arguments = ["--orders", str(orders), "--withhold", str(withhold), "--bootstrap", bootstrap]
    assert shop.main([*arguments, "--summary", str(summary)]) == shop.ROWS_REJECTED
    sent = [events.decode(record.value()) for record in new()]
    assert {event.id for event in sent} == {"customer/1", "order/1-1", "customer/3"}
    assert {type(event) for event in sent} == {NewCustomer, NewOrder}
    told = json.loads(summary.read_text())
    assert (told["customers"], told["orders"], told["rejected_rows"], told["withheld"]) == (2, 1, 2, 1)
    shown = capsys.readouterr().err
    assert "rejected line 3: purchase_value 'abc' is not a number" in shown
    assert "rejected line 5: user_id 'x' is not a whole number" in shown
    assert "1 ids of" in shown


def test_a_stored_generated_set_is_sent_as_the_generated_one(
    bootstrap: str, reading: Callable[[Topic], NewRecords], tmp_path: Path
) -> None:
    stored = tmp_path / "orders.csv"
    assert generate.main(["300", "--seed", "2", "--write-csv", str(stored)]) == 0
    from_file, invented = reading(CUSTOMER_EVENTS), reading(CUSTOMER_EVENTS)
    assert shop.main(["--orders", str(stored), "--bootstrap", bootstrap]) == 0
    first = values(from_file())
    assert shop.main(["--generate", "300", "--seed", "2", "--bootstrap", bootstrap]) == 0
    assert values(invented()) == first


def test_the_country_of_each_ip_goes_with_the_order_and_wrong_lines_of_the_table_are_told(
    bootstrap: str, reading: Callable[[Topic], NewRecords], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = reading(CUSTOMER_EVENTS)
    orders, table = tmp_path / "orders.csv", tmp_path / "countries.csv"
    row = "{},2015-02-24 22:55:49,2015-04-18 02:47:11,34,DEVICE,SEO,Chrome,M,39,{},0"
    orders.write_text("\n".join([HEADER, row.format(1, "1.0.0.7"), row.format(2, "9.9.9.9"), row.format(3, "")]))
    table.write_text(
        "lower_bound_ip_address,upper_bound_ip_address,country\n16777216,16777471,Australia\n1.02E+09,1024032767,X\n"
    )
    arguments = ["--orders", str(orders), "--countries", str(table), "--bootstrap", bootstrap]
    assert shop.main(arguments) == shop.ALL_WELL
    sent = [events.decode(record.value()) for record in new()]
    found = {event.data.order_id: event.data.ip_country for event in sent if isinstance(event, NewOrder)}
    assert found == {"1-1": "Australia", "2-1": None, "3-1": None}
    assert "countries.csv: left out: line 3: lower_bound_ip_address '1.02E+09'" in capsys.readouterr().err
    assert shop.main([*arguments[:2], "--countries", str(orders), "--bootstrap", bootstrap]) == shop.BAD_INPUT
    assert "line 1: the header lacks lower_bound_ip_address" in capsys.readouterr().err


def test_feedback_follows_the_class_column_and_names_every_entity_of_its_order(
    bootstrap: str, reading: Callable[[Topic], NewRecords], tmp_path: Path
) -> None:
    new = reading(CUSTOMER_EVENTS)
    stored, summary = tmp_path / "orders.csv", tmp_path / "summary.json"
    assert generate.main(["600", "--seed", "4", "--write-csv", str(stored)]) == 0
    arguments = ["--orders", str(stored), "--delay-days", "10", "--bootstrap", bootstrap, "--summary", str(summary)]
    assert feedback.main(arguments) == feedback.ALL_WELL
    records = new()
    expected = list(labels.charged_back(patterns.generate(600, 4), timedelta(days=10)))
    assert len(expected) > 30
    assert sorted(values(records)) == sorted(map(events.encode, expected))
    assert {record.key() for record in records} == {event.data.customer_id.encode() for event in expected}
    told = json.loads(summary.read_text())
    assert told.pop("seconds") >= 0
    counts = {"confirmed": 0, "cleared": 0, "charged_back": len(expected), "not_yet": 0, "rejected_lines": 0}
    assert told == counts


def test_feedback_of_a_file_and_of_single_orders_up_to_a_day(
    bootstrap: str, reading: Callable[[Topic], NewRecords], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = reading(CUSTOMER_EVENTS)
    first, second, third = (sale.order_id for sale in patterns.generate(600, 4).sales[:3])
    reviewed = tmp_path / "reviewed.csv"
    reviewed.write_text(f"{first},cleared,2015-12-01T10:00Z\n{second},confirmed,2016-01-01T10:00Z\n4711-1,cleared\n")
    arguments = ["--generate", "600", "--seed", "4", "--labels", str(reviewed), "--charge-back", third]
    arguments += ["--at", "2015-12-02T10:00Z", "--until", "2015-12-31T00:00Z", "--by", "anna"]
    assert feedback.main([*arguments, "--bootstrap", bootstrap]) == feedback.ROWS_REJECTED
    sent = [events.decode(record.value()) for record in new()]
    assert {event.id for event in sent} == {f"fraud-cleared/{first}", f"chargeback/{third}"}
    shown = capsys.readouterr().err
    assert "rejected line 3: order '4711-1' is not among these orders" in shown
    assert "left out, since they come after 2015-12-31T00:00:00+00:00: 1" in shown
    assert "0 confirmed, 1 cleared, 1 charged back" in shown
    assert feedback.main([*arguments, "--bootstrap", "127.0.0.1:9"]) == feedback.NO_BROKER
    assert "make up" in capsys.readouterr().err


def test_a_rate_is_kept(bootstrap: str, tmp_path: Path) -> None:
    summary = tmp_path / "summary.json"
    arguments = ["--generate", "100", "--rate", "200", "--bootstrap", bootstrap, "--summary", str(summary)]
    assert shop.main(arguments) == 0
    told = json.loads(summary.read_text())
    records = told["customers"] + told["orders"]
    assert told["seconds"] >= (records - 1) / 200
    assert told["seconds"] < (records - 1) / 200 + 5


def test_an_interrupt_reports_what_was_sent_by_then(
    bootstrap: str, reading: Callable[[Topic], NewRecords], tmp_path: Path
) -> None:
    new = reading(CUSTOMER_EVENTS)
    summary, root = tmp_path / "summary.json", Path(__file__).resolve().parents[2]
    arguments = ["--generate", "5000", "--rate", "200", "--bootstrap", bootstrap, "--summary", str(summary)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "plugins")])}
    process = subprocess.Popen([sys.executable, "-m", "producers.shop", *arguments], env=environment)
    try:
        until = time.monotonic() + READ_SECONDS
        while not new():
            assert time.monotonic() < until
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=READ_SECONDS) == shop.INTERRUPTED
    finally:
        process.kill()
    told = json.loads(summary.read_text())
    assert 0 < told["customers"] + told["orders"] == len(new()) < 5_000


def test_no_broker_is_named_with_its_address_and_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert shop.main(["--generate", "5", "--bootstrap", "127.0.0.1:9"]) == shop.NO_BROKER
    shown = capsys.readouterr().err
    assert "no Kafka broker answers at 127.0.0.1:9" in shown
    assert "make up" in shown


def test_an_unreadable_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shop.main(["--orders", str(tmp_path / "none.csv")]) == shop.BAD_INPUT
    assert "none.csv: No such file" in capsys.readouterr().err


def test_files_that_cannot_be_used_are_named_before_anything_is_sent(
    bootstrap: str, reading: Callable[[Topic], NewRecords], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = reading(CUSTOMER_EVENTS)
    (tmp_path / "binary").write_bytes(b"\xff")
    for option, file in (
        ("--summary", "no/dir"),
        ("--truth", "no/dir"),
        ("--withhold", "none"),
        ("--withhold", "binary"),
    ):
        arguments = ["--generate", "5", "--bootstrap", bootstrap, option, str(tmp_path / file)]
        assert shop.main(arguments) == shop.BAD_INPUT
        assert "error: " in capsys.readouterr().err
    assert new() == []


def test_a_topic_that_is_not_as_declared_is_named(bootstrap: str) -> None:
    with pytest.raises(BrokerUnusable, match="has no topic no-such-topic"):
        Outbox(replace(CUSTOMER_EVENTS, name="no-such-topic"), bootstrap, "test")
    with pytest.raises(BrokerUnusable, match=r"customer\.events .* has 4 partitions, declared are 5"):
        Outbox(replace(CUSTOMER_EVENTS, partitions=5), bootstrap, "test")


def test_what_the_broker_does_not_take_counts_as_failed(bootstrap: str, reading: Callable[[Topic], NewRecords]) -> None:
    new = reading(CUSTOMER_EVENTS)
    outbox = Outbox(CUSTOMER_EVENTS, bootstrap, "test")
    for number, channel in enumerate(("short", "x" * 2_000_000, "short")):
        event = NewCustomer(
            id=f"customer/{number}",
            source="/shop",
            subject=str(number),
            time=datetime(2015, 1, 1, tzinfo=UTC),
            data=Customer(customer_id=str(number), channel=channel),
        )
        outbox.send(str(number), event)
    outbox.close()
    assert (outbox.sent, outbox.acknowledged.total(), outbox.failed) == (3, 2, 1)
    assert {events.decode(record.value()).id for record in new()} == {"customer/0", "customer/2"}


def test_forged_releases_look_like_the_delivery_services_own(
    bootstrap: str, reading: Callable[[Topic], NewRecords], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = reading(DELIVERY_EVENTS)
    orders = tmp_path / "orders.txt"
    orders.write_text("order_id,customer_id,time\n7-1,7,2015-03-01T10:00:00Z\n\n8-2,8\n9-1\n")
    arguments = ["--orders-file", str(orders), "--bootstrap", bootstrap]
    assert forge.main([*arguments, "--time", "2015-04-01T00:00:00Z"]) == forge.ROWS_REJECTED
    assert "rejected line 5: the line has 1 columns" in capsys.readouterr().err
    found = {record.key(): events.decode(record.value()) for record in new()}
    assert found == {
        b"7": forge.forged("7-1", "7", datetime(2015, 3, 1, 10, tzinfo=UTC)),
        b"8": forge.forged("8-2", "8", datetime(2015, 4, 1, tzinfo=UTC)),
    }
    first = found[b"7"]
    assert isinstance(first, DeliveryReleased)
    assert (first.id, first.source, first.data.cause) == ("delivery/7-1/released", "/warehouse-handheld", "forged")


def test_forged_holds_bear_the_time_that_they_are_stamped_with(
    bootstrap: str, reading: Callable[[Topic], NewRecords], tmp_path: Path
) -> None:
    new = reading(DELIVERY_EVENTS)
    orders = tmp_path / "orders.txt"
    orders.write_text("7-1,7,2015-03-01T10:00:00Z\n")
    long_ago = datetime.now(UTC).replace(microsecond=0) - timedelta(days=10)
    arguments = ["--orders-file", str(orders), "--what", "held", "--stamped", long_ago.isoformat()]
    assert forge.main([*arguments, "--bootstrap", bootstrap]) == forge.ALL_WELL
    (record,) = new()
    assert events.decode(record.value()) == forge.forged("7-1", "7", datetime(2015, 3, 1, 10, tzinfo=UTC), "held")
    assert record.timestamp()[1] == long_ago.timestamp() * 1000


def test_withheld_sign_ups_can_come_later_and_alone(
    bootstrap: str, reading: Callable[[Topic], NewRecords], tmp_path: Path
) -> None:
    late = tmp_path / "late.txt"
    signups = patterns.generate(60, 5).signups
    late.write_text(f"{signups[3].user_id}\n{signups[8].user_id}\nnobody\n")
    command = ["--generate", "60", "--seed", "5", "--bootstrap", bootstrap]
    new = reading(CUSTOMER_EVENTS)
    assert shop.main([*command, "--withhold-sign-ups", str(late)]) == shop.ALL_WELL
    ids = {events.decode(record.value()).id for record in new()}
    expected = {f"customer/{signups[3].user_id}", f"customer/{signups[8].user_id}"}
    assert len(ids) == 60 + len(signups) - 2
    assert not ids & expected
    new = reading(CUSTOMER_EVENTS)
    assert shop.main([*command, "--only-sign-ups", str(late)]) == shop.ALL_WELL
    assert {events.decode(record.value()).id for record in new()} == expected


def test_a_forged_clearance_is_a_whole_verdict_and_can_be_sent_again(
    bootstrap: str, reading: Callable[[Topic], NewRecords], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, subjects = tmp_path / "orders.csv", tmp_path / "ids.txt"
    path.write_text("order_id,customer_id,time\n881-1,nobody,2015-03-01 10:00\n882-1,nobody,2015-03-01 10:00\n")
    new, then = reading(FRAUD_VERDICTS), datetime(2026, 2, 3, 4, 5, tzinfo=UTC)
    arguments = ["--what", "cleared", "--stamped", then.isoformat(), "--bootstrap", bootstrap]
    assert forge.main(["--orders-file", str(path), *arguments]) == forge.ALL_WELL
    assert "forged 2 clearances to fraud.verdicts" in capsys.readouterr().out
    subjects.write_text("882-1\n")
    again = ["--topic", "fraud.verdicts", "--subjects", str(subjects), "--bootstrap", bootstrap]
    assert repeat.main([*again, "--type", "PossibleFraud"]) == repeat.SOME_MISSING
    assert "no PossibleFraud of 882-1 is on fraud.verdicts" in capsys.readouterr().err
    assert repeat.main([*again, "--type", "NoFraudDetected"]) == repeat.ALL_WELL
    records = new()
    assert {record.key() for record in records} == {b"nobody"}
    assert {record.timestamp()[1] for record in records} == {round(then.timestamp() * 1000)}
    told = [events.decode(record.value()) for record in records]
    assert sorted(event.id for event in told) == ["verdict/881-1", "verdict/882-1", "verdict/882-1"]
    assert all(isinstance(event, NoFraudDetected) and event.data.outcome == "clear" for event in told)
    assert len(values(records)) == 2


def test_a_misdirected_order_is_under_its_own_id_and_refused_for_it(
    bootstrap: str, reading: Callable[[Topic], NewRecords], tmp_path: Path
) -> None:
    path, ids = tmp_path / "orders.csv", tmp_path / "ids.txt"
    assert generate.main(["40", "--seed", "5", "--write-csv", str(path)]) == 0
    straight = reading(CUSTOMER_EVENTS)
    assert shop.main(["--orders", str(path), "--bootstrap", bootstrap]) == shop.ALL_WELL
    keys = {record.value(): record.key() for record in straight()}
    orders = [event for event in map(events.decode, keys) if isinstance(event, NewOrder)]
    chosen = {event.subject for event in orders[::7]}
    ids.write_text("\n".join(chosen))
    astray = reading(CUSTOMER_EVENTS)
    arguments = ["--orders", str(path), "--bootstrap", bootstrap, "--misdirect", str(ids)]
    assert shop.main(arguments) == shop.ALL_WELL
    records = astray()
    assert values(records) == keys.keys()
    misdirected = {record.key(): record.value() for record in records if record.key() != keys[record.value()]}
    assert misdirected.keys() == {subject.encode() for subject in chosen}
    for key, value in misdirected.items():
        with pytest.raises(relay.Unusable, match="instead of its customer_id"):
            relay.receive(relay.ROUTE[0], key, value)


def test_forged_policy_is_activated_as_of_then(bootstrap: str, reading: Callable[[Topic], NewRecords]) -> None:
    new = reading(FRAUD_POLICIES)
    then = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=3)
    assert forge_policy.main(["--stamped", then.isoformat(), "--bootstrap", bootstrap]) == forge_policy.ALL_WELL
    records = new()
    assert [type(events.decode(record.value())).__name__ for record in records] == [
        "PolicyPublished",
        "PolicyActivated",
    ]
    assert {record.timestamp()[1] for record in records} == {then.timestamp() * 1000}
