"""A worker is killed under load: how long until the orders of its partitions are decided again?"""

from collections.abc import Callable
from typing import Any

from benchmarks import load as loads
from benchmarks.ground import ground
from benchmarks.latency import send_paced, sent_at
from benchmarks.load import Shop
from benchmarks.reading import VerdictWatch
from benchmarks.registry import OURS
from order_fraud.topics import CUSTOMER_EVENTS

RATE = 1_000
SECONDS = 30
KILL_AFTER_S = 6.0


def measure(tell: Callable[[str], None]) -> dict[str, Any]:
    """Kill -9 one of two workers under 1,000 orders a second.

    ``takeover_seconds`` is the longest time, over the customer partitions that the dead worker had, from the kill to
    the first verdict on an order that was sent after it. Such an order passes all hops, so device and ip partitions
    must be back as well. ``takeover_worst_latency_seconds`` is the longest that any order waited.

    Raises:
        TimeoutError: verdicts stayed out.
        RuntimeError: no order came on one of the partitions.
    """
    load = loads.make(RATE * SECONDS)
    killed: list[float] = []
    with ground(OURS) as found:
        crew = found.crew.start(2)
        lost = {
            partition
            for name, places in crew.assignments().items()
            if "worker-1" in name
            for topic, partition in places
            if topic == CUSTOMER_EVENTS.name
        }
        watch, shop = VerdictWatch(found.bootstrap), Shop(found.bootstrap)
        shop.send(load.warm_up)
        watch.wait(load.warm_up_orders, crew.check)

        def kill(elapsed: float) -> None:
            if elapsed > KILL_AFTER_S and not killed:
                killed.append(crew.kill(1))

        paced = send_paced(found, load.burst, RATE, watch, kill)
        watch.close()
        sent = sent_at(found.bootstrap)
    times = times_to_decide(paced.arrivals, sent, killed[0], lost)
    worst = max(arrived - sent[order_id] for arrived, _, order_id in paced.arrivals)
    tell(f"takeover: {times}, worst latency {worst:.1f} s")
    return {"takeover_seconds": round(max(times.values()), 2), "takeover_worst_latency_seconds": round(worst, 2)}


def times_to_decide(
    arrivals: list[tuple[float, int, str]], sent: dict[str, float], killed: float, partitions: set[int]
) -> dict[int, float]:
    """Return for each partition the seconds from the kill to the first verdict on an order sent after it.

    Raises:
        RuntimeError: there was none on one of them, or the dead worker had no partition.
    """
    times: dict[int, float] = {}
    for arrived, partition, order_id in arrivals:
        if partition in partitions and sent[order_id] > killed:
            times[partition] = min(times.get(partition, arrived - killed), arrived - killed)
    if not partitions or times.keys() != partitions:
        raise RuntimeError(f"the dead worker had partitions {sorted(partitions)}, verdicts came on {sorted(times)}")
    return times
