"""Forges what the warehouse is told: releases that no verdict stands behind, holds of long ago, or clearances.

For tests and demonstrations only. A release is what a compromised handheld would send, DeliveryReleased for orders that
nobody cleared. A hold (``--what held``) with ``--stamped`` is what the topic has of an order that was held at that
time and that nobody has decided since. A clearance (``--what cleared``) is a NoFraudDetected on fraud.verdicts for
orders that never came in: whoever may write there can have parcels sent. The file has one order a line,
``order_id,customer_id`` or ``order_id,customer_id,time``; a header line is skipped.
"""

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from order_fraud.events import Delivery, DeliveryHeld, DeliveryReleased, NoFraudDetected, Verdict
from order_fraud.topics import DELIVERY_EVENTS, FRAUD_VERDICTS
from producers import fields
from producers.book import BadRow
from producers.outbox import BrokerUnusable, Outbox, bootstrap_from_environment
from scorecards import PANEL

SOURCE = "/warehouse-handheld"
CAUSE = "forged"
Told = DeliveryReleased | DeliveryHeld | NoFraudDetected
DELIVERIES: Mapping[str, type[DeliveryReleased | DeliveryHeld]] = {"released": DeliveryReleased, "held": DeliveryHeld}
CLEARED = "cleared"
WHAT: Mapping[str, str] = {"released": "releases", "held": "holds", CLEARED: "clearances"}
"""What can be forged, and what people call several of it."""
ALL_WELL, BAD_INPUT, ROWS_REJECTED, NO_BROKER, NOT_DELIVERED = 0, 2, 3, 4, 5


def forged(order_id: str, customer_id: str, time: datetime, what: str = "released") -> Told:
    """What no verdict, or no order, stands behind; it bears the id that the service would give it."""
    if what == CLEARED:
        return _cleared(order_id, customer_id, time)
    return DELIVERIES[what](
        id=f"delivery/{order_id}/{what}",
        source=SOURCE,
        subject=order_id,
        time=time,
        data=Delivery(order_id=order_id, customer_id=customer_id, cause=CAUSE),
    )


def _cleared(order_id: str, customer_id: str, time: datetime) -> NoFraudDetected:
    return NoFraudDetected(
        id=f"verdict/{order_id}",
        source=SOURCE,
        subject=order_id,
        time=time,
        data=Verdict(
            order_id=order_id,
            customer_id=customer_id,
            amount=0,
            currency="USD",
            score=0,
            reasons=(),
            signals={},
            scorecard_version=PANEL.active.version,
            outcome="clear",
        ),
    )


def read(lines: Iterable[str], default_time: datetime | None, what: str = "released") -> Iterator[Told | BadRow]:
    """Yield an event, or what is wrong, for every line that is neither blank nor a header.

    Args:
        lines: ``order_id,customer_id[,time]``; the time is the order's, in UTC.
        default_time: for lines without one; None refuses them.
        what: one of ``WHAT``.
    """
    for number, cells in enumerate(csv.reader(lines), start=1):
        cells = [cell.strip() for cell in cells]
        if not any(cells) or (number == 1 and cells[0] == "order_id"):
            continue
        try:
            yield forged(*_order(cells, default_time), what)
        except fields.BadField as error:
            yield BadRow(number, str(error))


def _order(cells: list[str], default_time: datetime | None) -> tuple[str, str, datetime]:
    if not 2 <= len(cells) <= 3:
        raise fields.BadField(f"the line has {len(cells)} columns, expected order_id,customer_id[,time]")
    order_id, customer_id = fields.text("order_id", cells[0]), fields.text("customer_id", cells[1])
    if order_id is None or customer_id is None:
        raise fields.BadField("order_id is empty" if order_id is None else "customer_id is empty")
    if len(cells) == 3 and cells[2]:
        return order_id, customer_id, fields.time("time", cells[2])
    if default_time is None:
        raise fields.BadField("time is empty, and no --time stands in for it")
    return order_id, customer_id, default_time


def _moment(text: str) -> datetime:
    try:
        return fields.time("the time", text)
    except fields.BadField as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m producers.forge",
        description=__doc__,
        epilog="Exit codes: 0 all sent, 2 wrong usage or unreadable file, 3 some lines were refused, 4 no broker or "
        "topic, 5 some records were not acknowledged.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--orders-file", type=Path, required=True, metavar="FILE", help="the orders concerned")
    parser.add_argument("--what", choices=list(WHAT), default="released", help="what to tell (default %(default)s)")
    parser.add_argument("--stamped", type=_moment, metavar="ISO", help="time of the records (default: now)")
    parser.add_argument("--time", type=_moment, metavar="ISO", help="business time for lines that have none")
    parser.add_argument("--bootstrap", default=bootstrap_from_environment(), metavar="HOST:PORT", help="the broker")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = parse_arguments(arguments)
    try:
        with options.orders_file.open(newline="") as stream:
            rows = list(read(stream, options.time, options.what))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        print(f"error: {options.orders_file}: {error}", file=sys.stderr)
        return BAD_INPUT
    try:
        topic = FRAUD_VERDICTS if options.what == CLEARED else DELIVERY_EVENTS
        outbox = Outbox(topic, options.bootstrap, "forge")
    except BrokerUnusable as error:
        print(f"error: {error}", file=sys.stderr)
        return NO_BROKER
    refused = [row for row in rows if isinstance(row, BadRow)]
    stamp = round(options.stamped.timestamp() * 1000) if options.stamped else None
    for row in rows:
        if not isinstance(row, BadRow):
            outbox.send(row.data.customer_id, row, stamp)
    outbox.close()
    for bad in refused:
        print(f"rejected {bad}", file=sys.stderr)
    for reason, times in outbox.failures.most_common():
        print(f"not delivered: {times} x {reason}", file=sys.stderr)
    print(f"forged {outbox.acknowledged.total()} {WHAT[options.what]} to {topic.name} at {options.bootstrap}")
    if outbox.failed:
        return NOT_DELIVERED
    return ROWS_REJECTED if refused else ALL_WELL


if __name__ == "__main__":
    sys.exit(main())
