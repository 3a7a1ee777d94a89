"""The carriers' HTTP side: lists of trackings, page by page behind a cursor, and single ones.

The newest tracking comes first. A cursor is a place between two trackings, so pages do not shift when parcels move on
or new ones come; a tracking that changes meanwhile shows what it is by then.
"""

import base64
import binascii
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from sandbox.carrier import trackings
from sandbox.records import Shipment
from sandbox.store import Numbered, Position

PREFIX = "/tracking"
PAGE = 100
MOST_PER_PAGE = 200
CHOOSABLE = frozenset({"title", "order_id", "tag", "checkpoints"})
TYPES = {400: "BadRequest", 401: "Unauthorized", 404: "NotFound"}


class Refused(Exception):
    """A request that is answered with an error: status, the API's own code, and words."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def answer(self) -> JSONResponse:
        """The HTTP answer."""
        meta = {"code": self.code, "message": str(self), "type": TYPES[self.status]}
        return JSONResponse({"meta": meta, "data": {}}, self.status)


@dataclass(frozen=True)
class Carrier:
    """What the routes need: the key of the one account that uses the sandbox, and every parcel."""

    key: str
    shipments: Numbered[Shipment] = field(default_factory=Numbered)


def routes(carrier: Carrier) -> APIRouter:
    """The carriers' routes."""
    router = APIRouter(prefix=f"{PREFIX}/{{version}}")

    def answered(request: Request, version: str, work: Callable[[], dict[str, Any]]) -> JSONResponse:
        try:
            _check(carrier, request, version)
            return JSONResponse({"meta": {"code": 200}, "data": work()})
        except Refused as refused:
            return refused.answer()

    @router.get("/trackings")
    async def listed(version: str, request: Request) -> JSONResponse:
        return answered(request, version, lambda: _page(carrier, dict(request.query_params)))

    @router.get("/trackings/{tracking_id}")
    async def one(version: str, tracking_id: str, request: Request) -> JSONResponse:
        return answered(request, version, lambda: _one(carrier, tracking_id, dict(request.query_params)))

    return router


def _check(carrier: Carrier, request: Request, version: str) -> None:
    given = request.headers.get("as-api-key", "")
    if not secrets.compare_digest(given.encode(), carrier.key.encode()):
        raise Refused(401, 401, "The API key is invalid.")
    year, _, month = version.partition("-")
    if not (len(version) == 7 and year.isdecimal() and month.isdecimal()):
        raise Refused(404, 404, "The URI requested is invalid or the resource requested does not exist.")


def _page(carrier: Carrier, query: dict[str, str]) -> dict[str, Any]:
    size = query.get("limit", str(PAGE))
    if not size.isdecimal() or not 1 <= int(size) <= MOST_PER_PAGE:
        raise Refused(400, 4008, f"The value of `limit` is invalid. It should be between 1 and {MOST_PER_PAGE}.")
    found = [(place, one) for place, one in carrier.shipments.scan(_created, descending=True) if _wanted(one, query)]
    after = _position(query["cursor"]) if query.get("cursor") else None
    rest = [(place, one) for place, one in found if after is None or place < after]
    shown, more = rest[: int(size)], len(rest) > int(size)
    pagination: dict[str, Any] = {"total": len(found), "has_next_page": more}
    pagination["next_cursor"] = _cursor(shown[-1][0]) if more else None
    fields = _fields(query)
    return {"pagination": pagination, "trackings": [trackings.as_tracking(one, fields) for _, one in shown]}


def _one(carrier: Carrier, tracking_id: str, query: dict[str, str]) -> dict[str, Any]:
    for _, shipment in carrier.shipments.scan(trackings.tracking_id, low=tracking_id, high=tracking_id):
        return trackings.as_tracking(shipment, _fields(query))
    raise Refused(404, 4004, "Tracking does not exist.")


def _created(shipment: Shipment) -> int:
    return shipment.created


def _wanted(shipment: Shipment, query: dict[str, str]) -> bool:
    return all(test(shipment) for test in _tests(query))


def _tests(query: dict[str, str]) -> Iterator[Callable[[Shipment], bool]]:
    for name, moment in (("created_at", _created), ("updated_at", lambda one: one.updated)):
        if text := query.get(f"{name}_min"):
            low = _seconds(f"{name}_min", text)
            yield lambda one, moment=moment, low=low: moment(one) >= low  # type: ignore[misc]  # bound now
        if text := query.get(f"{name}_max"):
            high = _seconds(f"{name}_max", text)
            yield lambda one, moment=moment, high=high: moment(one) <= high  # type: ignore[misc]  # bound now
    values: dict[str, Callable[[Shipment], str]] = {
        "tag": trackings.tag,
        "slug": lambda one: one.carrier,
        "order_id": lambda one: one.order_id,
        "tracking_numbers": lambda one: one.tracking_number,
        "return_to_sender": lambda one: str(trackings.returned(one)).lower(),
    }
    for name, value in values.items():
        if text := query.get(name):
            among = frozenset(text.split(","))
            yield lambda one, value=value, among=among: value(one) in among  # type: ignore[misc]  # bound now


def _seconds(name: str, text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused(400, 4008, f"The value of `{name}` is invalid.") from error
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()


def _fields(query: dict[str, str]) -> frozenset[str] | None:
    return frozenset(query["fields"].split(",")) & CHOOSABLE if query.get("fields") else None


def _cursor(position: Position) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def _position(cursor: str) -> Position:
    try:
        created, number = msgspec.json.decode(
            base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=tuple[int, int]
        )
    except (msgspec.DecodeError, binascii.Error, ValueError) as error:
        raise Refused(400, 4008, "The value of `cursor` is invalid.") from error
    return created, number
