"""What the shop gives back, as Shopify's Admin API: ``refundCreate``, and the refunds of an order.

Public documentation: shopify.dev/docs/api/admin-graphql/latest/objects/Refund, /mutations/refundCreate. The shop books
a refund; that the payment provider pays it is another matter, and in the sandbox nobody sees to it.
"""

import time
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from sandbox.records import Order, ShopRefund
from sandbox.store import Numbered

FIRST_NUMBER = 800_000_000_001
"""Numbers of refunds look like Shopify's."""

GID = "gid://shopify/Refund/"
STEPS = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Refunds:
    """The shop's book of refunds.

    Attributes:
        booked: all of them.
        orders: the shop's; an order knows what was given back of it.
        by_order: the refunds of each order, their numbers by their ids, oldest first.
    """

    orders: Numbered[Order]
    booked: Numbered[ShopRefund] = field(default_factory=lambda: Numbered(FIRST_NUMBER))
    by_order: dict[str, dict[str, int]] = field(default_factory=dict)

    def of(self, order_id: str) -> list[tuple[int, ShopRefund]]:
        """The refunds of an order with their numbers, oldest first."""
        numbers = self.by_order.get(order_id, {}).values()
        return [(number, refund) for number in numbers if (refund := self.booked.get(number)) is not None]

    def clear(self) -> None:
        """Forget everything."""
        self.booked.clear()
        self.by_order.clear()

    def book(self, refund: ShopRefund) -> int:
        """Add a refund, or replace the one of the same id, and return its number; its order has changed with it."""
        self.booked.put(refund.refund_id, refund)
        number = self.booked.number(refund.refund_id) or 0
        self.by_order.setdefault(refund.order_id, {})[refund.refund_id] = number
        order = self.orders.get(self.orders.number(refund.order_id) or 0)
        if order is not None:
            self.orders.put(order.order_id, self.seen_by(order))
        return number

    def seen_by(self, order: Order) -> Order:
        """The order as it is with its refunds."""
        refunds = [refund for _, refund in self.of(order.order_id)]
        if not refunds:
            return order
        moment = max(order.updated, *(refund.created for refund in refunds))
        return msgspec.structs.replace(order, refunded=sum(refund.amount for refund in refunds), updated=moment)


def financial_status(order: Order) -> str:
    """Shopify's word for where the order's money is, as far as the shop knows; a cancellation lets go what is left."""
    if order.refunded:
        return "REFUNDED" if order.refunded >= order.amount else "PARTIALLY_REFUNDED"
    return "AUTHORIZED" if order.cancelled is None or order.cancelled > time.time() else "VOIDED"


def refund_create(refunds: Refunds, order: Order | None, asked: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
    """Book a refund of an order, or say why not.

    Args:
        refunds: the shop's.
        order: that is named; None if there is none.
        asked: the input of the mutation.

    Returns:
        The number of the refund, or the error.
    """
    if order is None:
        return 0, _error(["orderId"], "Order does not exist")
    amounts = [_minor(one["amount"]) for one in asked["transactions"]]
    if not amounts:
        return 0, _error(["transactions"], "Refund must have at least one transaction")
    if any(amount is None or amount <= 0 for amount in amounts):
        return 0, _error(["transactions", "0", "amount"], "Refund amount must be positive")
    total = sum(amount for amount in amounts if amount is not None)
    if total > order.amount - order.refunded:
        return 0, _error(["transactions", "0", "amount"], "Refund amount exceeds what can be refunded")
    number = len(refunds.of(order.order_id)) + 1
    refund = ShopRefund(
        refund_id=f"{order.order_id}/{number}",
        order_id=order.order_id,
        created=int(time.time()),
        amount=total,
        note=asked.get("note"),
    )
    return refunds.book(refund), None


def _minor(amount: str) -> int | None:
    try:
        exact = Decimal(amount)
    except InvalidOperation:
        return None
    return int(exact / STEPS) if exact.is_finite() and exact % STEPS == 0 else None


def _error(path: list[str], message: str) -> dict[str, Any]:
    return {"field": path, "message": message}
