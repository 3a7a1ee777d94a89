"""The shop: sends sign-ups and orders to Kafka in order of their time, from a CSV or invented.

Every row of a CSV is either sent or reported with its line and reason; every record is either acknowledged by the
broker or counted as failed. A run that is repeated sends the same ids again, and the stream refuses the repeats.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from kafka_access import Refused
from order_fraud.events import Event, NewCustomer, NewOrder
from order_fraud.topics import CUSTOMER_EVENTS
from producers import book, countries, source
from producers.book import Book
from producers.countries import BadTable
from producers.interrupt import Interrupt
from producers.orders_csv import BadFile
from producers.outbox import NOT_LET_IN, BrokerUnusable, Outbox, bootstrap_from_environment, brokers

ALL_WELL, BAD_INPUT, ROWS_REJECTED, NO_BROKER, NOT_DELIVERED, INTERRUPTED = 0, 2, 3, 4, 5, 130
REASONS_SHOWN = 20
_PROGRESS_STEP = 500

_EPILOG = """
exit codes:
  0    all rows sent and acknowledged
  2    wrong usage, or the input cannot be read (no such file, a header without the needed columns)
  3    some rows were rejected; the good ones were sent and acknowledged
  4    no broker answers, or the topic is not there
  5    some records were not acknowledged by the broker
  6    Kafka refuses user, password or rights: the line says who was refused what
  130  interrupted; what was queued by then was sent

examples:
  python -m producers.shop --orders orders.csv
  python -m producers.shop --orders orders.csv --countries ip_to_country.csv
  python -m producers.shop --generate 10000 --seed 7 --rate 1000 --truth truth.csv
"""


@dataclass(frozen=True, slots=True)
class Summary:
    """What ``--summary`` writes: events acknowledged by the broker, what was left out, and the time for sending."""

    customers: int
    orders: int
    rejected_rows: int
    withheld: int
    seconds: float


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m producers.shop",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source.add_arguments(parser)
    parser.add_argument("--rate", type=source.positive, metavar="R", help="records per second (default: flat out)")
    parser.add_argument("--withhold", type=Path, metavar="FILE", help="order ids, one a line, that are not to be sent")
    parser.add_argument(
        "--misdirect",
        type=Path,
        metavar="FILE",
        help="order ids, one a line, that are to be sent under the order's id as key instead of the customer's, as a "
        "producer with an error would; the stream refuses them",
    )
    sign_ups = parser.add_mutually_exclusive_group()
    sign_ups.add_argument(
        "--withhold-sign-ups",
        type=Path,
        metavar="FILE",
        help="customer ids, one a line, whose sign-up is not to be sent",
    )
    sign_ups.add_argument(
        "--only-sign-ups", type=Path, metavar="FILE", help="send the sign-ups of these customers and nothing else"
    )
    countries.add_argument(parser)
    parser.add_argument("--truth", type=Path, metavar="FILE", help="write order_id,pattern of all orders to this CSV")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="write the counts to this JSON file")
    parser.add_argument(
        "--bootstrap",
        type=brokers,
        default=bootstrap_from_environment(),
        metavar="HOST:PORT",
        help="the Kafka broker (default: COUNTERSIGN_KAFKA, else the local stack; now %(default)s)",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = parse_arguments(arguments)
    screen = Console(stderr=True)
    try:
        orders = source.load(options)
        withhold = read_ids(options.withhold) if options.withhold else frozenset()
        misdirect = read_ids(options.misdirect) if options.misdirect else frozenset()
        orders, no_sign_up = _sign_ups(orders, options)
        country_of = countries.read(options.countries) if options.countries else None
        if options.truth:
            source.write_truth(orders, options.truth)
        if options.summary:
            options.summary.touch()  # better to learn now that it cannot be written than after the orders are sent
        outbox = Outbox(CUSTOMER_EVENTS, options.bootstrap, "shop")
    except (BrokerUnusable, Refused) as error:
        say(screen, f"error: {error}")
        return NOT_LET_IN if isinstance(error, Refused) else NO_BROKER
    except (BadFile, BadTable, OSError, UnicodeDecodeError) as error:
        say(screen, f"error: {error}")
        return BAD_INPUT
    started = time.monotonic()
    for row in country_of.rejected if country_of else ():
        say(screen, f"{options.countries}: left out: {row}")
    events = book.events(orders, withhold, country_of, no_sign_up)
    addressed = ((event.subject if event.subject in misdirect else key, event) for key, event in events)
    interrupted = not send(addressed, len(orders), outbox, options.rate, screen)
    summary = Summary(
        customers=outbox.acknowledged[NewCustomer.__name__],
        orders=outbox.acknowledged[NewOrder.__name__],
        rejected_rows=len(orders.rejected),
        withheld=sum(sale.order_id in withhold for sale in orders.sales),
        seconds=round(time.monotonic() - started, 3),
    )
    if options.summary:
        options.summary.write_text(json.dumps(asdict(summary), indent=2) + "\n")
    show(summary, orders, outbox, screen)
    if len(withhold) > summary.withheld:
        say(screen, f"{len(withhold) - summary.withheld:,} ids of {options.withhold} are not among these orders")
    if interrupted:
        return INTERRUPTED
    if outbox.failed:
        return NOT_DELIVERED
    return ROWS_REJECTED if orders.rejected else ALL_WELL


def _sign_ups(orders: Book, options: argparse.Namespace) -> tuple[Book, frozenset[str]]:
    """Return what is to be sent of a book, and the customers whose sign-up is left out, as the options ask."""
    if options.only_sign_ups:
        only = read_ids(options.only_sign_ups)
        return Book(tuple(row for row in orders.signups if row.user_id in only), (), orders.rejected), frozenset()
    return orders, read_ids(options.withhold_sign_ups) if options.withhold_sign_ups else frozenset()


def say(screen: Console, line: str) -> None:
    """Print a line as it is, however long and whatever brackets it has."""
    screen.print(line, highlight=False, markup=False, soft_wrap=True)


def send(events: Iterable[tuple[str, Event]], total: int, outbox: Outbox, rate: int | None, screen: Console) -> bool:
    """Send events under their keys and wait for all reports; False if interrupted.

    Args:
        events: with the key of each.
        total: how many there may be, for those who look on.
        outbox: of their topic.
        rate: at most so many records a second; None for as many as the broker takes.
        screen: where people look.
    """
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Interrupt() as interrupt, Progress(*columns, console=screen) as progress:
        task = progress.add_task(f"sending to {CUSTOMER_EVENTS.name}", total=total)
        for number, (key, event) in enumerate(events):
            if rate:
                outbox.wait(until=started + number / rate)
            if interrupt.asked:
                break
            outbox.send(key, event)
            if number % _PROGRESS_STEP == 0:
                progress.update(task, completed=number)
        else:
            progress.update(task, total=outbox.sent)
        progress.update(task, completed=outbox.sent)
        outbox.close()
    return not interrupt.asked


def read_ids(path: Path) -> frozenset[str]:
    """The order ids of a file, one a line; blank lines count for nothing."""
    return frozenset(line.strip() for line in path.read_text().splitlines() if line.strip())


def show(summary: Summary, orders: Book, outbox: Outbox, screen: Console) -> None:
    """Print the counts, the first rejected rows and what was not delivered."""
    table = Table(title=f"sent to {CUSTOMER_EVENTS.name}", title_justify="left")
    table.add_column("what")
    table.add_column("number", justify="right")
    lines = {
        "customers": f"{summary.customers:,}",
        "orders": f"{summary.orders:,}",
        "orders withheld": f"{summary.withheld:,}",
        "rows rejected": f"{summary.rejected_rows:,}",
        "records not delivered": f"{outbox.failed:,}",
        "seconds": f"{summary.seconds:.2f}",
        "records per second": f"{outbox.acknowledged.total() / max(summary.seconds, 0.001):,.0f}",
    }
    for what, number in lines.items():
        table.add_row(what, number)
    screen.print(table)
    for row in orders.rejected[:REASONS_SHOWN]:
        say(screen, f"rejected {row}")
    if len(orders.rejected) > REASONS_SHOWN:
        say(screen, f"... and {len(orders.rejected) - REASONS_SHOWN:,} more rejected rows")
    for reason, times in outbox.failures.most_common():
        say(screen, f"not delivered: {times:,} x {reason}")


if __name__ == "__main__":
    sys.exit(main())
