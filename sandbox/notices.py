"""Takes the notices about customers' orders: what the merchant's own mail service would do with our webhook.

The signature is made as Stripe makes its own (docs.stripe.com/webhooks/signature): the header holds ``t=<seconds>``
and ``v1=<hex>``, an HMAC-SHA256 over ``<seconds>.<body>``. A notice is kept once, by its id; again, it is answered 200.
"""

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

SIGNATURE = "Countersign-Signature"
TOLERANCE_S = 300


class Notice(msgspec.Struct, frozen=True):
    """The part of a notice that is looked at."""

    id: str
    type: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Notices:
    """What the route needs: the secret that both sides know, and what came in, by id."""

    secret: str
    taken: dict[str, bytes] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget what came in."""
        self.taken.clear()


def routes(notices: Notices, clock: Callable[[], float] = time.time) -> APIRouter:
    """The receiver's route."""
    router = APIRouter()

    @router.post("/webhooks/orders")
    async def take(request: Request) -> JSONResponse:
        body = await request.body()
        if why := unsigned(request.headers.get(SIGNATURE, ""), body, notices.secret, clock()):
            return JSONResponse({"error": why}, 400)
        try:
            notice = msgspec.json.decode(body, type=Notice)
        except msgspec.DecodeError as error:
            return JSONResponse({"error": f"no notice: {error}"}, 422)
        kept = notices.taken.setdefault(notice.id, body)
        if kept != body:
            return JSONResponse({"error": f"notice {notice.id} was taken before with another content"}, 422)
        return JSONResponse({"id": notice.id})

    return router


def unsigned(header: str, body: bytes, secret: str, now: float) -> str | None:
    """Return what is wrong with a signature, None if it holds.

    Args:
        header: of the request.
        body: as it came.
        secret: that both sides know.
        now: seconds since 1970.
    """
    parts = [part.partition("=") for part in header.split(",")]
    moments = [value for name, _, value in parts if name == "t" and value.isascii() and value.isdecimal()]
    signatures = [value for name, _, value in parts if name == "v1"]
    if len(moments) != 1 or not signatures:
        return f"the header {SIGNATURE} must hold t=<seconds> and v1=<signature>"
    expected = hmac.new(secret.encode(), moments[0].encode() + b"." + body, hashlib.sha256).hexdigest()
    if not any(hmac.compare_digest(expected.encode(), given.encode()) for given in signatures):
        return "the signature is not by our secret over this body"
    if abs(now - int(moments[0])) > TOLERANCE_S:
        return f"the signature is more than {TOLERANCE_S} seconds off"
    return None
