"""``make bench-batch``: reconcile 10 thousand, 100 thousand, 1 million generated orders, beside pandas and PySpark.

Results go to .stack/bench-batch.json: ``{engine: {orders: {"seconds", "peak_mb", …}}}``; a run of some engines or
numbers keeps what was measured of the others. The generated lakes stay under build/bench-batch for the next run.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks import results
from benchmarks.batch import measure
from stack import Ports, Stack
from stack.errors import StackError
from stack.site import ROOT

FILE = ROOT / ".stack" / "bench-batch.json"
CACHE = ROOT / "build" / "bench-batch"
AIRFLOW, BATCH = (str(ROOT / ".venv" / name / "bin" / "python") for name in ("airflow", "batch"))
OURS = {"countersign": "nothing", "countersign-day": "yesterday"}
"""Ours, and what was there before (:mod:`benchmarks.batch.before`): the first folds everything, the other one goes on
from a checkpoint and folds a day's worth of events."""
ENGINES = (*OURS, "pandas", "pyspark")
NOT_THEIRS = ("verdict-not-reproducible",)
"""What needs the kernel; the others do not look for it."""
TOLERANCE = 1e-3


def _lake(orders: int, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the lake of so many orders, made first if it is not there."""
    folder = CACHE / str(orders)
    here = {
        **environ,
        "COUNTERSIGN_CATALOG": f"sqlite:///{folder}/catalog.db",
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "plugins"))),
    }
    if not (folder / "planted.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        print(f"{orders:,} orders: making the lake …", flush=True)
        _speaking([AIRFLOW, "-m", "benchmarks.batch.make", str(orders), str(folder)], here)
    return here


def _speaking(command: list[str], environ: Mapping[str, str]) -> None:
    """Run a command that speaks for itself.

    Raises:
        measure.ContenderFailed: it ended with an error.
    """
    code = subprocess.run(command, cwd=ROOT, env=dict(environ), check=False).returncode
    if code:
        raise measure.ContenderFailed(f"{' '.join(command)} ended with code {code}")


def _command(engine: str, orders: int) -> list[str]:
    if engine in OURS:
        return [AIRFLOW, "-m", "benchmarks.batch.ours"]
    return [BATCH, "-m", f"benchmarks.batch.with_{engine}", str(CACHE / str(orders))]


def _wrong(engine: str, orders: int, found: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with an engine's answers: the findings must be those planted, the signals ours."""
    planted = json.loads((CACHE / str(orders) / "planted.json").read_text())
    expected = {kind: n for kind, n in planted.items() if n and (engine in OURS or kind not in NOT_THEIRS)}
    wrong = []
    if found["findings"] != expected:
        wrong.append(f"findings are {found['findings']}, planted are {expected}")
    if engine not in OURS and not found["largest_difference"] <= TOLERANCE:
        wrong.append(f"a signal differs from ours by {found['largest_difference']}")
    return [f"{engine}, {orders:,} orders: {one}" for one in wrong]


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__)
    parser.add_argument(
        "--orders", type=_numbers, default=[10_000, 100_000, 1_000_000], help="how many, comma-separated"
    )
    parser.add_argument("--engines", type=_engines, default=list(ENGINES), help=f"of {','.join(ENGINES)}")
    parser.add_argument("--rounds", type=int, default=1, help="rounds of each; the median counts (default 1)")
    parser.add_argument("--make", action="store_true", help="only make the lakes")
    return parser.parse_args(arguments)


def _numbers(text: str) -> list[int]:
    if not all(one.isdecimal() and int(one) for one in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r}: whole numbers from 1, separated by commas")
    return [int(one) for one in text.split(",")]


def _engines(text: str) -> list[str]:
    if unknown := [one for one in text.split(",") if one not in ENGINES]:
        raise argparse.ArgumentTypeError(f"no such: {', '.join(unknown)}; there are {', '.join(ENGINES)}")
    return text.split(",")


def main(arguments: list[str] | None = None) -> int:
    """Measure, store, print; return the exit code: 0 all well, 1 something failed."""
    options = _options(arguments)
    failures: list[str] = []
    with Stack(CACHE / "stack", ports=Ports.free(), parts=("s3",)) as stack:
        for orders in options.orders:
            environ = _lake(orders, stack.environ)
            for engine in () if options.make else options.engines:
                try:
                    failures += _measure(engine, orders, environ, options.rounds)
                except measure.ContenderFailed as error:
                    failures.append(f"{engine}, {orders:,} orders: {error}")
    for failure in failures:
        print(f"bench-batch: {failure}", file=sys.stderr)
    print(f"all of it: {FILE}")
    return 1 if failures else 0


def _measure(engine: str, orders: int, environ: Mapping[str, str], rounds: int) -> list[str]:
    print(f"{orders:,} orders, {engine} …", flush=True)
    found = []
    for _ in range(rounds):
        if engine in OURS:
            before = [AIRFLOW, "-m", "benchmarks.batch.before", str(CACHE / str(orders)), OURS[engine]]
            _speaking(before, environ)
        found.append(measure.run(_command(engine, orders), environ))
    wrong = [one for each in found for one in _wrong(engine, orders, each)]
    seconds = statistics.median(one["seconds"] for one in found)
    row = found[0] | {
        "seconds": round(seconds, 2),
        "peak_mb": max(one["peak_mb"] for one in found),
        "microseconds_per_order": round(seconds / orders * 1e6, 1),
        "agrees": not wrong,
    }
    print(
        f"  {row['seconds']:.1f} s, {row['peak_mb']:,} MB, {row['microseconds_per_order']:.0f} µs an order", flush=True
    )
    here = results.circumstances()
    row |= {"measured_at": here["measured_at"]}
    results.write(results.merge(results.read(FILE), {engine: {str(orders): row}}), FILE)
    return wrong


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (StackError, measure.ContenderFailed) as error:
        print(f"bench-batch: {error}", file=sys.stderr)
        sys.exit(1)
