"""What the sandbox keeps, independent of any dialect: orders of the shop, charges of the payment provider, accounts and
contacts of the CRM.
"""

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
        fulfilled: the parcel has been handed over.
        cancelled: when the order is or was cancelled, seconds since 1970; None if it is not to be.
        cancel_reason: Shopify's word for why.
        staff_note: of who cancelled it.
    """

    order_id: str
    customer_id: str
    created: int
    updated: int
    amount: int
    currency: str
    email: str
    ip: str | None
    fulfilled: bool = False
    cancelled: float | None = None
    cancel_reason: str | None = None
    staff_note: str | None = None


class Charge(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A charge as the payment provider knows it; by default authorised only, since capture happens at dispatch.

    Attributes:
        charge_id: ``ch_...``.
        order_id: goes to ``metadata.order_id``.
        customer_id: decides about the card that was used.
        created: seconds since 1970, UTC.
        amount: minor units.
        currency: ISO 4217.
        captured: the money has moved.
        disputed: the cardholder's bank has taken it back.
    """

    charge_id: str
    order_id: str
    customer_id: str
    created: int
    amount: int
    currency: str
    captured: bool = False
    disputed: bool = False

    @property
    def intent_id(self) -> str:
        """The PaymentIntent that made the charge."""
        return f"pi_{self.charge_id.removeprefix('ch_')}"


class Account(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A customer's household as the CRM knows it.

    Attributes:
        customer_id: ours; its external id.
        created: seconds since 1970, UTC.
        updated: seconds since 1970, UTC.
        name: invented.
    """

    customer_id: str
    created: int
    updated: int
    name: str


class Contact(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A customer as the CRM knows it.

    Attributes:
        customer_id: ours; its external id.
        created: seconds since 1970, UTC.
        updated: seconds since 1970, UTC.
        first_name, last_name, email: invented.
        lead_source: the marketing channel, None if unknown.
        fraud_status: what was written back, None if nothing was.
        locked: an approval is under way, nobody may change the contact.
    """

    customer_id: str
    created: int
    updated: int
    first_name: str | None
    last_name: str
    email: str | None
    lead_source: str | None = None
    fraud_status: str | None = None
    locked: bool = False


class Load(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Records to add or replace, by their ids."""

    orders: list[Order] = []
    charges: list[Charge] = []
    accounts: list[Account] = []
    contacts: list[Contact] = []
