"""Every order gets one verdict and one delivery outcome, whatever happens to the workers."""

import threading
import time
from collections import Counter
from datetime import UTC, datetime

import pytest

from order_fraud import events, topics
from producers import book, patterns
from streams.settings import Settings
from tests.streams.conftest import Workers
from tests.streams.witness import differences, read, send, subjects, wait_for

ORDERS = 6_000
FROZEN_S = Settings().session_timeout_ms / 1000 + 4


def records_of(orders: book.Book) -> list[tuple[bytes, bytes]]:
    return [(customer_id.encode(), events.encode(event)) for customer_id, event in book.events(orders)]


@pytest.mark.timeout(240)
def test_every_order_has_one_verdict_through_kills_and_takeovers(bootstrap: str, workers: Workers) -> None:
    orders = patterns.generate(ORDERS, seed=7)
    wanted = Counter(sale.order_id for sale in orders.sales)
    records = records_of(orders)

    def shop() -> None:
        for start in range(0, len(records), 200):
            send(bootstrap, records[start : start + 200])
            time.sleep(0.1)

    workers.start(1)
    workers.start(2)
    selling = threading.Thread(target=shop)
    selling.start()
    time.sleep(1.5)
    workers.kill(1)
    time.sleep(0.5)
    workers.start(1)
    time.sleep(0.5)
    workers.kill(2)  # for good: its partitions go to worker 1
    selling.join()
    wait_for(lambda: subjects(bootstrap, topics.DELIVERY_EVENTS, "1") >= wanted)

    assert subjects(bootstrap, topics.FRAUD_VERDICTS, "1") == wanted
    assert subjects(bootstrap, topics.DELIVERY_EVENTS, "1") == wanted
    assert differences(bootstrap) == []
    assert workers.stop(1) == 0


@pytest.mark.timeout(240)
def test_a_zombie_that_wakes_up_commits_nothing(bootstrap: str, workers: Workers) -> None:
    """Frozen, perhaps with a transaction open, until the group has given its partitions away; then thawed.

    It works on, or goes down if the broker has fenced it off since its transaction timed out; the other one decides.
    """
    order_ids = [f"zombie-{number}" for number in range(4_000)]
    workers.start(1)
    workers.start(2)

    def shop() -> None:
        for start in range(0, len(order_ids), 100):
            send(bootstrap, [(order_id.encode(), _order(order_id)) for order_id in order_ids[start : start + 100]])
            time.sleep(0.2)

    selling = threading.Thread(target=shop)
    selling.start()
    time.sleep(2)
    workers.freeze(1)
    time.sleep(FROZEN_S)
    workers.thaw(1)
    selling.join()
    time.sleep(3)  # its chance to commit what it had in hand
    wait_for(lambda: subjects(bootstrap, topics.DELIVERY_EVENTS, "zombie-").keys() >= set(order_ids))

    assert subjects(bootstrap, topics.FRAUD_VERDICTS, "zombie-") == Counter(order_ids)
    assert subjects(bootstrap, topics.DELIVERY_EVENTS, "zombie-") == Counter(order_ids)
    assert differences(bootstrap) == []
    assert workers.stop(2) == 0


def test_delivery_follows_the_verdict(bootstrap: str, workers: Workers) -> None:
    """Exact lists in and out: ten customers share one device, ten have their own."""
    order_ids = [f"{kind}-{number}" for kind in ("ring", "own") for number in range(10)]
    send(bootstrap, [(order_id.encode(), _order(order_id)) for order_id in order_ids])
    workers.start(1)
    wait_for(lambda: set(order_ids) <= subjects(bootstrap, topics.DELIVERY_EVENTS, "").keys())

    verdicts = {e.subject: e for m in read(bootstrap, topics.FRAUD_VERDICTS) for e in [events.decode(m.value())]}
    deliveries = {e.subject: e for m in read(bootstrap, topics.DELIVERY_EVENTS) for e in [events.decode(m.value())]}
    suspects = {order_id for order_id in order_ids if isinstance(verdicts[order_id], events.PossibleFraud)}
    assert all(order_id.startswith("ring-") for order_id in suspects)
    assert len(suspects) == 9, "all but the first on the device"
    for order_id in order_ids:
        verdict, delivery = verdicts[order_id], deliveries[order_id]
        assert isinstance(delivery, events.DeliveryHeld if order_id in suspects else events.DeliveryReleased)
        assert delivery.time == verdict.time
        assert delivery.data.cause == verdict.id


def _order(order_id: str) -> bytes:
    device = "shared" if order_id.startswith("ring-") else f"device of {order_id}"
    order = events.Order(order_id=order_id, customer_id=order_id, amount=100, currency="EUR", device_id=device)
    time = datetime(2026, 1, 1, tzinfo=UTC)
    return events.encode(events.NewOrder(id=f"order/{order_id}", source="/t", subject=order_id, time=time, data=order))
