"""Histories of many customers, written straight to the changelog, as earlier orders would have left them."""

from collections.abc import Iterator
from itertools import count, cycle, islice
from typing import Any

import msgspec

from benchmarks.load import Load, Shop
from order_fraud.history import History, pack
from order_fraud.relay import ROUTE, Shelf, receive, step
from producers.patterns import FIRST_USER_ID
from scorecards import PANEL

CHUNK = 100_000
HOP = ROUTE[0]


def fill(shop: Shop, load: Load, entities: int) -> None:
    """Write ``entities`` customer histories to the customer hop's changelog.

    Histories are those that the load's own orders leave, over and over under ids of their own: the first ids are those
    of the load's customers, so that its orders meet them.
    """
    records = _records(load)
    for begin in range(0, entities, CHUNK):
        shop.send(list(islice(records, min(CHUNK, entities - begin))), HOP.changelog.name)
        shop.flush()


def _records(load: Load) -> Iterator[dict[str, Any]]:
    shelf = Shelf()
    for record in load.warm_up + load.burst:
        step(HOP, shelf, receive(HOP, record["key"], record["value"]), PANEL)
    for number, history in zip(count(FIRST_USER_ID), cycle(list(shelf.values())), strict=False):
        yield {"key": str(number).encode(), "value": pack(_of(history, str(number)))}


def _of(history: History, customer_id: str) -> History:
    """The same history, had it been this customer's. The order ids cannot meet the load's: they would be repeats."""
    recent = tuple(f"{customer_id}-{900 + place}" for place in range(len(history.recent)))
    return msgspec.structs.replace(history, customers=(customer_id,), recent=recent)
