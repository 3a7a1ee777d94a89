"""``python -m stack.demo``: the whole way once, from a sign-up to the countersigned report, on real components."""

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from producers import source
from producers.orders_csv import BadFile
from stack.demo.airflow import AirflowError
from stack.demo.result import ALL_WELL, NOT_WELL, ROWS_REJECTED, Result, complaints
from stack.demo.story import Demo, DemoFailed
from stack.errors import StackError
from stack.site import ROOT
from stack.stack import Stack

GENERATED = 5_000
USAGE = 2


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m stack.demo",
        description=__doc__,
        epilog="Starts from empty topics and an empty lake. Writes .stack/demo.json (the counts), .stack/planted.json "
        "(what was planted) and .stack/report.html. Exit codes: 0 all well, 1 something is not (the last lines say "
        "what), 2 wrong usage or unusable input, 3 all well but for rows of the file that were rejected.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--orders", type=Path, metavar="FILE", help="a CSV in the public e-commerce format")
    which.add_argument(
        "--generate",
        type=source.positive,
        metavar="N",
        help=f"invent N orders (default, without --orders: {GENERATED})",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of invented orders and planted faults (1)")
    parser.add_argument("--faults", type=int, choices=[0, 1], default=0, help="1: plant faults; they must all be found")
    parser.add_argument(
        "--keep",
        choices=["auto", "0", "1"],
        default="auto",
        help="1: keep the stack up until Ctrl-C; 0: stop it at the end; auto: keep it if this is a terminal",
    )
    parser.add_argument("--run-dir", type=Path, default=ROOT / ".stack", help="its run-time files (default: .stack)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="stream workers (1)")
    options = parser.parse_args(arguments)
    if options.orders is None and options.generate is None:
        options.generate = GENERATED
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; return its exit code."""
    options = parse(arguments)
    screen = Console(stderr=True, highlight=False)
    try:
        book = source.load(options)
    except BadFile as error:
        screen.print(f"[red]{error}", markup=True)
        return USAGE
    if not book.sales:
        screen.print(f"there is not one usable order in {options.orders}")
        return USAGE
    orders_from = (
        ["--orders", str(options.orders.resolve())] if options.orders else ["--generate", str(options.generate)]
    )
    started = time.monotonic()
    screen.print(f"{len(book.sales):,} orders; starting the stack (Airflow takes half a minute) …")
    stack = Stack(options.run_dir, workers=options.workers, fresh=True, tell=lambda line: screen.print(f"  {line}"))
    try:
        with stack:
            demo = Demo(stack, book, orders_from, options.seed, bool(options.faults), screen)
            demo.result.seconds["setup"] = round(time.monotonic() - started, 1)
            code = play(demo, screen)
            if options.keep == "1" or (options.keep == "auto" and sys.stdout.isatty() and sys.stdin.isatty()):
                keep(demo, screen)
    except StackError as error:
        screen.print(str(error), markup=False)
        return NOT_WELL
    except KeyboardInterrupt:
        return 130
    return code


def play(demo: Demo, screen: Console) -> int:
    """Run the story, show and store its result, and return the exit code."""
    lines: list[str] = []
    try:
        demo.tell()
    except (DemoFailed, AirflowError) as error:
        lines.append(str(error))
    lines += complaints(demo.result, demo.comparisons, demo.planted)
    demo.result.write(demo.stack.run_dir / "demo.json")
    show(demo, screen)
    for line in lines:
        screen.print(f"NOT WELL: {line}", style="red", markup=False)
    if lines:
        return NOT_WELL
    if demo.result.rejected_rows:
        screen.print(f"All is well but for {demo.result.rejected_rows} rejected rows (reasons above).", style="yellow")
        return ROWS_REJECTED
    screen.print("All is well.", style="green")
    return ALL_WELL


def show(demo: Demo, screen: Console) -> None:
    """Print what ``demo.json`` holds, planted against found, and where to look on."""
    screen.print(counts(demo.result))
    if demo.comparisons:
        table = Table(title="faults: planted and found", title_justify="left")
        for column in ("kind", "planted", "found", "order by order"):
            table.add_column(column, justify="right" if column in ("planted", "found") else "left")
        for row in demo.comparisons:
            same = "the same" if row.equal else f"{len(row.missed)} missed, {len(row.invented)} invented"
            table.add_row(row.kind, str(row.planted), str(row.found), same)
        screen.print(table)
    env, secrets = demo.stack.env, demo.stack.run_dir / "secrets.json"
    inside = env["COUNTERSIGN_AIRFLOW"]
    seen = demo.pages.get("reconcile_orders", inside).replace(inside, env.get("COUNTERSIGN_AIRFLOW_SEEN", inside))
    if "report" in demo.pages:
        screen.print(f"report   {demo.pages['report']}", soft_wrap=True)
    screen.print(
        f"Airflow  {seen}  "
        f"(user {env['COUNTERSIGN_AIRFLOW_USER']}, password in {_shown(secrets) if secrets.exists() else '.env'})",
        soft_wrap=True,
    )


def counts(result: Result) -> Table:
    """Return the counts of a run as a table."""
    table = Table(title="what came of it", title_justify="left")
    table.add_column("what")
    table.add_column("value", justify="right")
    for name, value in json.loads(json.dumps(vars(result))).items():
        if isinstance(value, dict):
            for part, number in value.items():
                table.add_row(f"{name.replace('_', ' ')}: {part}", _plain(number))
        else:
            table.add_row(name.replace("_", " "), _plain(value))
    return table


def _plain(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def keep(demo: Demo, screen: Console) -> None:
    """Keep the stack up until Ctrl-C, or until a part of it dies."""
    screen.print("The stack stays up. Ctrl-C stops it and leaves no process behind.")
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            demo.stack.check()
            time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
