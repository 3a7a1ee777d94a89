"""How refunds go wrong between shop and payment provider: what each of them then has of an order.

Pure; the same order and seed always give the same fault.
"""

import random
from typing import Literal

from producers.book import Sale
from sandbox.records import Refund, ShopRefund

type Flaw = Literal["none", "partial", "short", "cancelled"]
FLAWS: tuple[Flaw, ...] = ("none", "partial", "short", "cancelled")
"""The shop gave all back, and the provider has no refund; the same of a part; the provider gave back less than the shop
says; the shop has cancelled an order that was captured, and nothing went back."""

LATER = 5 * 86_400
"""Seconds from an order until money of it goes back."""


def flaw_of(order_id: str, seed: int) -> Flaw:
    """Which fault an order gets that is to have one."""
    return random.Random(f"refund/{seed}/{order_id}").choice(FLAWS)


def in_shop(sale: Sale, flaw: Flaw | None) -> ShopRefund | None:
    """What the shop has booked as a refund of an order; ``flaw`` None is a refund as it should be."""
    if flaw == "cancelled":
        return None
    return ShopRefund(
        refund_id=f"{sale.order_id}/1",
        order_id=sale.order_id,
        created=int(sale.row.purchase_time.timestamp()) + LATER,
        amount=part(sale.row.amount) if flaw == "partial" else sale.row.amount,
        note="returned",
    )


def at_provider(sale: Sale, charge_id: str, flaw: Flaw | None) -> Refund | None:
    """What the payment provider has given back of an order."""
    if flaw not in (None, "short"):
        return None
    return Refund(
        refund_id=f"re_{charge_id.removeprefix('ch_')}",
        charge_id=charge_id,
        amount=part(sale.row.amount) if flaw == "short" else sale.row.amount,
        created=int(sale.row.purchase_time.timestamp()) + LATER + 60,
        reason="requested_by_customer",
    )


def part(amount: int) -> int:
    """Less than all of it, and not nothing."""
    return max(1, amount * 3 // 5)
