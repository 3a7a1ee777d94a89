"""The payment provider, as Stripe's API: listing, finding and retrieving charges, in Stripe's error forms.

Public documentation: docs.stripe.com/api/charges/list, /api/pagination, /api/errors, /docs/search. What changes a
charge is in :mod:`sandbox.refunds`.
"""

import base64
import binascii
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from sandbox.records import Charge
from sandbox.store import Numbered, Position, Value

MOST_PER_PAGE = 100
DEFAULT_PER_PAGE = 10
_CREATED = ("created[gt]", "created[gte]", "created[lt]", "created[lte]")
_KNOWN = frozenset({"limit", "starting_after", "ending_before", "created", *_CREATED})
_BRANDS = ("visa", "mastercard", "amex", "discover")
_SEARCH = re.compile(r"""\s*metadata\[(['"])order_id\1\]\s*:\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\s*""")
_ERRORS_PAGE = "https://stripe.com/docs/error-codes/"


class Refused(Exception):
    """A request that is answered with an error.

    Attributes:
        status: of the HTTP answer.
        error: Stripe's error object.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error: dict[str, str] = {"message": message, "type": kind}
        if code:
            self.error |= {"code": code, "doc_url": _ERRORS_PAGE + code.replace("_", "-")}
        if param:
            self.error["param"] = param

    def answer(self) -> JSONResponse:
        """The HTTP answer."""
        return JSONResponse({"error": self.error}, self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """Money on its way back.

    Attributes:
        refund_id: ``re_...``.
        charge_id: of the charge.
        amount: minor units.
        created: seconds since 1970, UTC.
        reason: as it was given.
        metadata: as it was given.
    """

    refund_id: str
    charge_id: str
    amount: int
    created: int
    reason: str | None
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class Payments:
    """What the routes need.

    Attributes:
        charges: all of them.
        key: the secret key.
        refunds: all of them, oldest first.
        cancelled: why each cancelled PaymentIntent was, by its id.
        kept: answers by idempotency key, each with what was asked.
    """

    charges: Numbered[Charge]
    key: str
    refunds: list[Refund] = field(default_factory=list)
    cancelled: dict[str, str | None] = field(default_factory=dict)
    kept: dict[str, tuple[object, JSONResponse]] = field(default_factory=dict)

    def charge(self, charge_id: str) -> Charge | None:
        """The charge of this id."""
        return self.charges.get(self.charges.number(charge_id) or 0)

    def refunded(self, charge: Charge) -> int:
        """What has gone back of a charge, minor units."""
        return sum(refund.amount for refund in self.refunds if refund.charge_id == charge.charge_id)

    def clear(self) -> None:
        """Forget everything."""
        for store in (self.charges, self.refunds, self.cancelled, self.kept):
            store.clear()


@dataclass(frozen=True, slots=True)
class _Page:
    limit: int
    low: int | None
    high: int | None
    starting_after: Position | None
    ending_before: Position | None


def created(charge: Charge) -> Value:
    """Sort key."""
    return charge.created


def routes(payments: Payments) -> APIRouter:
    """The provider's routes."""
    router = APIRouter()

    @router.get("/v1/charges")
    async def list_charges(request: Request) -> JSONResponse:
        try:
            authorise(request.headers.get("Authorization"), payments.key)
            return JSONResponse(listed(payments, asked(payments, list(request.query_params.multi_items()))))
        except Refused as refused:
            return refused.answer()

    @router.get("/v1/charges/search")
    async def search_charges(request: Request) -> JSONResponse:
        try:
            authorise(request.headers.get("Authorization"), payments.key)
            return JSONResponse(searched(payments, dict(request.query_params)))
        except Refused as refused:
            return refused.answer()

    @router.get("/v1/charges/{charge_id}")
    async def retrieve_charge(charge_id: str, request: Request) -> JSONResponse:
        try:
            authorise(request.headers.get("Authorization"), payments.key)
            charge = payments.charge(charge_id)
            if charge is None:
                raise Refused(404, f"No such charge: '{charge_id}'", "resource_missing", "id")
            return JSONResponse(as_object(charge, payments.refunded(charge)))
        except Refused as refused:
            return refused.answer()

    return router


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


def asked(payments: Payments, parameters: list[tuple[str, str]]) -> _Page:
    """Read the parameters of a list request.

    Raises:
        Refused: an unknown parameter, a value out of bounds, or a cursor that is no charge.
    """
    given = dict(parameters)
    for name in given:
        if name not in _KNOWN:
            raise Refused(400, f"Received unknown parameter: {name}", "parameter_unknown", name)
    limit = _integer("limit", given.get("limit", str(DEFAULT_PER_PAGE)))
    if limit > MOST_PER_PAGE:
        raise Refused(
            400, f"This value must be less than or equal to {MOST_PER_PAGE} (it currently is '{limit}').", None, "limit"
        )
    if limit < 1:
        raise Refused(400, f"This value must be greater than or equal to 1 (it currently is '{limit}').", None, "limit")
    if "starting_after" in given and "ending_before" in given:
        raise Refused(400, "You may only specify one of these parameters: starting_after, ending_before.")
    low, high = _created_range(given)
    return _Page(
        limit,
        low,
        high,
        _cursor(payments, given, "starting_after"),
        _cursor(payments, given, "ending_before"),
    )


def _integer(name: str, text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
        raise Refused(400, f"Invalid integer: {text}", "parameter_invalid_integer", name)
    return int(text)


def _created_range(given: dict[str, str]) -> tuple[int | None, int | None]:
    if "created" in given:
        moment = _integer("created", given["created"])
        return moment, moment
    bounds = {name: _integer(name, given[name]) for name in _CREATED if name in given}
    lows = [bounds[name] + shift for name, shift in (("created[gt]", 1), ("created[gte]", 0)) if name in bounds]
    highs = [bounds[name] - shift for name, shift in (("created[lt]", 1), ("created[lte]", 0)) if name in bounds]
    return max(lows, default=None), min(highs, default=None)


def _cursor(payments: Payments, given: dict[str, str], name: str) -> Position | None:
    if name not in given:
        return None
    number = payments.charges.number(given[name])
    charge = payments.charges.get(number or 0)
    if number is None or charge is None:
        raise Refused(400, f"No such charge: '{given[name]}'", "resource_missing", name)
    return charge.created, number


def listed(payments: Payments, page: _Page) -> dict[str, Any]:
    """One page of charges, newest first; with ``ending_before`` the page that lies just before that charge."""
    backwards = page.ending_before is not None
    found = payments.charges.scan(
        created,
        descending=not backwards,
        low=page.low,
        high=page.high,
        after=page.ending_before if backwards else page.starting_after,
    )
    charges = [charge for _, charge in islice(found, page.limit + 1)]
    more = len(charges) > page.limit
    charges = charges[: page.limit]
    if backwards:
        charges.reverse()
    return {
        "object": "list",
        "url": "/v1/charges",
        "has_more": more,
        "data": [as_object(charge, payments.refunded(charge)) for charge in charges],
    }


def searched(payments: Payments, given: dict[str, str]) -> dict[str, Any]:
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
    limit = _integer("limit", given.get("limit", str(DEFAULT_PER_PAGE)))
    found = [charge for _, charge in payments.charges.scan(created, descending=True) if charge.order_id == order_id]
    return {
        "object": "search_result",
        "url": "/v1/charges/search",
        "has_more": len(found) > limit,
        "next_page": None,
        "data": [as_object(charge, payments.refunded(charge)) for charge in found[:limit]],
    }


def as_object(charge: Charge, refunded: int = 0) -> dict[str, Any]:
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
        "disputed": charge.disputed,
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
