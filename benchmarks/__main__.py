"""``make bench``: Countersign beside Quix Streams, Faust and a bare loop, and how fast it is otherwise.

All contenders do the same three hops with the same kernel on the same orders; each round has a fresh broker and is
checked verdict by verdict. Results go to .stack/bench.json; a run of some parts keeps what the others have measured.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import kernel, latency, load, phases, publish, recovery, results, scaling, speed, takeover
from benchmarks.registry import CONTENDERS
from stack.errors import StackError
from stack.site import ROOT

KERNEL_ORDERS = 50_000
Part = Callable[[argparse.Namespace, Callable[[str], None]], dict[str, Any]]


class Partly(Exception):
    """A part has results, and failures too."""

    def __init__(self, result: dict[str, Any], failures: list[str]) -> None:
        super().__init__("; ".join(failures))
        self.result = result


def _speed(options: argparse.Namespace, tell: Callable[[str], None]) -> dict[str, Any]:
    result, failures = speed.measure(options.contenders, options.orders, options.rounds, tell)
    result |= {"orders": options.orders, "hops": 3, "rounds_each": options.rounds}
    if failures:
        raise Partly(result, failures)
    return result


def _kernel(options: argparse.Namespace, tell: Callable[[str], None]) -> dict[str, Any]:
    sent = load.make(KERNEL_ORDERS).sent
    found = statistics.median(kernel.microseconds_per_hop(sent) for _ in range(options.rounds))
    tell(f"kernel: {found:.2f} µs per record and hop")
    return {"kernel_microseconds_per_hop": round(found, 2)}


PARTS: dict[str, Part] = {
    "speed": _speed,
    "kernel": _kernel,
    "profile": lambda options, tell: {"profile": phases.measure(options.orders, tell)},
    "latency": lambda options, tell: {"latency_ms": latency.measure(tell)},
    "takeover": lambda options, tell: takeover.measure(tell),
    "recovery": lambda options, tell: recovery.measure(tell),
    "workers": lambda options, tell: {"workers": scaling.workers(options.orders, tell)},
    "entities": lambda options, tell: {"entities": scaling.entities(options.orders // 2, options.entities_max, tell)},
}


def _names(known: dict[str, Any]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = [name for name in text.split(",") if name]
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"no such: {', '.join(unknown)}; there are {', '.join(known)}")
        return chosen

    return parse


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=_names(PARTS), default=list(PARTS), help=f"parts, of {','.join(PARTS)}")
    parser.add_argument(
        "--contenders", type=_names(CONTENDERS), default=list(CONTENDERS), help=f"of {','.join(CONTENDERS)}"
    )
    parser.add_argument("--orders", type=_count, default=100_000, help="timed orders of one round (default 100000)")
    parser.add_argument("--rounds", type=_count, default=3, help="rounds of each contender (default 3)")
    parser.add_argument(
        "--entities-max",
        type=_count,
        default=1_000_000,
        help="most customers already remembered (default 1000000; 10000000 takes about 10 GB and minutes more)",
    )
    parser.add_argument("--out", type=Path, default=results.FILE, help="results file (default .stack/bench.json)")
    parser.add_argument(
        "--publish", action="store_true", help="measure nothing: put the stored results into docs/performance.md"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure, store, print; return the exit code: 0 all well, 1 something failed, 2 wrong usage."""
    options = _options(arguments)
    screen = Console(highlight=False, markup=False)
    if options.publish:
        try:
            publish.publish(options.out)
        except (publish.NothingMeasured, subprocess.CalledProcessError) as error:
            print(f"benchmarks: {error}", file=sys.stderr)
            return 1
        screen.print(f"rewritten: {publish.PAGE.relative_to(ROOT)}, {publish.CHART.relative_to(ROOT)}")
        return 0
    failures: list[str] = []
    for name in (part for part in PARTS if part in options.only):
        started = time.monotonic()
        screen.print(f"{name} …")
        try:
            found = PARTS[name](options, lambda line: screen.print(f"  {line}", soft_wrap=True))
        except Partly as error:
            failures.append(f"{name}: {error}")
            found = error.result
        except (RuntimeError, TimeoutError, OSError, StackError) as error:  # the other parts are worth having
            failures.append(f"{name}: {error}")
            screen.print(f"  FAILED: {error}", soft_wrap=True)
            continue
        here = results.circumstances()
        merged = results.merge(results.read(options.out), found | here | {"parts": {name: here["measured_at"]}})
        results.write(merged | {"ratios": speed.ratios(merged)}, options.out)
        screen.print(f"  {name}: {time.monotonic() - started:.0f} s")
    screen.print(publish.tables(results.read(options.out)), soft_wrap=True)
    screen.print(f"all of it: {options.out}")
    for failure in failures:
        print(f"benchmarks: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
