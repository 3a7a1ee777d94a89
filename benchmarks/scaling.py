"""How orders per second change with the number of workers, and of customers already remembered."""

from collections.abc import Callable
from typing import Any

from benchmarks import load as loads
from benchmarks.ground import ground
from benchmarks.load import Load, Shop
from benchmarks.one_round import play
from benchmarks.prefill import fill
from benchmarks.reading import VerdictWatch
from benchmarks.registry import OURS

WORKERS = (1, 2, 3, 4)
ENTITIES = (1_000, 100_000, 1_000_000, 10_000_000)


def workers(orders: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return orders per second by number of workers, one round each.

    Raises:
        WrongVerdicts: the verdicts are not what the topics give.
        ContenderDied: a worker ended.
    """
    load = loads.make(orders)
    result = {}
    for count in WORKERS:
        result[str(count)] = play(OURS, count, load).orders_per_second
        tell(f"workers: {count}: {result[str(count)]:,} orders/s")
    return result


def entities(orders: int, most: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return orders per second by number of customers already remembered, one worker, one round each.

    Raises:
        ContenderDied: the worker ended.
        TimeoutError: verdicts stayed out.
    """
    load = loads.make(orders)
    result = {}
    for count in (count for count in ENTITIES if count <= most):
        result[str(count)] = _with_entities(load, count)
        tell(f"entities: {count:,}: {result[str(count)]:,} orders/s")
    return result


def _with_entities(load: Load, count: int) -> int:
    """Orders alone, as the customers have signed up long ago."""
    warm_up = load.warm_up[-load.warm_up_orders :]
    with ground(OURS) as found:
        shop = Shop(found.bootstrap)
        fill(shop, load, count)
        found.crew.start(1)
        found.crew.wait_for_files()
        watch = VerdictWatch(found.bootstrap)
        shop.send(warm_up)
        watch.wait(len(warm_up), found.crew.check)
        started = shop.send(load.burst)
        watch.wait(len(warm_up) + len(load.burst), found.crew.check)
        watch.close()
        return round(len(load.burst) / (watch.last_arrival - started))
