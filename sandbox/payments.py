"""The payment provider, as Stripe's API: listing and retrieving charges, newest first, in Stripe's error forms.

Public documentation: docs.stripe.com/api/charges/list, /api/pagination, /api/errors.
"""

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass
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
_ERRORS_PAGE = "https://stripe.com/docs/error-codes/"


class Refused(Exception):
    """A request that is answered with an error.

    Attributes:
        status: of the HTTP answer.
        error: Stripe's error object.
    """

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.error: dict[str, str] = {"message": message, "type": "invalid_request_error"}
        if code:
            self.error |= {"code": code, "doc_url": _ERRORS_PAGE + code.replace("_", "-")}
        if param:
            self.error["param"] = param

    def answer(self) -> JSONResponse:
        """The HTTP answer."""
        return JSONResponse({"error": self.error}, self.status)


@dataclass(frozen=True, slots=True)
class Payments:
    """What the routes need: all charges, and the secret key."""

    charges: Numbered[Charge]
    key: str


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

    @router.get("/v1/charges/{charge_id}")
    async def retrieve_charge(charge_id: str, request: Request) -> JSONResponse:
        try:
            authorise(request.headers.get("Authorization"), payments.key)
            charge = payments.charges.get(payments.charges.number(charge_id) or 0)
            if charge is None:
                raise Refused(404, f"No such charge: '{charge_id}'", "resource_missing", "id")
            return JSONResponse(as_object(charge))
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
        "data": [as_object(charge) for charge in charges],
    }


def as_object(charge: Charge) -> dict[str, Any]:
    """A charge in Stripe's words."""
    card = hashlib.sha256(f"card/{charge.customer_id}".encode()).digest()
    return {
        "id": charge.charge_id,
        "object": "charge",
        "amount": charge.amount,
        "amount_captured": charge.amount if charge.captured else 0,
        "amount_refunded": 0,
        "captured": charge.captured,
        "created": charge.created,
        "currency": charge.currency.lower(),
        "description": None,
        "disputed": False,
        "failure_code": None,
        "livemode": False,
        "metadata": {"order_id": charge.order_id},
        "paid": True,
        "payment_method_details": {
            "type": "card",
            "card": {
                "brand": _BRANDS[card[0] % len(_BRANDS)],
                "last4": f"{int.from_bytes(card[1:5]) % 10_000:04}",
                "fingerprint": card[5:13].hex(),
                "funding": "credit",
            },
        },
        "refunded": False,
        "status": "succeeded",
    }
