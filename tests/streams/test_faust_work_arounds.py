"""One test for each way in which the transport does not do what Faust 0.15.3 does; each names what it waits for."""

import asyncio
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from faust.types import TP

from order_fraud import events, topics
from stack import Stack
from stack.site import ROOT
from streams.app import create_app
from streams.settings import Settings
from tests.streams.conftest import Workers
from tests.streams.witness import differences, read, send, subjects, wait_for


def test_faust_finds_the_transport_by_its_entry_point() -> None:
    code = "from faust.transport import drivers; print(drivers.by_url('countersign://h').__module__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "streams.transport"


@pytest.mark.timeout(180)
def test_an_agent_that_raises_takes_the_worker_down_and_loses_nothing(
    stack: Stack, bootstrap: str, workers: Workers, tmp_path: Path
) -> None:
    """faust-streaming/faust#315: Faust acknowledges the event on which an agent raised, and goes on with the next."""
    send(bootstrap, [(b"raised-1", _order("raised-1"))])
    flag = tmp_path / "raise"
    flag.touch()
    failing = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("failing_worker.py")), str(flag), "worker", "--index", "1"],
        cwd=ROOT,
        env=stack.environ,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert failing.returncode != 0
    assert "the agent fails after it has sent its outputs" in failing.stdout + failing.stderr
    assert not subjects(bootstrap, topics.RELAY_BY_DEVICE, "raised-")
    assert not subjects(bootstrap, topics.FRAUD_VERDICTS, "raised-")
    workers.start(1)
    wait_for(lambda: "raised-1" in subjects(bootstrap, topics.DELIVERY_EVENTS, "raised-"))
    assert subjects(bootstrap, topics.FRAUD_VERDICTS, "raised-") == Counter(["raised-1"])
    assert differences(bootstrap) == []


@pytest.mark.timeout(120)
def test_a_batch_is_not_lost_in_the_queues_that_recovery_empties(stack: Stack, bootstrap: str) -> None:
    """``FlowControlEvent.resume`` clears the agents' queues; found by chaos, a rebalance in fifty or so."""
    order_ids = [f"early-{number}" for number in range(50)]
    send(bootstrap, [(order_id.encode(), _order(order_id)) for order_id in order_ids])  # there before the worker is
    slow = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("slow_recovery_worker.py")), "worker", "--index", "1"],
        cwd=ROOT,
        env=stack.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: subjects(bootstrap, topics.DELIVERY_EVENTS, "early-").keys() >= set(order_ids), 60)
    finally:
        slow.kill()
        slow.wait()


@pytest.mark.timeout(180)
def test_the_offset_is_that_of_the_transaction_and_a_graceful_stop_leaves_nothing_to_do_again(
    bootstrap: str, workers: Workers
) -> None:
    """faust-streaming/faust#606 and #316: Faust's own commits run ahead of what is done, or of a commit that failed."""
    order_ids = [f"graceful-{number}" for number in range(3_000)]
    workers.start(1)
    send(bootstrap, [(order_id.encode(), _order(order_id)) for order_id in order_ids])
    assert workers.stop(1) == 0  # in the middle of the work
    workers.start(1)
    wait_for(lambda: subjects(bootstrap, topics.DELIVERY_EVENTS, "graceful-").keys() >= set(order_ids))
    assert subjects(bootstrap, topics.FRAUD_VERDICTS, "graceful-") == Counter(order_ids)
    assert subjects(bootstrap, topics.DELIVERY_EVENTS, "graceful-") == Counter(order_ids)
    assert differences(bootstrap) == []


@pytest.mark.timeout(120)
def test_a_record_keeps_the_time_at_which_its_order_came_in(bootstrap: str, workers: Workers) -> None:
    """faust-streaming/faust#427: Faust's ``forward`` drops time stamps."""
    workers.start(1)
    send(bootstrap, [(b"stamped-1", _order("stamped-1"))])
    wait_for(lambda: "stamped-1" in subjects(bootstrap, topics.DELIVERY_EVENTS, "stamped-"))
    stamps = {
        message.timestamp()[1]
        for topic in (topics.CUSTOMER_EVENTS, topics.RELAY_BY_DEVICE, topics.FRAUD_VERDICTS, topics.DELIVERY_EVENTS)
        for message in read(bootstrap, topic)
        if b'"stamped-1"' in (message.value() or b"")
    }
    assert len(stamps) == 1


@pytest.mark.timeout(120)
def test_a_worker_listens_on_no_port_unless_it_is_told_to(bootstrap: str, workers: Workers) -> None:
    """Faust's web server binds all interfaces, and shows table data to whoever asks."""
    workers.start(1)
    listening = [
        connection.laddr
        for child in psutil.Process().children(recursive=True)
        if "streams" in child.cmdline() and "worker" in child.cmdline()
        for connection in child.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == []


def test_what_the_transport_does_not_have_it_refuses_with_a_reason() -> None:
    """Faust's tables are not exact here (#597 among others), and a send outside a batch would not be either."""
    app = create_app(Settings())
    producer = cast(Any, app.transport.create_producer())

    async def send_at_any_time() -> None:
        await producer.send("t", None, None, None, None, None)

    with pytest.raises(NotImplementedError, match=r"send to t while an agent has a record in hand"):
        asyncio.run(send_at_any_time())
    with pytest.raises(NotImplementedError, match=r"keeps no Faust tables"):
        cast(Any, app.transport.Consumer)._no_tables((TP("t", 0),))


def _order(order_id: str) -> bytes:
    data = events.Order(order_id=order_id, customer_id=order_id, amount=100, currency="EUR", device_id=f"d-{order_id}")
    time = datetime(2026, 1, 1, tzinfo=UTC)
    return events.encode(events.NewOrder(id=f"order/{order_id}", source="/t", subject=order_id, time=time, data=data))
