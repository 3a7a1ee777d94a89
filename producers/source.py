"""Where a command gets its orders from: the options ``--orders FILE`` and ``--generate N --seed S``.

The producer, the sandbox feed and the fault plan must see the same order ids, so all of them read through here.
"""

import argparse
import csv
from pathlib import Path

from rich.console import Console

from producers import orders_csv, patterns
from producers.book import Book

MOST_GENERATED = 10_000_000


def positive(text: str) -> int:
    """An argument that counts something.

    Raises:
        argparse.ArgumentTypeError: not a whole number from 1 to ten million.
    """
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if not 1 <= number <= MOST_GENERATED:
        raise argparse.ArgumentTypeError(f"{number} is not between 1 and {MOST_GENERATED:,}")
    return number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--orders``, ``--generate`` and ``--seed`` to a command."""
    group = parser.add_argument_group("where the orders come from (one of the first two)")
    which = group.add_mutually_exclusive_group(required=True)
    which.add_argument("--orders", type=Path, metavar="FILE", help="a CSV in the public e-commerce format")
    which.add_argument("--generate", type=positive, metavar="N", help="invent N orders, fraud patterns among them")
    group.add_argument("--seed", type=int, default=1, metavar="S", help="the same seed gives the same (default 1)")


def load(arguments: argparse.Namespace) -> Book:
    """Return the book that the options ask for.

    Raises:
        orders_csv.BadFile: the file cannot be read as an order CSV.
    """
    screen = Console(stderr=True)
    if arguments.orders is not None:
        with screen.status(f"reading {arguments.orders}"):
            return orders_csv.read(arguments.orders)
    with screen.status(f"inventing {arguments.generate:,} orders"):
        return patterns.generate(arguments.generate, arguments.seed)


def write_truth(book: Book, path: Path) -> None:
    """Write what each order really was, for evaluation."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("order_id", "pattern"))
        writer.writerows((sale.order_id, sale.row.truth) for sale in book.sales)
