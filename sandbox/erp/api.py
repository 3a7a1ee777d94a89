"""The ERP system's HTTP side: service document, $metadata, the entity set page by page, single entities, updates.

The server gives pages of its own size; the next link of each carries a ``$skiptoken``, which counts rows. So pages
shift when rows enter or leave what the query finds, as with many a provider on SAP Gateway. Who writes fetches a CSRF
token first and says which version of the entity it has seen.
"""

import base64
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from sandbox.erp import orders, query
from sandbox.erp.refused import Refused, not_found
from sandbox.records import SalesOrder
from sandbox.store import Numbered

ROOT = "/sap/opu/odata/sap/API_SALES_ORDER_SRV"
USER = "COUNTERSIGN"
ROWS_PER_PAGE = 100
COOKIE = "SAP_SESSIONID_S4H_100"
CSRF = "X-CSRF-Token"
VERSION = {"DataServiceVersion": "2.0"}
MOST_SESSIONS = 100


@dataclass(frozen=True)
class Erp:
    """What the routes need: the password of the one user, every order, and the CSRF token of each session."""

    password: str
    orders: Numbered[SalesOrder] = field(default_factory=Numbered)
    sessions: dict[str, str] = field(default_factory=dict)


def routes(erp: Erp, now: Callable[[], float] = time.time) -> APIRouter:
    """The ERP system's routes.

    Args:
        erp: records and sessions.
        now: seconds since 1970, for the stamps of what is written.
    """
    router = APIRouter(prefix=ROOT)

    @router.get("/{path:path}")
    async def read(path: str, request: Request) -> Response:
        return await _answered(erp, request, lambda: _read(erp, path, request))

    @router.api_route("/{path:path}", methods=["PATCH", "MERGE"])
    async def write(path: str, request: Request) -> Response:
        async def work() -> Response:
            _check_csrf(erp, request)
            return _written(erp, path, request, await request.body(), int(now()))

        return await _answered(erp, request, work)

    return router


async def _answered(erp: Erp, request: Request, work: Callable[[], Awaitable[Response] | Response]) -> Response:
    try:
        _check_user(erp, request)
        done = work()
        response = done if isinstance(done, Response) else await done
    except Refused as refused:
        response = refused.answer()
    else:
        if request.headers.get(CSRF, "").lower() == "fetch":
            _hand_out_token(erp, request, response)
    return response


def _check_user(erp: Erp, request: Request) -> None:
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    expected = base64.b64encode(f"{USER}:{erp.password}".encode())
    if kind.lower() != "basic" or not secrets.compare_digest(given.encode(), expected):
        realm = {"WWW-Authenticate": 'Basic realm="SAP NetWeaver Application Server [S4H/100]"'}
        raise Refused(401, "/IWFND/MED/170", "Logon failed", realm)


def _hand_out_token(erp: Erp, request: Request, response: Response) -> None:
    session = request.cookies.get(COOKIE, "")
    if session not in erp.sessions:
        while len(erp.sessions) >= MOST_SESSIONS:
            erp.sessions.pop(next(iter(erp.sessions)))
        session = secrets.token_urlsafe(32)
        erp.sessions[session] = secrets.token_urlsafe(16)
        response.set_cookie(COOKIE, session, path="/", httponly=True)
    response.headers[CSRF] = erp.sessions[session]


def _check_csrf(erp: Erp, request: Request) -> None:
    token = erp.sessions.get(request.cookies.get(COOKIE, ""))
    given = request.headers.get(CSRF, "")
    if token is None or not secrets.compare_digest(given.encode(), token.encode()):
        raise Refused(403, "/IWFND/CM_MGW/CSRF", "CSRF token validation failed", {CSRF: "Required"})


def _read(erp: Erp, path: str, request: Request) -> Response:
    asked = dict(request.query_params)
    root = f"{str(request.base_url).rstrip('/')}{ROOT}"
    if path == "":
        return JSONResponse({"d": {"EntitySets": [orders.SET]}}, headers=VERSION)
    if path == "$metadata":
        return Response(orders.metadata(), media_type="application/xml", headers=VERSION)
    query.check(asked)
    if path in (orders.SET, f"{orders.SET}/$count"):
        found = _found(erp, asked)
        if path.endswith("/$count"):
            return PlainTextResponse(str(len(found)), headers=VERSION)
        return JSONResponse({"d": _page(found, asked, root)}, headers=VERSION)
    order = _one(erp, path)
    shown = orders.shown(order, query.chosen(asked.get("$select", "")), root)
    return JSONResponse({"d": shown}, headers=VERSION | {"ETag": orders.etag(order)})


def _found(erp: Erp, asked: dict[str, str]) -> list[SalesOrder]:
    tests = query.tests(asked.get("$filter", ""))
    every = (order for _, order in erp.orders.scan(_number))
    return [order for order in every if all(test(order) for test in tests)]


def _number(order: SalesOrder) -> str:
    return order.number


def _page(found: list[SalesOrder], asked: dict[str, str], root: str) -> dict[str, Any]:
    skip = query.number(asked, "$skip", 0)
    top = query.number(asked, "$top", len(found))
    wanted = query.ordered(found, asked.get("$orderby", ""))[skip : skip + top]
    start = query.number(asked, "$skiptoken", 0)
    names = query.chosen(asked.get("$select", ""))
    end = start + ROWS_PER_PAGE
    page: dict[str, Any] = {"results": [orders.shown(order, names, root) for order in wanted[start:end]]}
    if asked.get("$inlinecount") == "allpages":
        page["__count"] = str(len(found))
    if end < len(wanted):
        page["__next"] = query.next_link(root, orders.SET, asked, end)
    return page


def _one(erp: Erp, path: str) -> SalesOrder:
    name, _, key = path.partition("(")
    text = key.removesuffix(")").removeprefix(f"{orders.KEY}=").strip("'")
    if name != orders.SET or not key.endswith(")"):
        raise not_found(path)
    number = erp.orders.number(text)
    order = None if number is None else erp.orders.get(number)
    if order is None:
        raise Refused(404, "/IWBEP/CM_MGW_RT/020", f"Resource not found for segment '{name}'")
    return order


def _written(erp: Erp, path: str, request: Request, body: bytes, now: int) -> Response:
    order = _one(erp, path)
    seen = request.headers.get("If-Match")
    if seen is None:
        raise Refused(428, "/IWFND/CM_MGW/428", "Data services request must contain an 'If-Match' header")
    if seen not in ("*", orders.etag(order)):
        raise Refused(412, "/IWBEP/CM_MGW_RT/412", "Precondition failed")
    try:
        given = msgspec.json.decode(body, type=dict[str, str])
    except msgspec.DecodeError as error:
        raise Refused(400, "/IWCOR/CX_DS_EP_PARSE_ERROR", f"The body is not an entity in JSON: {error}") from error
    for name, value in given.items():
        found = orders.PROPERTIES.get(name)
        if found is None:
            raise Refused(400, "/IWCOR/CX_DS_EP_PROPERTY_ERROR", f"Property '{name}' is invalid")
        if not found.writable:
            raise Refused(400, "V4/219", f"{name} cannot be changed")
        if len(value) > found.length:
            raise Refused(400, "/IWCOR/CX_DS_EDM_FACET_ERROR", f"Property '{name}' has invalid value '{value[:40]}'")
    block = given.get("DeliveryBlockReason", order.delivery_block)
    changed = msgspec.structs.replace(order, delivery_block=block, updated=max(now, order.updated))
    erp.orders.put(order.number, changed)
    return Response(status_code=204, headers=VERSION | {"ETag": orders.etag(changed)})
