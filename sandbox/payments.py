"""The payment provider, as Stripe's API: listing, finding and retrieving charges, in Stripe's error forms.

Public documentation: docs.stripe.com/api/charges/list, /docs/search. What changes a charge is in
:mod:`sandbox.refunds`, what the cardholder's bank does in :mod:`sandbox.disputes`.
"""

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from sandbox.listing import DEFAULT_PER_PAGE, Listing
from sandbox.records import Charge, Dispute, Refund
from sandbox.refused import Refused, integer
from sandbox.store import Numbered, Value
from sandbox.webhooks import Webhooks

GIVING_BACK = ("pending", "requires_action", "succeeded")
"""States of a refund that has not failed (Stripe: ``Refund.status``)."""

_BRANDS = ("visa", "mastercard", "amex", "discover")
_SEARCH = re.compile(r"""\s*metadata\[(['"])order_id\1\]\s*:\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\s*""")


@dataclass(frozen=True, slots=True)
class Payments:
    """What the routes need.

    Attributes:
        charges: all of them.
        key: the secret key.
        refunds: all of them.
        disputes: all of them.
        cancelled: why each cancelled PaymentIntent was, by its id.
        kept: answers by idempotency key, each with what was asked.
        webhooks: whom it tells of what happens.
    """

    charges: Numbered[Charge]
    key: str
    refunds: Numbered[Refund] = field(default_factory=Numbered)
    disputes: Numbered[Dispute] = field(default_factory=Numbered)
    cancelled: dict[str, str | None] = field(default_factory=dict)
    kept: dict[str, tuple[object, JSONResponse]] = field(default_factory=dict)
    webhooks: Webhooks = field(default_factory=Webhooks)

    def charge(self, charge_id: str) -> Charge | None:
        """The charge of this id."""
        return self.charges.get(self.charges.number(charge_id) or 0)

    def refunded(self, charge: Charge) -> int:
        """What has gone back of a charge, or is on its way, minor units."""
        found = self.refunds.scan(charge_of, low=charge.charge_id, high=charge.charge_id)
        return sum(refund.amount for _, refund in found if refund.status in GIVING_BACK)

    def disputed(self, charge: Charge) -> bool:
        """Whether the cardholder's bank has taken the charge back, as far as that is not a mere inquiry."""
        found = self.disputes.scan(charge_of, low=charge.charge_id, high=charge.charge_id)
        return charge.disputed or any(not dispute.status.startswith("warning") for _, dispute in found)

    def authorise(self, request: Request) -> None:
        """Let a request with the key pass.

        Raises:
            Refused: no key, or another one.
        """
        authorise(request.headers.get("Authorization"), self.key)

    def clear(self) -> None:
        """Forget everything."""
        for store in (self.charges, self.refunds, self.disputes, self.cancelled, self.kept, self.webhooks):
            store.clear()


def created(record: Charge | Refund | Dispute) -> Value:
    """Sort key."""
    return record.created


def charge_of(record: Refund | Dispute) -> Value:
    """Sort key."""
    return record.charge_id


def of_intent(payments: Payments) -> Callable[[Refund | Dispute, str], bool]:
    """A filter of lists: whether a refund or dispute is of the charge that a PaymentIntent made."""

    def test(record: Refund | Dispute, intent_id: str) -> bool:
        charge = payments.charge(record.charge_id)
        return charge is not None and charge.intent_id == intent_id

    return test


def of_charge(record: Refund | Dispute, charge_id: str) -> bool:
    """A filter of lists."""
    return record.charge_id == charge_id


def routes(payments: Payments) -> APIRouter:
    """The provider's routes."""
    router = APIRouter()

    def shown(charge: Charge) -> dict[str, Any]:
        return as_object(charge, payments.refunded(charge), disputed=payments.disputed(charge))

    charges = Listing("charges", "charge", payments.charges, created, shown)

    @router.get("/v1/charges/search")
    async def search_charges(request: Request) -> JSONResponse:
        return answered(payments, request, lambda: searched(payments, dict(request.query_params), shown))

    listing_routes(router, payments, charges)
    return router


def listing_routes[R](router: APIRouter, payments: Payments, listing: Listing[R]) -> None:
    """The routes that show a list, and one entry of it."""

    @router.get(f"/v1/{listing.name}")
    async def listed(request: Request) -> JSONResponse:
        return answered(payments, request, lambda: listing.page(list(request.query_params.multi_items())))

    @router.get(f"/v1/{listing.name}/{{key}}")
    async def retrieve(key: str, request: Request) -> JSONResponse:
        return answered(payments, request, lambda: listing.shown(listing.retrieve(key)))


def answered(payments: Payments, request: Request, work: Callable[[], dict[str, Any]]) -> JSONResponse:
    """The answer to a request that changes nothing."""
    try:
        payments.authorise(request)
        return JSONResponse(work())
    except Refused as refused:
        return refused.answer()


def authorise(header: str | None, key: str) -> None:
    """Check the ``Authorization`` header: ``Bearer KEY``, or Basic with the key as the user name.

    Raises:
        Refused: no key, or another one.
    """
    scheme, _, given = (header or "").partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            given = ""
    elif scheme.lower() != "bearer":
        given = ""
    if not given:
        raise Refused(
            401,
            "You did not provide an API key. You need to provide your API key in the Authorization header, "
            "using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
        )
    if not secrets.compare_digest(given.encode(), key.encode()):
        raise Refused(401, f"Invalid API Key provided: {'*' * 8}{given[-4:] if len(given) > 8 else ''}")


def searched(payments: Payments, given: dict[str, str], shown: Callable[[Charge], dict[str, Any]]) -> dict[str, Any]:
    """The charges of one order, newest first: the sandbox finds by ``metadata['order_id']:'...'`` and nothing else.

    Raises:
        Refused: another query, or a parameter that is not known.
    """
    if unknown := given.keys() - {"query", "limit"}:
        name = sorted(unknown)[0]
        raise Refused(400, f"Received unknown parameter: {name}", "parameter_unknown", name)
    match = _SEARCH.fullmatch(given.get("query", ""))
    if match is None:
        raise Refused(400, "We were unable to parse your search query.", None, "query")
    order_id = re.sub(r"\\(.)", r"\1", match[2] if match[2] is not None else match[3])
    limit = integer("limit", given.get("limit", str(DEFAULT_PER_PAGE)))
    found = [charge for _, charge in payments.charges.scan(created, descending=True) if charge.order_id == order_id]
    return {
        "object": "search_result",
        "url": "/v1/charges/search",
        "has_more": len(found) > limit,
        "next_page": None,
        "data": [shown(charge) for charge in found[:limit]],
    }


def as_object(charge: Charge, refunded: int = 0, *, disputed: bool = False) -> dict[str, Any]:
    """A charge in Stripe's words, of which so many minor units have gone back."""
    card = hashlib.sha256(f"card/{charge.customer_id}".encode()).digest()
    return {
        "id": charge.charge_id,
        "object": "charge",
        "amount": charge.amount,
        "amount_captured": charge.amount if charge.captured else 0,
        "amount_refunded": refunded,
        "captured": charge.captured,
        "created": charge.created,
        "currency": charge.currency.lower(),
        "description": None,
        "disputed": disputed,
        "failure_code": None,
        "livemode": False,
        "metadata": {"order_id": charge.order_id},
        "paid": True,
        "payment_intent": charge.intent_id,
        "payment_method_details": {
            "type": "card",
            "card": {
                "brand": _BRANDS[card[0] % len(_BRANDS)],
                "last4": f"{int.from_bytes(card[1:5]) % 10_000:04}",
                "fingerprint": card[5:13].hex(),
                "funding": "credit",
            },
        },
        "refunded": refunded >= charge.amount,
        "status": "succeeded",
    }
