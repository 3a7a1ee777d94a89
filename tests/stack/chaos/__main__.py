"""``python -m tests.stack.chaos``: does the pipeline keep its promise while everything around it breaks?"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from stack.errors import StackError
from stack.site import ROOT
from tests.stack.chaos import plan
from tests.stack.chaos.result import Result
from tests.stack.chaos.run import ChaosFailed, Progress, play

CLEAN, NOT_CLEAN, USAGE, NOT_PLAYED = 0, 1, 2, 3
TELL_EVERY_S = 10.0
LASTS_S = 20
"""Start, last outcomes and judgement, beside the faults."""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    kinds = "\n".join(f"  {kind:<13} {meaning}" for kind, meaning in plan.MEANING.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.stack.chaos",
        description="Plays a seeded schedule of faults on a real Kafka broker and real stream workers, under a load of "
        f"{plan.RATE:.0f} records a second, on free ports and in a folder of its own. Then a checker, written apart "
        "from the streams, reads every topic read_committed: each order one verdict and one delivery outcome, each "
        "hop folded again gives the same bytes, each bad record is a dead letter and nothing else is.",
        epilog=f"""faults:
{kinds}

A worker that ends by itself (fenced off, no broker) is started again after half a second, as a supervisor would, and
counted. The same seed gives the same faults, times, targets and records; how the machine interleaves them is its own.
A fault comes every {plan.SPACING_S:.0f} s on the average: 200 take about {200 * plan.SPACING_S / 60 + 1:.0f} minutes.

exit codes: {CLEAN} clean, {NOT_CLEAN} something is wrong (the last lines and the file say what), {USAGE} wrong usage, \
{NOT_PLAYED} could not be played to its end

examples:
  make chaos FAULTS=200 SEED=7
  python -m tests.stack.chaos --faults 30 --seed 7 --keep               a failing seed once more, keeping logs and data
  python -m tests.stack.chaos --faults 50 --worker COUNTERSIGN_STATE=rocksdb
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--faults", type=int, default=30, metavar="N", help="how many (default: 30)")
    parser.add_argument("--seed", type=int, metavar="S", help="of the plan (default: drawn, and printed)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="at the start, 1 to 5 (default: 2)")
    parser.add_argument("--rate", type=float, default=plan.RATE, help=f"records a second (default: {plan.RATE:.0f})")
    parser.add_argument("--worker", action="append", default=[], metavar="NAME=VALUE", help="a setting of the workers")
    parser.add_argument("--out", type=Path, default=ROOT / ".stack" / "chaos.json", help="default: .stack/chaos.json")
    parser.add_argument("--keep", action="store_true", help="if it is not clean, keep the broker's data and all logs")
    options = parser.parse_args(arguments)
    if any("=" not in setting for setting in options.worker):
        parser.error("--worker wants NAME=VALUE")
    if options.rate <= 0:
        parser.error(f"--rate {options.rate}: records a second must be more than 0")
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1_000_000)
    return options


class Teller:
    """Says what happens as it happens, and every ten seconds how far it is."""

    def __init__(self, screen: Console, faults: int) -> None:
        self._screen = screen
        self._faults = faults
        self._told = time.monotonic()

    def __call__(self, progress: Progress, line: str) -> None:
        """Take what happened; see :data:`tests.stack.chaos.run.Watcher`."""
        if line:
            self._screen.print(f"{progress.second:6.1f} s  {line}", markup=False, soft_wrap=True)
        now = time.monotonic()
        if now - self._told > TELL_EVERY_S:
            self._told = now
            self._screen.print(
                f"{progress.second:6.1f} s  {progress.faults} of {self._faults} faults, {progress.sent:,} sent, "
                f"{progress.decided:,} of {progress.orders:,} orders decided, {progress.letters} dead letters",
                style="cyan",
                markup=False,
            )


def main(arguments: list[str] | None = None) -> int:
    """Make the plan, play it, show and store the result; return the exit code."""
    options = parse(arguments)
    screen = Console(stderr=True, highlight=False, soft_wrap=True)
    again = f"make chaos FAULTS={options.faults} SEED={options.seed}"
    screen.print(f"seed {options.seed} (again: {again}); inventing the orders …")
    try:
        made = plan.make(options.faults, options.seed, options.workers, options.rate)
    except ValueError as error:
        screen.print(str(error), markup=False)
        return USAGE
    screen.print(
        f"plan {made.fingerprint}: {len(made.faults)} faults and {len(made.tape):,} records in {made.seconds:.0f} s; "
        f"about {(made.seconds + LASTS_S) / 60:.0f} minutes in all"
    )
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    code = NOT_PLAYED
    try:
        settings = dict(setting.split("=", 1) for setting in options.worker)
        result = Result(made, play(made, folder, settings, Teller(screen, len(made.faults))))
        result.write(options.out)
        result.show(screen)
        code = CLEAN if result.clean else NOT_CLEAN
        screen.print(f"{options.out} has the figures")
    except (ChaosFailed, StackError) as error:
        screen.print(str(error), style="red", markup=False)
    except KeyboardInterrupt:
        return 130
    finally:
        if options.keep and code != CLEAN:
            screen.print(f"logs of workers and broker: {folder / 'logs'}; the broker's data: {folder / 'kafka'}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if code == CLEAN:
        screen.print(f"Clean. Seed {options.seed}; again: {again}", style="green")
    else:
        screen.print(f"NOT CLEAN. Seed {options.seed}; again, keeping logs and data: {again} KEEP=1", style="red")
    return code


if __name__ == "__main__":
    sys.exit(main())
