"""Writes generated orders to files: the public CSV format, and the ground truth of every order."""

import argparse
import sys
from pathlib import Path

from producers import orders_csv, patterns, source


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m producers.generate",
        description=__doc__,
        epilog="The same number and seed give the same orders as `python -m producers.shop --generate N --seed S`.",
    )
    parser.add_argument("orders", type=source.positive, metavar="N", help="how many orders")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="the same seed gives the same (default 1)")
    parser.add_argument("--write-csv", type=Path, required=True, metavar="FILE", help="where the orders go")
    parser.add_argument("--truth", type=Path, metavar="FILE", help="write order_id,pattern of all orders here")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 2 if a file cannot be written."""
    options = parse_arguments(arguments)
    book = patterns.generate(options.orders, options.seed)
    try:
        with options.write_csv.open("w", newline="") as stream:
            orders_csv.write((sale.row for sale in book.sales), stream)
        if options.truth:
            source.write_truth(book, options.truth)
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    print(f"{len(book.sales):,} orders of {len(book.signups):,} customers in {options.write_csv}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
