"""A record that cannot be used goes to dead-letters as it came, with its reason, and stops nothing."""

from datetime import UTC, datetime

from order_fraud import events, topics
from tests.streams.conftest import Workers
from tests.streams.witness import differences, read, send, subjects, wait_for

TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def order(order_id: str, customer_id: str = "poisoned", **changes: object) -> bytes:
    data = {"order_id": order_id, "customer_id": customer_id, "amount": 100, "currency": "EUR"} | changes
    event = events.NewOrder(
        id=f"order/{order_id}", source="/test", subject=order_id, time=TIME, data=events.Order(**data)
    )
    return events.encode(event)


def test_poison_is_set_aside_with_its_reason(bootstrap: str, workers: Workers) -> None:
    key = b"poisoned"
    poison = {
        b"\xff\x00 not json": "malformed",
        b"{}": "type",
        order("p-1").replace(b"NewOrder", b"NewOrdre"): "NewOrdre",
        order("p-2").replace(b'"amount":100', b'"amount":-1'): "$.data.amount",
        order("p-3").replace(b"2026", b"1970"): "$.time",
        order("p-4").replace(b'"EUR"', b'"euro"'): "$.data.currency",
        order("p-5", customer_id="somebody-else"): "customer_id",
        order("p-6") + b" " * events.MAX_BYTES: "bytes",
        order("p-7").replace(b'"customer_id":"poisoned",', b""): "customer_id",
        order("p-9").replace(b'"subject":"p-9"', b'"subject":"p-1"'): "$.subject",
        order("p-10").replace(b'"id":"order/p-10"', b'"id":"order/good-1"'): "$.id",
    }
    good = order("good-1")
    send(bootstrap, [(key, good), *((key, value) for value in poison), (None, order("p-8")), (key, good)])
    send(bootstrap, [(key, order("good-2"))])
    workers.start(1)
    wait_for(lambda: {"good-1", "good-2"} <= subjects(bootstrap, topics.DELIVERY_EVENTS, "good-").keys())

    letters = {m.value(): m for m in read(bootstrap, topics.DEAD_LETTERS)}
    for value, reason in {**poison, order("p-8"): "no key", good: "repeat"}.items():
        headers = {name: text.decode() for name, text in letters[value].headers()}
        assert reason in headers["reason"], (value, headers)
        assert headers["topic"] == topics.CUSTOMER_EVENTS.name
        assert headers["service"] == "countersign"
        origin = [
            m
            for m in read(bootstrap, topics.CUSTOMER_EVENTS)
            if (str(m.partition()), str(m.offset())) == (headers["partition"], headers["offset"])
        ]
        assert [m.value() for m in origin] == [value]
        assert letters[value].key() == origin[0].key()
    assert set(subjects(bootstrap, topics.FRAUD_VERDICTS, "good-").values()) == {1}
    assert not subjects(bootstrap, topics.FRAUD_VERDICTS, "p-")
    assert differences(bootstrap) == []


def test_a_correction_recalls_the_parcel(bootstrap: str, workers: Workers) -> None:
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
    send(bootstrap, [(b"recalled-1", events.encode(correction))], topics.RECONCILIATION_FINDINGS)
    workers.start(1)
    wait_for(lambda: bool(subjects(bootstrap, topics.DELIVERY_EVENTS, "recalled-")))
    (event,) = [
        event
        for message in read(bootstrap, topics.DELIVERY_EVENTS)
        if (event := events.decode(message.value())).subject == "recalled-1"
    ]
    assert isinstance(event, events.DeliveryCancelled)
    assert event.data.cause == correction.id
