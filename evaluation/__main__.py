"""Measures how well orders are judged: the hand-set scorecard, the one that is learned on the way, and boosted trees.

Labelled orders pass the real relay in the order of their time, every one judged before its label is known; labels come
back later, as events. Prints tables, and stores the figures as JSON."""

import argparse
import sys
from datetime import timedelta
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from producers import orders_csv, source
from producers.book import Book

EPILOG = """
examples:
  make evaluate ORDERS=orders.csv            the public e-commerce fraud set, or a file in its columns
  make evaluate GENERATE=20000 SEED=42       invented orders; each kind of fraud is listed on its own

what is measured:
  prequential        each order judged before its label is known; labels arrive --delay days after their order, to the
                     histories as events and to the models; every --refit days the models learn anew. Until there are
                     25 known frauds and 25 known honest orders, all models say what the hand-set scorecard says
  time_split_80_20   the first 80 % by time are learned from, the last 20 % judged (Amazon's Fraud Dataset Benchmark)

  recall at an FPR   share of fraud above the lowest threshold that no more than this share of the honest orders
                     reaches; tied orders are in or out together

exit codes: 0 measured; 2 the orders cannot be read, or have no labels
"""
DETAIL = "evaluate-detail.json"


class Unlabelled(ValueError):
    """Orders whose truth is not known cannot be evaluated with."""


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m evaluation",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source.add_arguments(parser)
    parser.add_argument(
        "--delay", type=source.positive, default=14, metavar="DAYS", help="until a label is known (default 14)"
    )
    parser.add_argument("--refit", type=source.positive, default=7, metavar="DAYS", help="between two fits (default 7)")
    parser.add_argument(
        "--output", type=Path, default=Path(".stack/evaluate.json"), metavar="FILE",
        help=f"where the figures go, {DETAIL} beside it (default .stack/evaluate.json)",
    )  # fmt: skip
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw what is found at which price here, as SVG")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = parse_arguments(arguments)
    try:
        book = labelled(source.load(options))
    except (orders_csv.BadFile, Unlabelled) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if book.rejected:
        print(f"{len(book.rejected)} rows are left out; the first: {book.rejected[0]}", file=sys.stderr)
    measure(book, options)
    return 0


def labelled(book: Book) -> Book:
    """Return the book if the truth of every order is known.

    Raises:
        Unlabelled: the class column is missing or empty somewhere, or there is no fraud, or nothing else.
    """
    unknown = next((sale for sale in book.sales if sale.row.truth == "unknown"), None)
    if unknown is not None:
        raise Unlabelled(
            f"line {unknown.row.line}: it is not known whether order {unknown.order_id} was fraud: its column `class` "
            "must be 0 or 1"
        )
    frauds = sum(sale.row.truth != "normal" for sale in book.sales)
    if not 0 < frauds < len(book.sales):
        raise Unlabelled(f"{frauds} of {len(book.sales)} orders are fraud: there is nothing to tell apart")
    return book


def measure(book: Book, options: argparse.Namespace) -> None:
    """Run both protocols, print the tables, and store the figures."""
    from evaluation import protocols, results  # scikit-learn takes a second that --help should not

    delay, refit = timedelta(days=options.delay), timedelta(days=options.refit)
    screen = Console(stderr=True)
    columns = TextColumn("{task.description:18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=screen, refresh_per_second=4) as progress:
        first = progress.add_task("prequential", total=len(book.sales))
        second = progress.add_task("time split", total=len(book.sales))
        by_protocol = {
            results.PREQUENTIAL: protocols.prequential(book, delay, refit, lambda n: progress.advance(first, n)),
            results.TIME_SPLIT: protocols.time_split(book, delay, lambda n: progress.advance(second, n)),
        }
    out = Console(width=None if sys.stdout.isatty() else 130)
    for table in results.tables(by_protocol):
        out.print(table)
    settings = {
        "orders": None if options.orders is None else options.orders.name,
        "generate": options.generate,
        "seed": None if options.generate is None else options.seed,
        "delay_days": options.delay,
        "refit_days": options.refit,
        "rejected": len(book.rejected),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    for path, content in (
        (options.output, results.figures(by_protocol)),
        (options.output.with_name(DETAIL), results.detail(by_protocol, settings)),
    ):
        path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")
        out.print(f"stored in {path}")
    if options.picture:
        from evaluation import picture

        picture.draw(by_protocol, options.picture)
        out.print(f"drawn in {options.picture}")


if __name__ == "__main__":
    sys.exit(main())
