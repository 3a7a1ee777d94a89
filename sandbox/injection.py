"""Injects the faults that real APIs have into a share of the requests: a seeded draw decides which and when.

  throttled     429, with Retry-After but for Stripe, which sends none; the request is not looked at
  unavailable   503; the request is not looked at
  lost          the request is carried out and its answer is lost: 502
  slow          answered right, and late
  expired       every access token of the CRM expires just before; other APIs have none that do, and draw again

Each API answers in its own form. The door of the sandbox itself has no faults.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.types import ASGIApp, Message, Receive, Scope, Send

type Kind = Literal["throttled", "unavailable", "lost", "slow", "expired"]
KINDS: tuple[Kind, ...] = ("throttled", "unavailable", "lost", "slow", "expired")
OWN = ("/sandbox", "/health")
CRM = "/services"
STRIPE = "/v1/"


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many faults there are.

    Attributes:
        share: part of the requests that meet one.
        seed: of the draw; the same requests in the same order meet the same faults.
        kinds: which ones, all alike often.
        retry_after: seconds, what ``throttled`` asks to wait.
        slow_seconds: how late ``slow`` answers.
    """

    share: Annotated[float, Meta(ge=0.0, le=1.0)]
    seed: int = 1
    kinds: Annotated[tuple[Kind, ...], Meta(min_length=1)] = KINDS
    retry_after: Annotated[int, Meta(ge=0)] = 1
    slow_seconds: Annotated[float, Meta(ge=0.0, le=60.0)] = 0.2


class Faults:
    """The rules in force, and how often each fault has happened since they were set."""

    def __init__(self) -> None:
        self.rules = Rules(share=0.0)
        self.happened: Counter[str] = Counter()
        self._draw = random.Random(0)

    def set(self, rules: Rules) -> None:
        """Put rules in force and count from zero."""
        self.rules = rules
        self.happened.clear()
        self._draw = random.Random(f"injection/{rules.seed}")

    def next(self, path: str) -> Kind | None:
        """The fault of the next request, None for most."""
        if path.startswith(OWN) or self._draw.random() >= self.rules.share:
            return None
        kinds = [kind for kind in self.rules.kinds if kind != "expired" or path.startswith(CRM)]
        kind = self._draw.choice(kinds) if kinds else None
        if kind is not None:
            self.happened[kind] += 1
        return kind


class Injector:
    """ASGI middleware between the server and the APIs."""

    def __init__(self, app: ASGIApp, faults: Faults, expire: Callable[[], None]) -> None:
        """Stand in front of an app.

        Args:
            app: the APIs.
            faults: what decides.
            expire: lets every access token expire.
        """
        self._app = app
        self._faults = faults
        self._expire = expire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or do to it what was drawn."""
        kind = self._faults.next(scope["path"]) if scope["type"] == "http" else None
        rules = self._faults.rules
        match kind:
            case "throttled":
                told = {} if scope["path"].startswith(STRIPE) else {"retry-after": str(rules.retry_after)}
                await _answer(send, 429, scope["path"], told)
            case "unavailable":
                await _answer(send, 503, scope["path"])
            case "lost":
                await self._app(scope, receive, _nowhere)
                await _answer(send, 502, scope["path"])
            case "slow":
                await asyncio.sleep(rules.slow_seconds)
                await self._app(scope, receive, send)
            case "expired":
                self._expire()
                await self._app(scope, receive, send)
            case _:
                await self._app(scope, receive, send)


async def _nowhere(_: Message) -> None:
    """Where an answer gets lost."""


async def _answer(send: Send, status: int, path: str, headers: dict[str, str] | None = None) -> None:
    body = json.dumps(said(status, path)).encode()
    sent = {"content-type": "application/json", "content-length": str(len(body))} | (headers or {})
    pairs = [(name.encode(), value.encode()) for name, value in sent.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def said(status: int, path: str) -> Any:
    """The body of an error, as the API at this path writes it."""
    if path.startswith(STRIPE):
        kind = "invalid_request_error" if status == 429 else "api_error"
        error = {"type": kind, "message": "Request rate limit exceeded." if status == 429 else "Something went wrong."}
        return {"error": error | ({"code": "rate_limit"} if status == 429 else {})}
    if path.startswith(CRM):
        code = "REQUEST_LIMIT_EXCEEDED" if status == 429 else "SERVER_UNAVAILABLE"
        return [{"message": "Too many requests." if status == 429 else "Server unavailable.", "errorCode": code}]
    if path.startswith("/tracking/"):  # AfterShip
        kind = "TooManyRequests" if status == 429 else "InternalError"
        message = "You have reached the API rate limit." if status == 429 else "Something went wrong."
        return {"meta": {"code": status, "message": message, "type": kind}, "data": {}}
    if path.startswith("/sap/"):  # SAP Gateway
        message = "Too many requests" if status == 429 else "Service unavailable"
        return {"error": {"code": f"/IWFND/{status}", "message": {"lang": "en", "value": message}}}
    if path.startswith("/v1beta/"):  # Google
        word = "RESOURCE_EXHAUSTED" if status == 429 else "UNAVAILABLE"
        message = "Exhausted property tokens per hour." if status == 429 else "The service is currently unavailable."
        return {"error": {"code": status, "message": message, "status": word}}
    return {"errors": "Exceeded the request limit." if status == 429 else "Service Unavailable"}
