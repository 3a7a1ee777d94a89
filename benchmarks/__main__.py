"""``make bench``: how fast the kernel folds, and how many orders a second the whole relay decides, exactly-once."""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.kernel import microseconds_per_hop
from benchmarks.relay import Decided, decide_all
from producers import patterns
from producers.book import events
from stack.site import ROOT


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--orders", type=int, default=100_000, help="generated orders (default 100000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each; the median counts (default 3)")
    parser.add_argument("--out", type=Path, default=ROOT / ".stack" / "bench.json", help="default: .stack/bench.json")
    options = parser.parse_args(arguments)
    screen = Console(highlight=False)
    with screen.status(f"generating {options.orders:,} orders"):
        sent = list(events(patterns.generate(options.orders, seed=1)))
    kernel = []
    relay: dict[int, list[Decided]] = {1: [], 2: []}
    for number in range(options.rounds):
        with screen.status(f"round {number + 1} of {options.rounds}: kernel"):
            kernel.append(microseconds_per_hop(sent))
        for workers, rounds in relay.items():
            with (
                screen.status(f"round {number + 1} of {options.rounds}: relay, workers: {workers}"),
                tempfile.TemporaryDirectory(prefix="countersign-bench-") as folder,
            ):
                rounds.append(decide_all(sent, options.orders, workers, Path(folder)))
    result = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "orders": options.orders,
        "hops": 3,
        "rounds": options.rounds,
        "kernel_microseconds_per_hop": round(statistics.median(kernel), 2),
        "orders_per_second": {
            f"{workers} workers": round(statistics.median(one.orders_per_second for one in rounds))
            for workers, rounds in relay.items()
        },
        "peak_mb": {f"{workers} workers": max(one.peak_mb for one in rounds) for workers, rounds in relay.items()},
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    screen.print(_table(result))
    return 0


def _table(result: dict[str, Any]) -> Table:
    table = Table(title=f"{result['orders']:,} orders, three hops, exactly-once, broker beside; {result['machine']}")
    table.add_column("what")
    table.add_column("median", justify="right")
    table.add_row("kernel: decode, fold, encode, µs per record and hop", f"{result['kernel_microseconds_per_hop']:.2f}")
    for workers, rate in result["orders_per_second"].items():
        table.add_row(f"orders decided per second, {workers}", f"{rate:,}")
        table.add_row(f"peak memory of the workers, MB, {workers}", f"{result['peak_mb'][workers]:,}")
    return table


if __name__ == "__main__":
    sys.exit(main())
