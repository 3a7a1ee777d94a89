"""Gives the carriers a parcel for each order that the delivery service has released, and calls back those it cancelled.

Stands in for the warehouse: it reads the topic of delivery events to its end, read_committed, and tells the sandbox
where each parcel is by now. A released order's parcel is handed over within hours of the order and delivered after one
to five days; a cancelled one's goes back. Run it again for what has come since; the same events give the same parcels.
"""

import argparse
import contextlib
import os
import random
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import batched
from typing import NamedTuple

from confluent_kafka import KafkaException
from rich.console import Console

from kafka_access import Refused, enter
from order_fraud.events import AnyEvent, BadEvent, DeliveryCancelled, DeliveryReleased, decode
from order_fraud.topics import DELIVERY_EVENTS
from producers.outbox import bootstrap_from_environment
from producers.replay_source import NothingThere, Reading, Selection
from sandbox.app import ADMIN_TOKEN
from sandbox.feed import DEFAULT_URL, PER_REQUEST, CannotFeed, email_of, send
from sandbox.records import Checkpoint, Load, Shipment

HOUR, DAY = 3600, 86_400
CARRIERS = ("ups", "fedex", "usps", "dhl")
CITIES = ("Reno", "Columbus", "Memphis", "Louisville", "Allentown")


class Told(NamedTuple):
    """One delivery event, and when its record was written: seconds since 1970, UTC."""

    event: AnyEvent
    at: int


def shipments(told: Iterable[Told], now: int) -> Iterator[Shipment]:
    """Yield the parcel of each order that was ever released, as it is by ``now``.

    Args:
        told: delivery events, those of one order in their order.
        now: seconds since 1970, UTC; nothing has happened later.
    """
    released: dict[str, Told] = {}
    cancelled: dict[str, Told] = {}
    for one in told:
        order_id = one.event.subject
        if isinstance(one.event, DeliveryReleased):
            released.setdefault(order_id, one)
            cancelled.pop(order_id, None)
        elif isinstance(one.event, DeliveryCancelled):
            cancelled[order_id] = one
    for order_id, release in released.items():
        yield _parcel(order_id, release, cancelled.get(order_id), now)


def _parcel(order_id: str, release: Told, cancelled: Told | None, now: int) -> Shipment:
    assert isinstance(release.event, DeliveryReleased)  # noqa: S101 - for the type checker
    draw = random.Random(f"parcel/{order_id}")
    created = min(int(release.event.time.timestamp()) + HOUR, release.at)
    way = list(_way(created, draw))
    if cancelled is not None:
        # Whoever has it by then sends it back, before it is delivered or after.
        way = [*way[:2], Checkpoint(at=way[1].at + 2 * HOUR, tag="Exception", place=way[1].place)]
    happened = tuple(one for one in way if one.at <= now)
    return Shipment(
        shipment_id=f"parcel/{order_id}",
        order_id=order_id,
        tracking_number=f"1Z{draw.randrange(10**16):016}",
        carrier=draw.choice(CARRIERS),
        created=created,
        updated=max(release.at, *(one.at for one in happened), 0 if cancelled is None else cancelled.at),
        receiver=f"Customer {release.event.data.customer_id}",
        email=email_of(release.event.data.customer_id),
        checkpoints=happened,
    )


def _way(created: int, draw: random.Random) -> Iterator[Checkpoint]:
    at, last = created, created + draw.randint(1 * DAY, 5 * DAY)
    city, home = draw.choice(CITIES), draw.choice(CITIES)
    yield Checkpoint(at=at, tag="InfoReceived", place=city)
    at += draw.randint(2 * HOUR, 12 * HOUR)
    yield Checkpoint(at=at, tag="InTransit", place=city)
    yield Checkpoint(at=max(at, last - 4 * HOUR), tag="OutForDelivery", place=home)
    yield Checkpoint(at=max(at, last), tag="Delivered", place=home)


def read(bootstrap: str) -> Iterator[Told]:
    """Yield the delivery events that there are by now; records that are none are passed over.

    Raises:
        Refused: Kafka does not let us in, or not read.
        KafkaException: the broker does not answer.
        NothingThere: it has no such topic.
    """
    enter(bootstrap, {DELIVERY_EVENTS.name: ("read",)})
    for record in Reading(bootstrap, Selection(topic=DELIVERY_EVENTS.name)).records():
        with contextlib.suppress(BadEvent):
            yield Told(decode(record.value), record.timestamp // 1000)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.parcels",
        description=__doc__,
        epilog=f"{ADMIN_TOKEN} must hold the admin token. Exit codes: 0 told, 2 wrong usage, 4 broker or sandbox "
        "does not answer, or refuses.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", default=DEFAULT_URL, help="the sandbox (default %(default)s)")
    parser.add_argument("--bootstrap", default=bootstrap_from_environment(), metavar="HOST:PORT", help="the broker")
    options = parser.parse_args(arguments)
    token = os.environ.get(ADMIN_TOKEN, "")
    if not token:
        print(f"error: {ADMIN_TOKEN} is not set; `make up` keeps it in .stack/secrets.json", file=sys.stderr)
        return 2
    now = int(datetime.now(UTC).timestamp())
    try:
        parcels = list(shipments(read(options.bootstrap), now))
        loads = [Load(shipments=list(some)) for some in batched(parcels, PER_REQUEST)]
        send(options.url, token, loads, Console(stderr=True))
    except (Refused, NothingThere, KafkaException, CannotFeed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    back = sum(one.checkpoints[-1].tag == "Exception" for one in parcels if one.checkpoints)
    print(f"the carriers have {len(parcels):,} parcels, of which {back:,} were called back")
    return 0


if __name__ == "__main__":
    sys.exit(main())
