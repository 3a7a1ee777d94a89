"""What the sandbox keeps: orders of the shop and charges of the payment provider, independent of any dialect."""

import msgspec


class Order(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An order as the shop knows it.

    Attributes:
        order_id: ours; the shop's ``sourceIdentifier``.
        customer_id: ours; the number at the end of the customer's gid.
        created: seconds since 1970, UTC.
        updated: seconds since 1970, UTC.
        amount: minor units.
        currency: ISO 4217.
        email: invented.
        ip: dotted IPv4, None if the shop does not know it.
    """

    order_id: str
    customer_id: str
    created: int
    updated: int
    amount: int
    currency: str
    email: str
    ip: str | None


class Charge(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A charge as the payment provider knows it: authorised, and captured at dispatch.

    Attributes:
        charge_id: ``ch_...``.
        order_id: goes to ``metadata.order_id``.
        customer_id: decides about the card that was used.
        created: seconds since 1970, UTC.
        amount: minor units.
        currency: ISO 4217.
        captured: whether the money was taken; otherwise it is only reserved.
    """

    charge_id: str
    order_id: str
    customer_id: str
    created: int
    amount: int
    currency: str
    captured: bool = False


class Load(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Records to add or replace, by their ids."""

    orders: list[Order] = []
    charges: list[Charge] = []
