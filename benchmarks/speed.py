"""Orders decided per second over the three hops, every contender in turn, medians of the rounds."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import load as loads
from benchmarks.one_round import Round, play
from benchmarks.registry import CONTENDERS, Contender

Tell = Callable[[str], None]
OURS, QUIX, LOOP = "countersign_exactly_once", "quix_exactly_once", "confluent_loop"


def measure(names: Sequence[str], orders: int, rounds: int, tell: Tell) -> tuple[dict[str, Any], list[str]]:
    """Play all rounds.

    Args:
        names: of contenders.
        orders: of one burst; a contender with a smaller limit gets that many.
        rounds: of each.
        tell: gets a line after each round.

    Returns:
        What goes into the results file, and a line for each round that failed. A contender of which a round failed is
        not played again.
    """
    made = {size: loads.make(size) for size in {_orders(CONTENDERS[name], orders) for name in names}}
    lineup = [(CONTENDERS[name], processes) for name in names for processes in CONTENDERS[name].processes]
    played: dict[tuple[str, int], list[Round]] = {}
    failures: dict[tuple[str, int], str] = {}
    for number in range(1, rounds + 1):
        for contender, processes in lineup:
            key = contender.name, processes
            if key in failures:
                continue
            title = f"round {number} of {rounds}: {contender.name}, {_processes(processes)}"
            try:
                found = play(contender, processes, made[_orders(contender, orders)])
            except Exception as error:  # the others go on, and the exit code tells
                failures[key] = f"{title}: {error}"
                tell(f"{title}: FAILED: {error}")
                continue
            played.setdefault(key, []).append(found)
            tell(f"{title}: {found.orders_per_second:,} orders/s, {found.peak_mb:,.0f} MB")
    return summary({key: found for key, found in played.items() if key not in failures}), list(failures.values())


def _orders(contender: Contender, asked: int) -> int:
    return min(asked, contender.most_orders or asked)


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def summary(played: dict[tuple[str, int], list[Round]]) -> dict[str, Any]:
    """Return medians (the peak for memory), ratios, and the single rounds that they come from."""
    result: dict[str, Any] = {}
    for count in sorted({processes for _, processes in played}):
        tail = "" if count == 1 else f"_{count}"
        of_count = {name: found for (name, processes), found in played.items() if processes == count}
        result[f"orders_per_second{tail}"] = {
            name: _median(found, "orders_per_second") for name, found in of_count.items()
        }
        result[f"cpu_us_per_order{tail}"] = {
            name: _median(found, "cpu_us_per_order") for name, found in of_count.items()
        }
        result[f"peak_mb{tail}"] = {name: max(one.peak_mb for one in found) for name, found in of_count.items()}
        result[f"rounds{tail}"] = {name: [one.as_dict() for one in found] for name, found in of_count.items()}
    result["orders_by_contender"] = {name: found[0].orders for (name, _), found in played.items()}
    return result


def ratios(result: dict[str, Any]) -> dict[str, float]:
    """Return how many times as fast ours is as Quix Streams in its exactly-once mode, and as the bare loop."""
    found = {}
    for tail in ("", "_2"):
        rates = result.get(f"orders_per_second{tail}", {})
        for other in (QUIX, LOOP):
            if OURS in rates and other in rates:
                found[f"to_{other}{tail}"] = round(rates[OURS] / rates[other], 2)
    return found


def _median(found: list[Round], field: str) -> float:
    values: list[float] = [getattr(one, field) for one in found]
    return round(statistics.median(values), 1)
