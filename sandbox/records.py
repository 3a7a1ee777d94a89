"""What the sandbox keeps, independent of any dialect: orders and refunds of the shop, charges, refunds and disputes of
the payment provider, accounts and contacts of the CRM, parcels of the carriers, sales orders of the ERP system, visits.
"""

from typing import Literal

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
        refunded: what the shop says has been given back, minor units; follows from its refunds.
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
    refunded: int = 0


class ShopRefund(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A refund as the shop has booked it, whatever became of it at the payment provider.

    Attributes:
        refund_id: ours.
        order_id: of the order.
        created: seconds since 1970, UTC.
        amount: minor units, in the order's currency.
        note: of who gave it back.
    """

    refund_id: str
    order_id: str
    created: int
    amount: int
    note: str | None = None


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


class Refund(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Money on its way back, as the payment provider knows it.

    Attributes:
        refund_id: ``re_...``.
        charge_id: of the charge.
        amount: minor units, in the charge's currency.
        created: seconds since 1970, UTC.
        reason: as it was given.
        metadata: as it was given.
        status: pending, requires_action, succeeded, failed or canceled.
    """

    refund_id: str
    charge_id: str
    amount: int
    created: int
    reason: str | None = None
    metadata: dict[str, str] = {}
    status: str = "succeeded"


class Dispute(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a cardholder's bank has against a charge.

    Attributes:
        dispute_id: ``dp_...``.
        charge_id: of the charge.
        amount: minor units, in the charge's currency.
        created: seconds since 1970, UTC.
        reason: Stripe's word for why.
        status: needs_response, under_review, won or lost; warning_... is an inquiry, by which no money has moved.
    """

    dispute_id: str
    charge_id: str
    amount: int
    created: int
    reason: str = "fraudulent"
    status: str = "needs_response"


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


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something that happened to a parcel.

    Attributes:
        at: seconds since 1970, UTC.
        tag: AfterShip's word for it: InfoReceived, InTransit, OutForDelivery, AttemptFail, Delivered, Exception.
        place: a city, None if the carrier does not say.
        message: the carrier's own words; None for the usual ones.
    """

    at: int
    tag: Literal["InfoReceived", "InTransit", "OutForDelivery", "AttemptFail", "Delivered", "Exception"]
    place: str | None = None
    message: str | None = None


class Shipment(msgspec.Struct, frozen=True, kw_only=True):
    """A parcel as the carriers know it.

    Attributes:
        shipment_id: ours.
        order_id: of the order that is in it.
        tracking_number: the carrier's.
        carrier: AfterShip's short name of the carrier.
        created: when it was announced, seconds since 1970, UTC.
        updated: seconds since 1970, UTC.
        receiver, email: invented.
        checkpoints: the oldest first.
    """

    shipment_id: str
    order_id: str
    tracking_number: str
    carrier: str
    created: int
    updated: int
    receiver: str
    email: str
    checkpoints: tuple[Checkpoint, ...] = ()


class SalesOrder(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An order as the ERP system books it.

    Attributes:
        number: ten digits, as the ERP system counts.
        order_id: ours; its purchase order by customer.
        customer_id: ours; its sold-to party.
        created: seconds since 1970, UTC.
        updated: seconds since 1970, UTC.
        amount: minor units.
        currency: ISO 4217.
        delivery_block: its reason, empty if there is none.
        status: A not yet, B partly, C completely processed.
    """

    number: str
    order_id: str
    customer_id: str
    created: int
    updated: int
    amount: int
    currency: str
    delivery_block: str = ""
    status: Literal["A", "B", "C"] = "A"


class Visits(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Visits of one day that came by one channel, from one source, to one landing page, with one kind of device.

    Attributes:
        date: as the reports write it, YYYYMMDD.
        channel: default channel group.
        source: where the visitors came from.
        landing_page: path of the first page.
        device: desktop, mobile or tablet.
        sessions, engaged_sessions, users, conversions: how many.
    """

    date: str
    channel: str
    source: str
    landing_page: str
    device: str
    sessions: int
    engaged_sessions: int
    users: int
    conversions: int

    @property
    def key(self) -> str:
        """What of one day's visits is counted apart."""
        return "\x1f".join((self.date, self.channel, self.source, self.landing_page, self.device))


class Load(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Records to add or replace, by their ids."""

    orders: list[Order] = []
    shop_refunds: list[ShopRefund] = []
    charges: list[Charge] = []
    refunds: list[Refund] = []
    disputes: list[Dispute] = []
    accounts: list[Account] = []
    contacts: list[Contact] = []
    shipments: list[Shipment] = []
    sales_orders: list[SalesOrder] = []
    visits: list[Visits] = []
