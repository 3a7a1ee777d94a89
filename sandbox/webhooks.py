"""What the payment provider tells by webhook, as Stripe's API: endpoints, events, and signed deliveries.

Public documentation: docs.stripe.com/api/webhook_endpoints, /api/events, /webhooks/signature. An event is kept, and
sent to each endpoint that wants its type; a delivery that is not answered with 2xx is tried again a few times (Stripe:
for three days). Only addresses of this machine are taken.
"""

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from sandbox.listing import Listing
from sandbox.refused import Refused
from sandbox.store import Numbered, Value

log = logging.getLogger(__name__)

SIGNATURE = "Stripe-Signature"
VERSION = "2026-06-30.basil"
ATTEMPTS = 4
FIRST_PAUSE_S = 0.2
EVERYTHING = "*"
KINDS = ("charge.dispute.created", "refund.created")
_HERE = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        event_id: ``evt_...``.
        kind: Stripe's type of event.
        created: seconds since 1970, UTC.
        shown: the object that it happened to, in Stripe's words.
    """

    event_id: str
    kind: str
    created: int
    shown: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where events are sent."""

    endpoint_id: str
    url: str
    kinds: tuple[str, ...]
    created: int
    secret: str


def created(record: Event | Endpoint) -> Value:
    """Sort key."""
    return record.created


@dataclass(slots=True)
class Webhooks:
    """Events and who is told of them."""

    events: Numbered[Event] = field(default_factory=Numbered)
    endpoints: Numbered[Endpoint] = field(default_factory=Numbered)
    deliveries: set[asyncio.Task[None]] = field(default_factory=set)

    def happened(self, kind: str, shown: dict[str, Any]) -> None:
        """Keep an event, and send it to those who want it; to be called from the server's loop."""
        event = Event(f"evt_{len(self.events) + 1}_{secrets.token_hex(8)}", kind, int(time.time()), shown)
        self.events.put(event.event_id, event)
        for _, endpoint in self.endpoints.scan(created):
            if EVERYTHING in endpoint.kinds or kind in endpoint.kinds:
                task = asyncio.get_running_loop().create_task(_deliver(endpoint, event))
                self.deliveries.add(task)
                task.add_done_callback(self.deliveries.discard)

    def clear(self) -> None:
        """Forget everything, and send nothing more."""
        for task in self.deliveries:
            task.cancel()
        self.events.clear()
        self.endpoints.clear()


async def _deliver(endpoint: Endpoint, event: Event) -> None:
    body = msgspec.json.encode(as_event(event))
    async with httpx.AsyncClient(timeout=10) as client:
        for attempt in range(ATTEMPTS):
            headers = {
                SIGNATURE: signature(body, endpoint.secret, int(time.time())),
                "Content-Type": "application/json",
            }
            try:
                answer = await client.post(endpoint.url, content=body, headers=headers)
                if answer.is_success:
                    return
                said = f"HTTP {answer.status_code}"
            except httpx.HTTPError as error:
                said = f"{type(error).__name__}: {error}"
            log.warning("%s was not taken by %s: %s", event.event_id, endpoint.url, said)
            await asyncio.sleep(FIRST_PAUSE_S * 2**attempt)


def signature(body: bytes, secret: str, now: int) -> str:
    """The header's value for a body at a moment, in seconds since 1970."""
    signed = hmac.new(secret.encode(), str(now).encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={now},v1={signed}"


def as_event(event: Event) -> dict[str, Any]:
    """An event in Stripe's words."""
    return {
        "id": event.event_id,
        "object": "event",
        "api_version": VERSION,
        "created": event.created,
        "data": {"object": event.shown},
        "livemode": False,
        "pending_webhooks": 0,
        "request": {"id": None, "idempotency_key": None},
        "type": event.kind,
    }


def as_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint in Stripe's words; its secret is shown only to whoever makes it."""
    return {
        "id": endpoint.endpoint_id,
        "object": "webhook_endpoint",
        "api_version": None,
        "application": None,
        "created": endpoint.created,
        "description": None,
        "enabled_events": list(endpoint.kinds),
        "livemode": False,
        "metadata": {},
        "status": "enabled",
        "url": endpoint.url,
    }


def routes(webhooks: Webhooks, authorise: Callable[[Request], None]) -> APIRouter:
    """The provider's routes about webhooks.

    Args:
        webhooks: events and endpoints.
        authorise: raises Refused unless a request has the key.
    """
    router = APIRouter()
    events = Listing(
        "events", "event", webhooks.events, created, as_event, {"type": lambda one, kind: one.kind == kind}
    )
    endpoints = Listing("webhook_endpoints", "webhook endpoint", webhooks.endpoints, created, as_endpoint)

    def answered(request: Request, work: Callable[[], dict[str, Any]]) -> JSONResponse:
        try:
            authorise(request)
            return JSONResponse(work())
        except Refused as refused:
            return refused.answer()

    @router.get("/v1/events")
    async def list_events(request: Request) -> JSONResponse:
        return answered(request, lambda: events.page(list(request.query_params.multi_items())))

    @router.get("/v1/events/{key}")
    async def retrieve_event(key: str, request: Request) -> JSONResponse:
        return answered(request, lambda: as_event(events.retrieve(key)))

    @router.get("/v1/webhook_endpoints")
    async def list_endpoints(request: Request) -> JSONResponse:
        return answered(request, lambda: endpoints.page(list(request.query_params.multi_items())))

    @router.post("/v1/webhook_endpoints")
    async def create_endpoint(request: Request) -> JSONResponse:
        form = parse_qsl((await request.body()).decode(errors="replace"))
        return answered(request, lambda: _made(webhooks, form))

    return router


def _made(webhooks: Webhooks, form: list[tuple[str, str]]) -> dict[str, Any]:
    url = dict(form).get("url", "")
    kinds = tuple(value for name, value in form if name.startswith("enabled_events["))
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname not in _HERE:
        raise Refused(400, f"Invalid URL: the sandbox sends to this machine only, not to '{url}'", "url_invalid", "url")
    if not kinds:
        raise Refused(400, "Missing required param: enabled_events.", "parameter_missing", "enabled_events")
    if unknown := [kind for kind in kinds if kind not in (EVERYTHING, *KINDS)]:
        raise Refused(400, f"Invalid enabled_events: {unknown[0]} never happens here", None, "enabled_events")
    endpoint = Endpoint(f"we_{secrets.token_hex(8)}", url, kinds, int(time.time()), f"whsec_{secrets.token_hex(16)}")
    webhooks.endpoints.put(endpoint.endpoint_id, endpoint)
    return as_endpoint(endpoint) | {"secret": endpoint.secret}
