"""The protocol of one round, the same for every contender.

Step 1  a fresh broker with the topics of the registry, and the contender's processes
Step 2  wait until the group has shared out all partitions
Step 3  warm-up: all sign-ups and a tenth of the orders; wait until the last of their verdicts is there
Step 4  the burst: all orders at once. The clock starts right before the first is handed to the producer and stops
        when the last verdict has arrived at a read_committed consumer
Step 5  check that the verdicts are what the contender's own topics give
"""

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.crew import PeakMemory
from benchmarks.ground import ground
from benchmarks.load import Load, Shop
from benchmarks.reading import VerdictWatch
from benchmarks.registry import Contender
from benchmarks.verdict_check import check


@dataclass(frozen=True)
class Round:
    """What one round gave.

    Attributes:
        orders_per_second: orders of the burst decided per second.
        seconds: from the first order to the last verdict.
        orders: of the burst.
        cpu_us_per_order: processor time of the contender's processes, all threads, in microseconds; tells a slow
            program from a program that waits, and from a busy machine.
        peak_mb: resident memory of the processes, added up, in MB (10^6 bytes).
    """

    orders_per_second: int
    seconds: float
    orders: int
    cpu_us_per_order: float
    peak_mb: float

    def as_dict(self) -> dict[str, Any]:
        """Return it for the results file."""
        return asdict(self)


def play(contender: Contender, processes: int, load: Load) -> Round:
    """Play one round.

    Raises:
        WrongVerdicts: the contender did not do the work.
        ContenderDied: one of its processes ended.
        TimeoutError: it did not get ready, or verdicts stayed out.
    """
    with ground(contender) as found:
        crew, bootstrap = found.crew.start(processes), found.bootstrap
        watch, shop = VerdictWatch(bootstrap), Shop(bootstrap)
        shop.send(load.warm_up)
        watch.wait(load.warm_up_orders, crew.check)
        memory, cpu = PeakMemory(crew), crew.cpu_seconds()
        started = shop.send(load.burst)
        watch.wait(load.warm_up_orders + len(load.burst), crew.check)
        seconds, cpu = watch.last_arrival - started, crew.cpu_seconds() - cpu
        peak = memory.stop()
        watch.close()
        orders = [record["value"] for record in load.warm_up[-load.warm_up_orders :] + load.burst]
        check(bootstrap, orders, watch.seen)
    count = len(load.burst)
    return Round(round(count / seconds), round(seconds, 3), count, round(cpu / count * 1e6, 1), peak)
