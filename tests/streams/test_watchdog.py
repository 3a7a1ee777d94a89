"""An order without a verdict is reported once, when everything that was there has been read; nothing else is."""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from order_fraud import events, topics
from order_fraud.events import VerdictOverdue
from stack import Stack
from tests.streams.conftest import Workers
from tests.streams.witness import read, send, subjects, wait_for

OVERDUE_S = 2.0
TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def workers(stack: Stack, tmp_path: Path) -> Iterator[Workers]:
    """Workers that report after two seconds."""
    impatient = SimpleNamespace(environ=stack.environ | {"COUNTERSIGN_OVERDUE_S": str(OVERDUE_S)})
    crew = Workers(cast(Stack, impatient), tmp_path)
    yield crew
    crew.kill_all()


def order(order_id: str, **changes: object) -> bytes:
    data = {"order_id": order_id, "customer_id": order_id, "amount": 100, "currency": "EUR"} | changes
    return events.encode(
        events.NewOrder(id=f"order/{order_id}", source="/t", subject=order_id, time=TIME, data=events.Order(**data))
    )


def poison(order_id: str) -> bytes:
    return order(order_id).replace(b'"amount":100', b'"amount":-1')


def put(bootstrap: str, *values: tuple[str, bytes]) -> None:
    send(bootstrap, [(order_id.encode(), value) for order_id, value in values])


def alarms(bootstrap: str, prefix: str) -> list[VerdictOverdue]:
    found = [events.decode(message.value()) for message in read(bootstrap, topics.DELIVERY_EVENTS)]
    return [event for event in found if isinstance(event, VerdictOverdue) and event.subject.startswith(prefix)]


def quiet(bootstrap: str, prefix: str) -> set[str]:
    """Give the watchdog the time for an alarm too many; return whose alarms there are."""
    time.sleep(OVERDUE_S + 3)
    return {alarm.subject for alarm in alarms(bootstrap, prefix)}


def test_a_refused_order_is_reported_once_and_repeats_are_not(bootstrap: str, workers: Workers) -> None:
    workers.start(1)
    put(bootstrap, ("w1-bad", poison("w1-bad")), ("w1-good", order("w1-good")), ("w1-good", order("w1-good")))
    wait_for(lambda: bool(alarms(bootstrap, "w1-")))
    put(bootstrap, ("w1-good", order("w1-good")), ("w1-bad", poison("w1-bad")))  # long after they came in first
    assert quiet(bootstrap, "w1-") == {"w1-bad"}
    workers.kill(1)
    workers.start(1)
    assert quiet(bootstrap, "w1-") == {"w1-bad"}

    (alarm,) = alarms(bootstrap, "w1-")
    (record,) = [m for m in read(bootstrap, topics.CUSTOMER_EVENTS) if m.value() == poison("w1-bad")][:1]
    where = f"{topics.CUSTOMER_EVENTS.name}, partition {record.partition()}, offset {record.offset()}"
    assert alarm.id == "delivery/w1-bad/overdue"
    assert alarm.time == TIME
    assert alarm.data == events.Overdue(
        order_id="w1-bad",
        customer_id="w1-bad",
        record=where,
        since=datetime.fromtimestamp(record.timestamp()[1] / 1000, UTC),
        longer_than_s=OVERDUE_S,
        refused="Expected `int` >= 0 - at `$.data.amount`",
    )
    put(bootstrap, ("w1-bad", order("w1-bad")))  # repaired: the verdict follows, and the delivery's outcome
    wait_for(lambda: subjects(bootstrap, topics.FRAUD_VERDICTS, "w1-bad") == Counter({"w1-bad": 1}))
    wait_for(lambda: subjects(bootstrap, topics.DELIVERY_EVENTS, "w1-bad") == Counter({"w1-bad": 1}))


def test_time_in_which_no_worker_ran_is_no_orders_fault(bootstrap: str, workers: Workers) -> None:
    """Records that lay there for long, and old ones that are sent again, raise no alarm: verdicts come in time."""
    order_ids = [f"w2-{number}" for number in range(2_000)]
    put(bootstrap, *((order_id, order(order_id)) for order_id in order_ids))
    time.sleep(OVERDUE_S + 1)
    workers.start(1)
    wait_for(lambda: subjects(bootstrap, topics.DELIVERY_EVENTS, "w2-").keys() >= set(order_ids))
    put(bootstrap, *((order_id, order(order_id)) for order_id in order_ids))
    workers.kill(1)
    workers.start(2)
    assert quiet(bootstrap, "w2-") == set()
    assert subjects(bootstrap, topics.DELIVERY_EVENTS, "w2-") == Counter(order_ids)


def test_under_load_an_order_is_reported_all_the_same(bootstrap: str, workers: Workers) -> None:
    """There is never a moment at which nothing is unread; what came in before the last look has been read, though."""
    workers.start(1)
    workers.start(2)
    put(bootstrap, ("w3-bad", poison("w3-bad")))
    until = time.monotonic() + 30
    number = 0
    while not alarms(bootstrap, "w3-bad"):
        assert time.monotonic() < until, "no alarm while orders kept coming in"
        put(bootstrap, *((f"w3-{n}", order(f"w3-{n}")) for n in range(number, number + 500)))
        number += 500
    order_ids = {f"w3-{n}" for n in range(number)}
    wait_for(lambda: subjects(bootstrap, topics.FRAUD_VERDICTS, "w3-").keys() >= order_ids)
    assert quiet(bootstrap, "w3-") == {"w3-bad"}


def test_what_is_no_dead_letter_of_ours_stops_nothing(bootstrap: str, workers: Workers) -> None:
    """Dead letters that somebody else wrote are passed over, and make no further ones."""
    records = [(None, b""), (b"\xff", b"\xff"), (b"w4-x", order("w4-x"))]
    send(bootstrap, records, topics.DEAD_LETTERS)
    letters = len(read(bootstrap, topics.DEAD_LETTERS))
    workers.start(1)
    put(bootstrap, ("w4-good", order("w4-good")))
    wait_for(lambda: bool(subjects(bootstrap, topics.DELIVERY_EVENTS, "w4-good")))
    assert quiet(bootstrap, "w4-") == set()
    assert len(read(bootstrap, topics.DEAD_LETTERS)) == letters
