"""The review desk and the payment provider: sends what orders turned out to be, so that the histories learn of it.

Without further options, every order whose class is fraud is charged back --delay-days after it was placed. --labels
takes a file instead, and --confirm, --clear and --charge-back name single orders; each may be given several times.
Customer, device, ip, card, mail domain and address are those of the order book. Saying the same again is harmless: an
order counts once, however often it is called fraud, and not at all once it is cleared.
"""

import argparse
import csv
import json
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from kafka_access import Refused
from order_fraud.topics import CUSTOMER_EVENTS
from producers import fields, labels, source
from producers.book import BadRow, Book
from producers.fields import BadField
from producers.labels import WORDS, Word
from producers.orders_csv import BadFile
from producers.outbox import NOT_LET_IN, BrokerUnusable, Outbox, bootstrap_from_environment, brokers
from producers.shop import (
    ALL_WELL,
    BAD_INPUT,
    INTERRUPTED,
    NO_BROKER,
    NOT_DELIVERED,
    REASONS_SHOWN,
    ROWS_REJECTED,
    say,
    send,
)

MOST_DAYS = 3_650

_EPILOG = f"""
A file of labels has one order a line, order_id,label or order_id,label,time; a label is one of
{", ".join(WORDS)}; a header line that begins with order_id is skipped.

exit codes:
  0    all sent and acknowledged
  2    wrong usage, an order that is not in the book, or a file that cannot be read
  3    some lines were refused; the good ones were sent and acknowledged
  4    no broker answers, or the topic is not there
  5    some records were not acknowledged by the broker; run the same command again
  6    Kafka refuses user, password or rights: the line says who was refused what
  130  interrupted; what was queued by then was sent, and running again does no harm

examples:
  python -m producers.feedback --orders orders.csv --delay-days 45
  python -m producers.feedback --orders orders.csv --confirm 22058-1 --by anna --at 2015-05-01T09:30:00Z
  python -m producers.feedback --orders orders.csv --clear 22058-1 --by anna
  python -m producers.feedback --generate 10000 --seed 7 --labels reviewed.csv --until 2015-03-01T00:00:00Z
"""


@dataclass(frozen=True, slots=True)
class Summary:
    """What ``--summary`` writes: events acknowledged by the broker, what was left out, and the time for sending."""

    confirmed: int
    cleared: int
    charged_back: int
    not_yet: int
    rejected_lines: int
    seconds: float


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m producers.feedback",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source.add_arguments(parser)
    what = parser.add_argument_group("what is said (by default: chargebacks of all that the class column calls fraud)")
    what.add_argument("--labels", type=Path, metavar="FILE", help="a CSV of orders and what is said of them")
    for option, word in (("--confirm", "confirmed"), ("--clear", "cleared"), ("--charge-back", "chargeback")):
        what.add_argument(option, dest=word, action="append", default=[], metavar="ORDER_ID", help=_MEANING[word])
    what.add_argument("--by", type=_by, metavar="WHO", help="the reviewer, or the provider's id of the dispute")
    when = parser.add_argument_group("when it is said, in business time")
    when.add_argument(
        "--delay-days", type=_days, default=30.0, metavar="D", help="after the order (default 30); may be a fraction"
    )
    when.add_argument("--at", type=_moment, metavar="ISO", help="of the orders named by options, instead of the delay")
    when.add_argument(
        "--until",
        type=_moment,
        metavar="ISO",
        help="leave out what is said later (default: now, since an event of the future is refused)",
    )
    parser.add_argument("--rate", type=source.positive, metavar="R", help="records per second (default: flat out)")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="write the counts to this JSON file")
    parser.add_argument(
        "--bootstrap",
        type=brokers,
        default=bootstrap_from_environment(),
        metavar="HOST:PORT",
        help="the Kafka broker (default: COUNTERSIGN_KAFKA, else the local stack; now %(default)s)",
    )
    options = parser.parse_args(arguments)
    if options.at and not any(getattr(options, word) for word in WORDS):
        parser.error("--at is of orders named by --confirm, --clear or --charge-back, and none is named")
    return options


_MEANING = {
    "confirmed": "a person found this order to be fraud",
    "cleared": "a person found this order to be honest; takes back the other two",
    "chargeback": "the cardholder's bank takes the money of this order back",
}


def _by(text: str) -> str | None:
    try:
        return fields.text("the name", text)
    except BadField as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days") from None
    if not 0 <= days <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {MOST_DAYS:,} days")
    return days


def _moment(text: str) -> datetime:
    try:
        return fields.time("the time", text)
    except BadField as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = parse_arguments(arguments)
    screen = Console(stderr=True)
    try:
        words, rejected = collect(source.load(options), options)
        if options.summary:
            options.summary.touch()
        outbox = Outbox(CUSTOMER_EVENTS, options.bootstrap, "feedback")
    except (BrokerUnusable, Refused) as error:
        say(screen, f"error: {error}")
        return NOT_LET_IN if isinstance(error, Refused) else NO_BROKER
    except (BadFile, BadField, OSError, UnicodeDecodeError, csv.Error) as error:
        say(screen, f"error: {error}")
        return BAD_INPUT
    until = options.until or datetime.now(UTC)
    due = [word for word in words if word.time <= until]
    started = time.monotonic()
    pairs = ((word.data.customer_id, word) for word in due)
    interrupted = not send(pairs, len(due), outbox, options.rate, screen)
    sent = {name: outbox.acknowledged[kind.__name__] for name, kind in WORDS.items()}
    summary = Summary(
        confirmed=sent["confirmed"],
        cleared=sent["cleared"],
        charged_back=sent["chargeback"],
        not_yet=len(words) - len(due),
        rejected_lines=len(rejected),
        seconds=round(time.monotonic() - started, 3),
    )
    if options.summary:
        options.summary.write_text(json.dumps(asdict(summary), indent=2) + "\n")
    show(summary, until, rejected, outbox, screen)
    if interrupted:
        return INTERRUPTED
    if outbox.failed:
        return NOT_DELIVERED
    return ROWS_REJECTED if rejected else ALL_WELL


def collect(book: Book, options: argparse.Namespace) -> tuple[list[Word], list[BadRow]]:
    """Return what the options ask to be said, in order of time, and the lines of the labels that were refused.

    Raises:
        BadField: a named order is not in the book, comes after ``--at``, or nothing at all is known of the orders.
        OSError: the labels cannot be read.
    """
    delay = timedelta(days=options.delay_days)
    sales = {sale.order_id: sale for sale in book.sales}
    named = [(kind, labels.find(sales, one)) for name, kind in WORDS.items() for one in getattr(options, name)]
    words: list[Word] = []
    for kind, sale in named:
        moment = options.at or sale.row.purchase_time + delay
        if moment < sale.row.purchase_time:
            raise BadField(f"--at is before order {sale.order_id} itself ({sale.row.purchase_time.isoformat()})")
        words.append(labels.said(kind, sale, moment, options.by))
    rejected: list[BadRow] = []
    if options.labels:
        with options.labels.open(newline="") as stream:
            for found in labels.read(stream, sales, delay, options.by):
                rejected.append(found) if isinstance(found, BadRow) else words.append(found)
    elif not named:
        words += labels.charged_back(book, delay, options.by)
        if not words:
            raise BadField(
                "nothing is known of these orders: no row has 1 in a column `class`; give --labels FILE, or name "
                "orders with --confirm, --clear or --charge-back"
            )
    return sorted(words, key=lambda word: (word.time, word.id)), rejected


def show(summary: Summary, until: datetime, rejected: list[BadRow], outbox: Outbox, screen: Console) -> None:
    """Print the counts, the first refused lines and what was not delivered."""
    say(
        screen,
        f"sent to {CUSTOMER_EVENTS.name}: {summary.confirmed:,} confirmed, {summary.cleared:,} cleared, "
        f"{summary.charged_back:,} charged back, in {summary.seconds:.2f} s",
    )
    if summary.not_yet:
        say(screen, f"left out, since they come after {until.isoformat(timespec='seconds')}: {summary.not_yet:,}")
    for row in rejected[:REASONS_SHOWN]:
        say(screen, f"rejected {row}")
    if len(rejected) > REASONS_SHOWN:
        say(screen, f"... and {len(rejected) - REASONS_SHOWN:,} more rejected lines")
    for reason, times in outbox.failures.most_common():
        say(screen, f"not delivered: {times:,} x {reason}")


if __name__ == "__main__":
    sys.exit(main())
