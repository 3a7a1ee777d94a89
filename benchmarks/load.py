"""What every contender is given: the same sign-ups and orders, encoded beforehand."""

import time
from dataclasses import dataclass, replace
from typing import Any

from confluent_kafka import Producer

from kafka_access import Brokers, client
from order_fraud.events import NewCustomer, NewOrder, encode
from order_fraud.topics import CUSTOMER_EVENTS
from producers import patterns
from producers.book import book, events

SEED = 1
WARM_UP_SHARE = 0.1


@dataclass(frozen=True)
class Load:
    """The records of one round.

    Attributes:
        sent: every event with its customer id, in business order.
        warm_up: all sign-ups, then the first orders: gets interpreters, caches and histories going, and is not timed.
        warm_up_orders: how many orders, so verdicts, the warm-up has.
        burst: the orders that are timed.
    """

    sent: list[tuple[str, NewCustomer | NewOrder]]
    warm_up: list[dict[str, Any]]
    warm_up_orders: int
    burst: list[dict[str, Any]]


def make(orders: int) -> Load:
    """Generate ``orders`` orders to be timed and a tenth more for the warm-up; the same number gives the same load.

    Orders name a device and an ip, as those of the public set do, and so make three hops: what is measured stays the
    same, whatever else generated orders come to name.
    """
    warm_up_orders = int(orders * WARM_UP_SHARE)
    rows = patterns.rows(orders + warm_up_orders, seed=SEED)
    sent = list(events(book(replace(row, card=None, email_domain=None, address=None) for row in rows)))
    sign_ups = [_record(*found) for found in sent if isinstance(found[1], NewCustomer)]
    placed = [_record(*found) for found in sent if isinstance(found[1], NewOrder)]
    return Load(sent, sign_ups + placed[:warm_up_orders], warm_up_orders, placed[warm_up_orders:])


def _record(customer_id: str, event: NewCustomer | NewOrder) -> dict[str, Any]:
    return {"key": customer_id.encode(), "value": encode(event)}


class Shop:
    """Produces records as fast as the broker takes them."""

    def __init__(self, bootstrap: Brokers) -> None:
        """Connect."""
        self._failed: list[str] = []
        self._producer = Producer(
            client(bootstrap)
            | {
                "log_level": 0,  # the broker goes before its clients do
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 5,
                "batch.size": 900_000,
                "queue.buffering.max.messages": 10_000_000,
                "queue.buffering.max.kbytes": 2_000_000,
            }
        )
        self._producer.list_topics(timeout=10)  # so that the connection is there before any clock starts

    def send(self, records: list[dict[str, Any]], topic: str = CUSTOMER_EVENTS.name) -> float:
        """Queue records at once; return the Unix time right before the first.

        Raises:
            RuntimeError: a record was refused.
        """
        started = time.time()
        if self._producer.produce_batch(topic, records) != len(records):
            raise RuntimeError(f"{topic}: the producer's queue did not take all {len(records)} records")
        return started

    def flush(self) -> None:
        """Wait until the broker has everything.

        Raises:
            RuntimeError: it does not answer for two minutes.
        """
        if left := self._producer.flush(120):
            raise RuntimeError(f"{left} records were not acknowledged in two minutes: is the broker still there?")
