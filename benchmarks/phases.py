"""Where the time of one of our workers goes: the real worker, with a stop watch around each phase.

``python -m benchmarks.phases --index 1`` is a worker like any other that also writes the sums to ``phases.json``. The
stop watches cost about 0.1 microseconds each, so the sums are a few per cent too high; shares are what counts.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks import load as loads
from benchmarks.ground import Ground, ground
from benchmarks.load import Shop
from benchmarks.reading import VerdictWatch
from benchmarks.registry import OURS, phased

FILE = "phases.json"
HOPS = 3


class Phases:
    """Sums of seconds by phase; a phase within another one counts for itself alone."""

    def __init__(self) -> None:
        """Nothing was measured yet."""
        self.seconds: dict[str, float] = {}
        self._within: list[float] = []

    def watch(
        self, name: str, function: Callable[..., Any], counts: Callable[[Any], bool] = lambda result: True
    ) -> Callable[..., Any]:
        """Return the function with a stop watch around it; a call whose result does not count is not added."""
        seconds, within, now = self.seconds, self._within, time.perf_counter
        seconds[name] = 0.0

        def watched(*arguments: Any, **options: Any) -> Any:
            within.append(0.0)
            started = now()
            try:
                result = function(*arguments, **options)
            except BaseException:
                within.pop()  # a record refused: its time counts for whoever asked
                raise
            spent = now() - started
            own = spent - within.pop()
            if counts(result):
                seconds[name] += own
            if within:
                within[-1] += spent
            return result

        return watched

    def put_on(self, owner: Any, attribute: str, name: str) -> None:
        """Replace a function or method by the watched one."""
        setattr(owner, attribute, self.watch(name, getattr(owner, attribute)))


def work(index: str, folder: Path) -> int:
    """Run one worker with stop watches on it."""
    from streams import exactly_once, fraud
    from streams.__main__ import main
    from streams.exactly_once import ExactlyOnce
    from streams.polling import Poller
    from streams.state.table import Table

    phases = Phases()
    phases.put_on(fraud, "receive", "decode and check")
    phases.put_on(fraud, "step", "advance histories, judge")
    phases.put_on(fraud, "encode", "encode")
    phases.put_on(fraud, "pass_hop", "loop over the batch")
    phases.put_on(exactly_once, "send_outputs", "produce outputs")
    phases.put_on(Table, "changes", "pack changelog")
    phases.put_on(exactly_once, "send_changes", "produce changelog")
    phases.put_on(Table, "commit", "keep changes")
    phases.put_on(Poller, "_group", "group by partition")
    # A poll that brings nothing is a worker without work.
    Poller.poll = phases.watch("poll", Poller.poll, lambda poll: bool(poll.batches))  # type: ignore[method-assign]
    phases.put_on(ExactlyOnce, "commit", "commit (and wait for the broker)")
    commit = ExactlyOnce.commit

    def commit_and_tell(self: ExactlyOnce) -> None:
        commit(self)
        fresh = folder / f"{FILE}.new"
        fresh.write_text(json.dumps(phases.seconds))
        fresh.replace(folder / FILE)

    ExactlyOnce.commit = commit_and_tell  # type: ignore[method-assign]
    return main(["worker", "--index", index, "--log-level", "WARNING"])


def measure(orders: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return the wall-clock microseconds per record and hop that each phase takes during a burst of orders.

    Raises:
        ContenderDied: the worker ended.
        TimeoutError: verdicts stayed out.
    """
    load = loads.make(orders)
    with ground(phased(OURS)) as found:
        found.crew.start(1)
        watch, shop = VerdictWatch(found.bootstrap), Shop(found.bootstrap)
        shop.send(load.warm_up)
        watch.wait(load.warm_up_orders, found.crew.check)
        time.sleep(1)
        before, cpu = _sums(found), _threads(found)
        started = shop.send(load.burst)
        watch.wait(load.warm_up_orders + len(load.burst), found.crew.check)
        time.sleep(0.5)  # the last commit's sums are on their way
        after, wall = _sums(found), watch.last_arrival - started
        cpu = {name: seconds - cpu.get(name, 0.0) for name, seconds in _threads(found).items()}
        watch.close()
    per_record = 1e6 / (len(load.burst) * HOPS)
    spent = {name: round((seconds - before[name]) * per_record, 2) for name, seconds in after.items()}
    spent["between phases (Faust, event loop, threads)"] = round(wall * per_record - sum(spent.values()), 2)
    result = {
        "unit": "microseconds of wall clock per record and hop",
        "phases": dict(sorted(spent.items(), key=lambda item: -item[1])),
        "whole": round(wall * per_record, 2),
        "cpu_by_thread": {name: round(seconds * per_record, 2) for name, seconds in cpu.items()},
        "orders_per_second": round(len(load.burst) / wall),
    }
    tell(f"profile: {result['whole']} µs per record and hop: {result['phases']}")
    return result


def _sums(found: Ground) -> dict[str, float]:
    sums: dict[str, float] = json.loads((found.folder / FILE).read_text())
    return sums


def _threads(found: Ground) -> dict[str, float]:
    """Return the processor seconds of Python's threads and of librdkafka's, where the system tells their names."""
    pid = found.crew.running[1].pid
    used = {"python": 0.0, "librdkafka": 0.0}
    for thread in psutil.Process(pid).threads():
        name = Path(f"/proc/{pid}/task/{thread.id}/comm")
        try:
            is_ours = not name.read_text().startswith("rdk:")
        except OSError:
            is_ours = True
        used["python" if is_ours else "librdkafka"] += thread.user_time + thread.system_time
    return used


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.phases", description=__doc__)
    parser.add_argument("--index", required=True)
    sys.exit(work(parser.parse_args().index, Path(os.environ["BENCH_FOLDER"])))
