"""Decision latency: from the time stamp of the order's record to the verdict's arrival at a read_committed consumer."""

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from confluent_kafka import Message

from benchmarks import load as loads
from benchmarks import pacer
from benchmarks.ground import Ground, ground
from benchmarks.load import Shop
from benchmarks.reading import QUIET_S, VerdictWatch, read_all
from benchmarks.registry import OURS
from order_fraud.topics import CUSTOMER_EVENTS
from stack.site import PYTHON, ROOT

RATES = {100: 15, 1_000: 15, 10_000: 10}
"""Orders per second, and for how many seconds."""

WARM_UP_S = 3
"""For how long orders come at each rate before those that count: broker and clients change their pace for a while."""

BEHIND_S = 1.0
"""A rate whose last verdict comes later than this after its last order was not held: the orders were piling up."""


class _Subject(msgspec.Struct):
    subject: str


_subject = msgspec.json.Decoder(_Subject).decode


@dataclass
class Paced:
    """What came of orders sent at a steady rate.

    Attributes:
        sent_per_second: what the pacer achieved.
        started: Unix time of the first order.
        last_sent: Unix time of the last order.
        arrivals: each verdict as (Unix time of arrival, partition, order id).
    """

    sent_per_second: float = 0.0
    started: float = 0.0
    last_sent: float = 0.0
    arrivals: list[tuple[float, int, str]] = field(default_factory=list)


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of all values do not exceed (nearest rank).

    Raises:
        ValueError: there are no values.
    """
    if not sorted_values:
        raise ValueError("no values")
    rank = max(1, -int(-share * len(sorted_values) // 1))
    return sorted_values[rank - 1]


def send_paced(
    found: Ground,
    records: list[dict[str, Any]],
    rate: float,
    watch: VerdictWatch,
    meanwhile: Callable[[float], None] = lambda now: None,
) -> Paced:
    """Send orders from a process of its own and take down when each verdict arrives.

    ``meanwhile`` is called between polls with the seconds since the pacer was started.

    Raises:
        TimeoutError: verdicts stayed out.
        RuntimeError: the pacer failed.
    """
    path = found.folder / "paced.msgpack"
    pacer.write(path, records)
    result = Paced()
    with subprocess.Popen(
        [str(PYTHON), "-m", "benchmarks.pacer", str(path), "--rate", str(rate)],
        cwd=ROOT,
        env=found.crew.environ,
        stdout=subprocess.PIPE,
    ) as process:
        started = last = time.monotonic()
        while len(result.arrivals) < len(records):
            messages = watch.poll()
            meanwhile(time.monotonic() - started)
            if messages:
                last = time.monotonic()
                result.arrivals += [(watch.last_arrival, *_which(message)) for message in messages]
            elif time.monotonic() - last > QUIET_S:
                process.kill()
                raise TimeoutError(f"{len(result.arrivals)} of {len(records)} verdicts, and none for {QUIET_S:.0f} s")
        said, _ = process.communicate(timeout=60)
    if process.returncode:
        raise RuntimeError(f"the pacer ended with {process.returncode}")
    facts = json.loads(said)
    result.sent_per_second, result.started, result.last_sent = facts["rate"], facts["started"], facts["ended"]
    return result


def _which(message: Message) -> tuple[int, str]:
    return message.partition() or 0, _subject(message.value() or b"").subject


def sent_at(bootstrap: str) -> dict[str, float]:
    """Return for each order the Unix time at which it was sent: its record's time stamp."""
    return {
        _subject(message.value() or b"").subject: message.timestamp()[1] / 1000
        for message in read_all(bootstrap, CUSTOMER_EVENTS)
    }


def measure(tell: Callable[[str], None], rates: dict[int, int] | None = None) -> dict[str, Any]:
    """Measure each rate in turn with one worker of ours, exactly-once, with its default settings.

    Raises:
        TimeoutError: verdicts stayed out.
        ContenderDied: the worker ended.
    """
    rates = rates or RATES
    load = loads.make(sum(rate * (WARM_UP_S + seconds) for rate, seconds in rates.items()))
    waiting = list(load.burst)
    result: dict[str, Any] = {}
    with ground(OURS) as found:
        found.crew.start(1)
        watch, shop = VerdictWatch(found.bootstrap), Shop(found.bootstrap)
        shop.send(load.warm_up)
        watch.wait(load.warm_up_orders, found.crew.check)
        for rate, seconds in rates.items():
            count = rate * (WARM_UP_S + seconds)
            records, waiting = waiting[:count], waiting[count:]
            paced = send_paced(found, records, rate, watch)
            result[str(rate)] = _figures(paced, sent_at(found.bootstrap))
            tell(f"latency at {rate:,} orders/s: {result[str(rate)]}")
        watch.close()
    return result


def _figures(paced: Paced, sent: dict[str, float]) -> dict[str, Any]:
    counted = paced.started + WARM_UP_S
    latencies = sorted(
        (arrived - sent[order_id]) * 1000 for arrived, _, order_id in paced.arrivals if sent[order_id] >= counted
    )
    ended = paced.arrivals[-1][0]
    return {
        "p50": round(percentile(latencies, 0.5), 1),
        "p99": round(percentile(latencies, 0.99), 1),
        "max": round(latencies[-1], 1),
        "achieved": round(len(paced.arrivals) / (ended - paced.started), 1),
        "held": ended - paced.last_sent < BEHIND_S,
        "orders": len(latencies),
    }
