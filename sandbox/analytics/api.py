"""The HTTP side of web analytics: a property's metadata and ``runReport``, Google's errors, a quota in tokens."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from sandbox.analytics import report
from sandbox.cost import Bucket
from sandbox.records import Visits
from sandbox.store import Numbered

PREFIX = "/v1beta"
PROPERTY = "123456789"
TOKENS_PER_HOUR = 40_000
TOKENS_PER_REPORT = 10


class Refused(Exception):
    """A request that is answered with an error: HTTP status, and Google's word for it."""

    def __init__(self, status: int, word: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.word = word

    def answer(self) -> JSONResponse:
        """The HTTP answer."""
        error = {"code": self.status, "message": str(self), "status": self.word}
        return JSONResponse({"error": error}, self.status)


@dataclass(frozen=True)
class Analytics:
    """What the routes need: the access token that is good, every visit, and what is left of the hourly quota."""

    token: str
    visits: Numbered[Visits] = field(default_factory=Numbered)
    quota: Bucket = field(default_factory=lambda: Bucket(TOKENS_PER_HOUR, TOKENS_PER_HOUR / 3600, time.monotonic))


def routes(analytics: Analytics) -> APIRouter:
    """The routes of web analytics."""
    router = APIRouter(prefix=f"{PREFIX}/properties")

    def answered(request: Request, property_id: str, work: Callable[[], dict[str, Any]]) -> JSONResponse:
        try:
            _check(analytics, request, property_id)
            return JSONResponse(work())
        except report.Invalid as invalid:
            return Refused(400, "INVALID_ARGUMENT", str(invalid)).answer()
        except Refused as refused:
            return refused.answer()

    @router.get("/{property_id}/metadata")
    async def metadata(property_id: str, request: Request) -> JSONResponse:
        return answered(request, property_id, lambda: report.described(property_id))

    @router.post("/{what}")
    async def run(what: str, request: Request) -> JSONResponse:
        property_id, _, verb = what.partition(":")
        body = await request.body()

        def work() -> dict[str, Any]:
            if verb != "runReport":
                raise Refused(404, "NOT_FOUND", "Method not found.")
            return _report(analytics, body)

        return answered(request, property_id, work)

    return router


def _check(analytics: Analytics, request: Request, property_id: str) -> None:
    given = request.headers.get("Authorization", "")
    if not secrets.compare_digest(given.encode(), f"Bearer {analytics.token}".encode()):
        message = "Request had invalid authentication credentials. Expected OAuth 2 access token."
        raise Refused(401, "UNAUTHENTICATED", message)
    if property_id != PROPERTY:
        raise Refused(403, "PERMISSION_DENIED", "User does not have sufficient permissions for this property.")


def _report(analytics: Analytics, body: bytes) -> dict[str, Any]:
    asked = report.read(body)
    first, last = report.days(asked, report.now_utc())
    if not analytics.quota.take(TOKENS_PER_REPORT):
        message = "Exhausted property tokens per hour. These quota tokens will return in under an hour."
        raise Refused(429, "RESOURCE_EXHAUSTED", message)
    visits = [one for _, one in analytics.visits.scan(_date, low=first, high=last)]
    made = report.made(asked, visits)
    if asked.return_property_quota:
        left = {"consumed": TOKENS_PER_REPORT, "remaining": int(analytics.quota.available)}
        made["propertyQuota"] = {"tokensPerHour": left}
    return made


def _date(one: Visits) -> str:
    return one.date
