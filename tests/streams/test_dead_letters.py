"""A record that cannot be used goes to dead-letters as it came, with its reason, whichever agent has it."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from confluent_kafka import Producer

from order_fraud import events, topics
from order_fraud.topics import Topic
from tests.streams.conftest import Workers
from tests.streams.witness import PLANTED, differences, read, send, subjects, wait_for

TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SOON = datetime.now(UTC) + timedelta(days=2)
KEY = b"poisoned"


def order(order_id: str, customer_id: str = "poisoned", time: datetime = TIME, **changes: object) -> bytes:
    data = {"order_id": order_id, "customer_id": customer_id, "amount": 100, "currency": "EUR"} | changes
    event = events.NewOrder(
        id=f"order/{order_id}", source="/test", subject=order_id, time=time, data=events.Order(**data)
    )
    return events.encode(event)


def verdict(order_id: str) -> bytes:
    data = events.Verdict(
        order_id=order_id,
        customer_id="poisoned",
        amount=100,
        currency="EUR",
        score=0,
        reasons=(),
        signals={},
        scorecard_version="0",
        outcome="clear",
    )
    event = events.NoFraudDetected(id=f"verdict/{order_id}", source="/t", subject=order_id, time=TIME, data=data)
    return events.encode(event)


class Bad(NamedTuple):
    """A record and a part of the reason for which it must be refused."""

    topic: Topic
    key: bytes | None
    value: bytes | None
    reason: str
    timestamp: int = 0


def altered(old: bytes, new: bytes) -> bytes:
    found = order("p-1").replace(old, new)
    assert found != order("p-1")
    return found


CUSTOMER, DEVICE, IP = topics.CUSTOMER_EVENTS, topics.RELAY_BY_DEVICE, topics.RELAY_BY_IP
VERDICTS, FINDINGS = topics.FRAUD_VERDICTS, topics.RECONCILIATION_FINDINGS
NESTED = b'"more":' + b"[" * 50_000 + b"]" * 50_000 + b","

BAD = {
    "no json": Bad(CUSTOMER, KEY, b"\xff\x00 not json", "malformed"),
    "no utf-8": Bad(CUSTOMER, KEY, altered(b"/test", b"/te\xffst"), "not UTF-8: invalid start byte 0xff"),
    "cut off": Bad(CUSTOMER, KEY, order("p-1")[:-1], "truncated"),
    "no type": Bad(CUSTOMER, KEY, b"{}", "type"),
    "unknown type": Bad(CUSTOMER, KEY, altered(b"NewOrder", b"NewOrdre"), "NewOrdre"),
    "type of another topic": Bad(CUSTOMER, KEY, verdict("p-1"), "NoFraudDetected has no business on customer.events"),
    "field missing": Bad(CUSTOMER, KEY, altered(b'"customer_id":"poisoned",', b""), "`customer_id` - at `$.data`"),
    "field of another type": Bad(CUSTOMER, KEY, altered(b'"amount":100', b'"amount":"100"'), "got `str`"),
    "negative amount": Bad(CUSTOMER, KEY, altered(b'"amount":100', b'"amount":-1'), "Expected `int` >= 0"),
    "huge amount": Bad(CUSTOMER, KEY, altered(b'"amount":100', b'"amount":1000000000001'), "<= 1000000000000"),
    "amount of 400 digits": Bad(CUSTOMER, KEY, altered(b":100", b":" + b"9" * 400), "Expected `int` <= 1000000000000"),
    "broken amount": Bad(CUSTOMER, KEY, altered(b'"amount":100', b'"amount":0.1'), "got `float`"),
    "NaN": Bad(CUSTOMER, KEY, altered(b'"amount":100', b'"amount":NaN'), "malformed"),
    "Infinity": Bad(CUSTOMER, KEY, altered(b'"amount":100', b'"amount":Infinity'), "malformed"),
    "currency": Bad(CUSTOMER, KEY, altered(b'"EUR"', b'"euro"'), "$.data.currency"),
    "time in 1970": Bad(CUSTOMER, KEY, altered(b"2026", b"1970"), "not between the years 2000 and 2099"),
    "time in 2100": Bad(CUSTOMER, KEY, altered(b"2026", b"2100"), "not between the years 2000 and 2099"),
    "time without a zone": Bad(CUSTOMER, KEY, altered(b"05Z", b"05"), "timezone"),
    "time in another zone": Bad(CUSTOMER, KEY, altered(b"05Z", b"05+01:00"), "not in UTC"),
    "time to come": Bad(CUSTOMER, KEY, order("p-1", time=SOON), "more than a day after its record"),
    "record of the year 1": Bad(CUSTOMER, KEY, order("p-1"), "more than a day after its record", -62_135_596_800_000),
    "record before all years": Bad(CUSTOMER, KEY, order("p-1"), "more than a day after its record", -(10**17)),
    "empty id": Bad(
        CUSTOMER, KEY, altered(b'"order_id":"p-1"', b'"order_id":""'), "length >= 1 - at `$.data.order_id`"
    ),
    "long id": Bad(CUSTOMER, KEY, altered(b"p-1", b"p" * 201), "$.data.order_id"),
    "a megabyte": Bad(CUSTOMER, KEY, altered(b"/test", b"/" * 1_000_000), "bytes, more than 262144"),
    "nested deep": Bad(CUSTOMER, KEY, altered(b"{", b"{" + NESTED), "opens 100002 objects and arrays"),
    "surrogate": Bad(CUSTOMER, KEY, altered(b"/test", b"\\udfff"), "surrogate"),
    "two names": Bad(CUSTOMER, KEY, altered(b'"subject":"p-1"', b'"subject":"p-0"'), "$.subject"),
    "wrong id": Bad(CUSTOMER, KEY, altered(b'"id":"order/p-1"', b'"id":"order/p-0"'), "$.id"),
    "wrong key": Bad(CUSTOMER, b"other", order("p-1"), "has key 'other' instead of its customer_id"),
    "empty key": Bad(CUSTOMER, b"", order("p-1"), "has key '' instead of its customer_id"),
    "no key": Bad(CUSTOMER, None, order("p-1"), "has no key instead of its customer_id"),
    "key that is no text": Bad(CUSTOMER, b"\xff\xfe", order("p-1"), "instead of its customer_id"),
    "long key": Bad(CUSTOMER, b"k" * 500_000, order("p-1"), "has key 'kkkkk"),
    "no value": Bad(CUSTOMER, KEY, None, "no value"),
    "empty value": Bad(CUSTOMER, KEY, b"", "no value"),
    "device: no json": Bad(DEVICE, b"d", b"{", "truncated"),
    "device: has none": Bad(DEVICE, b"d", order("p-1"), "has no device"),
    "device: wrong key": Bad(DEVICE, b"e", order("p-1", device_id="d"), "has key 'e' instead of its device_id"),
    "device: no key": Bad(DEVICE, None, order("p-1", device_id="d"), "has no key instead of its device_id"),
    "device: no value": Bad(DEVICE, b"d", None, "no value"),
    "device: to come": Bad(DEVICE, b"d", order("p-1", time=SOON, device_id="d"), "more than a day after its record"),
    "ip: no json": Bad(IP, b"i", b"[]", "Expected `object`"),
    "ip: has none": Bad(IP, b"i", order("p-1"), "has no ip"),
    "ip: wrong key": Bad(IP, b"\xff", order("p-1", ip="i"), "instead of its ip"),
    "ip: a verdict": Bad(IP, b"i", verdict("p-1"), "NoFraudDetected has no business on relay.by-ip"),
    "verdicts: no json": Bad(VERDICTS, KEY, b"\x00", "malformed"),
    "verdicts: an order": Bad(VERDICTS, KEY, order("p-1"), "NewOrder has no business on fraud.verdicts"),
    "verdicts: no value": Bad(VERDICTS, None, None, "no value"),
    "verdicts: a megabyte": Bad(VERDICTS, KEY, b" " * 1_000_000, "bytes, more than 262144"),
    "corrections: no json": Bad(FINDINGS, KEY, b"\xff", "malformed"),
    "corrections: an order": Bad(FINDINGS, KEY, order("p-1"), "NewOrder has no business on reconciliation.findings"),
    "corrections: no value": Bad(FINDINGS, b"\xff", None, "no value"),
}
SERVICES = [(CUSTOMER, "fraud"), (DEVICE, "fraud"), (IP, "fraud"), (VERDICTS, "delivery"), (FINDINGS, "delivery")]


def plant(bootstrap: str, bad: dict[str, Bad]) -> None:
    """Send bad records, each with its name in a header, so that no test takes them for what the streams wrote."""
    settings = {"partitioner": "murmur2_random", "message.max.bytes": 10**9, "compression.type": "zstd"}
    producer = Producer(settings | {"bootstrap.servers": bootstrap})
    for name, one in bad.items():
        headers = [(PLANTED, name.encode())]
        producer.produce(one.topic.name, one.value, one.key, headers=headers, timestamp=one.timestamp)
    assert producer.flush(30) == 0


def planted(bootstrap: str, topic: Topic) -> dict[str, tuple[str, str, str]]:
    """Return where the bad records of a topic stand, by their names."""
    found = {}
    for message in read(bootstrap, topic, planted=True):
        name = dict(message.headers() or ()).get(PLANTED)
        if name is not None:
            found[name.decode()] = (topic.name, str(message.partition()), str(message.offset()))
    return found


def test_every_kind_of_bad_record_is_set_aside_at_every_agent(bootstrap: str, workers: Workers) -> None:
    send(bootstrap, [(KEY, order("good-1"))])
    plant(bootstrap, BAD)
    send(bootstrap, [(KEY, order("good-1")), (KEY, b'{"id": "order/other",' + order("good-2")[1:])])
    workers.start(1)
    wait_for(lambda: {"good-1", "good-2"} <= subjects(bootstrap, topics.DELIVERY_EVENTS, "good-").keys())
    places = {name: place for topic, _ in SERVICES for name, place in planted(bootstrap, topic).items()}
    assert places.keys() == BAD.keys()

    def letters() -> dict[tuple[str, str, str], list[tuple[dict[str, str], bytes | None, bytes | None]]]:
        found: dict[tuple[str, str, str], list[tuple[dict[str, str], bytes | None, bytes | None]]] = {}
        for message in read(bootstrap, topics.DEAD_LETTERS):
            said = {name: text.decode() for name, text in message.headers() or ()}
            place = (said.get("topic", ""), said.get("partition", ""), said.get("offset", ""))
            found.setdefault(place, []).append((said, message.key(), message.value()))
        return found

    wait_for(lambda: set(places.values()) <= letters().keys())
    found = letters()
    reasons = {name: found[places[name]][0][0]["reason"] for name in BAD}
    assert {name: why for name, why in reasons.items() if BAD[name].reason not in why} == {}
    for name, bad in BAD.items():
        ((said, key, value),) = found[places[name]]
        assert (bad.topic, said["service"]) in SERVICES, name
        assert (key, value) == (bad.key, bad.value), name
    repeats = [said["reason"] for ((said, _, value), *_) in found.values() if value == order("good-1")]
    assert repeats == ["order/good-1 is a repeat: this customer's history has that order already"]
    assert subjects(bootstrap, topics.FRAUD_VERDICTS, "good-") == Counter({"good-1": 1, "good-2": 1})
    assert not subjects(bootstrap, topics.FRAUD_VERDICTS, "p-")
    assert differences(bootstrap) == []


def test_a_record_that_no_topic_takes_is_named_and_stops_nothing(bootstrap: str, workers: Workers) -> None:
    """A few kilobytes on the wire that open to more than the broker takes back."""
    sizes = {"bomb of 3 MB": 3_000_000, "bomb of 30 MB": 30_000_000}
    bombs = {name: Bad(CUSTOMER, KEY, b" " * size, f"the record has {size} bytes") for name, size in sizes.items()}
    plant(bootstrap, bombs)
    send(bootstrap, [(KEY, order("after-bombs"))])
    workers.start(1)
    wait_for(lambda: bool(subjects(bootstrap, topics.DELIVERY_EVENTS, "after-bombs")))
    places = planted(bootstrap, CUSTOMER)
    letters = [(m, {n: v.decode() for n, v in m.headers() or ()}) for m in read(bootstrap, topics.DEAD_LETTERS)]
    for name, bad in bombs.items():
        ((message, said),) = [
            one for one in letters if (one[1]["topic"], one[1]["partition"], one[1]["offset"]) == places[name]
        ]
        assert bad.reason in said["reason"]
        assert said["left-out"].startswith(f"value of {sizes[name]} bytes, sha256 ")
        assert (message.key(), message.value()) == (KEY, None)


def test_a_worker_killed_over_bad_records_sets_each_aside_once(bootstrap: str, workers: Workers) -> None:
    """Letters leave in the transaction that moves on past their records: none is lost, none is written twice."""
    count = 3_000
    bad = {f"killed {number}": Bad(CUSTOMER, b"k%d" % number, b"killed %d" % number, "") for number in range(count)}
    plant(bootstrap, bad)
    workers.start(1, wait=False)
    wait_for(lambda: any((m.value() or b"").startswith(b"killed ") for m in read(bootstrap, topics.DEAD_LETTERS)))
    workers.kill(1)
    more = {
        f"again {number}": Bad(CUSTOMER, b"k%d" % number, b"killed again %d" % number, "") for number in range(count)
    }
    plant(bootstrap, more)
    workers.start(1)
    wanted = {one.value for one in (bad | more).values()}

    def found() -> Counter[bytes | None]:
        return Counter(m.value() for m in read(bootstrap, topics.DEAD_LETTERS) if m.value() in wanted)

    wait_for(lambda: found().keys() == wanted)
    assert set(found().values()) == {1}


def test_a_correction_and_a_settlement_recall_the_parcel(bootstrap: str, workers: Workers) -> None:
    correction = events.CorrectionRequested(
        id="correction/released-without-clearance/recalled-1",
        source="/reconcile",
        subject="recalled-1",
        time=TIME,
        data=events.Correction(
            finding_id="finding/released-without-clearance/recalled-1",
            kind="released-without-clearance",
            order_id="recalled-1",
            customer_id="recalled",
            remedy="cancel-delivery",
        ),
    )
    stop = events.Stop(order_id="recalled-2", customer_id="recalled", cause="a person confirmed the fraud")
    common = {"source": "/settle", "subject": "recalled-2", "time": TIME, "data": stop}
    asked = events.DeliveryStopRequested(id="settle/recalled-2/stop-delivery", **common)
    withdrawn = events.DeliveryStopWithdrawn(id="settle/recalled-2/stop-delivery/undo", **common)
    sent = [(event.subject.encode(), events.encode(event)) for event in (correction, asked, withdrawn)]
    send(bootstrap, sent, topics.RECONCILIATION_FINDINGS)
    workers.start(1)
    wait_for(lambda: subjects(bootstrap, topics.DELIVERY_EVENTS, "recalled-").total() == 3)
    found = [
        (type(event), event.subject, event.data.cause)
        for message in read(bootstrap, topics.DELIVERY_EVENTS)
        if (event := events.decode(message.value())).subject.startswith("recalled-")
    ]
    assert [told for told in found if told[1] == "recalled-1"] == [
        (events.DeliveryCancelled, "recalled-1", correction.id)
    ]
    assert [told for told in found if told[1] == "recalled-2"] == [
        (events.DeliveryCancelled, "recalled-2", asked.id),
        (events.DeliveryHeld, "recalled-2", withdrawn.id),
    ]
