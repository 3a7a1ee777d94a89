"""Which orders of the generated set are crooked, and how: a few of each kind of finding, chosen by the order's id."""

import zlib

ANY = (
    "order-not-streamed",
    "order-not-sold",
    "verdict-missing",
    "verdict-repeated",
    "verdict-not-reproducible",
    "released-twice",
    "amount-differs",
    "payment-missing",
    "payment-orphan",
)
"""Kinds that are planted on any order; of ``released-twice`` only those cleared come of it."""

ONE_IN = 4_000
"""Orders for each one with a kind planted."""

HELD_ONE_IN = 100
"""Held orders for each one that is released all the same: ``released-without-clearance``."""


def planted(order_id: str) -> str | None:
    """Return the kind of finding that is planted on an order, None for most."""
    place = zlib.crc32(order_id.encode()) % ONE_IN
    return ANY[place] if place < len(ANY) else None


def released_though_held(order_id: str) -> bool:
    """Whether a held order is released all the same."""
    return zlib.crc32(f"held {order_id}".encode()) % HELD_ONE_IN == 0
