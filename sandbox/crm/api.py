"""The CRM's HTTP side: token, query with its pages, describe, reading and writing single records."""

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from sandbox.crm.objects import Field, SObject, accounts, contacts
from sandbox.crm.refused import Refused, not_found
from sandbox.crm.sessions import Sessions
from sandbox.crm.soql import parse
from sandbox.records import Account, Contact
from sandbox.store import Numbered

PREFIX = "/services"
DATA = f"{PREFIX}/data/{{version}}"
MOST_PER_PAGE = 2000
FEWEST_PER_PAGE = 200
MOST_LOCATORS = 10
"""A user has so many open queries; one more closes the oldest."""


type Route = Callable[..., Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class _Found:
    """What a query found, kept for its next pages: later pages show records as they are by then."""

    sobject: SObject
    fields: list[Field]
    numbers: list[int]
    size: int


@dataclass(frozen=True)
class Crm:
    """What the routes need: records, sessions, open queries."""

    sessions: Sessions
    accounts: Numbered[Account] = field(default_factory=Numbered)
    contacts: Numbered[Contact] = field(default_factory=Numbered)
    locators: dict[str, _Found] = field(default_factory=dict)

    @property
    def sobjects(self) -> dict[str, SObject]:
        """The objects by name."""
        return {one.name: one for one in (accounts(self.accounts), contacts(self.contacts))}


def routes(crm: Crm, now: Callable[[], float] = time.time) -> APIRouter:
    """The CRM's routes.

    Args:
        crm: records and sessions.
        now: seconds since 1970, for the stamps of what is written.
    """
    router = APIRouter()

    @router.post(f"{PREFIX}/oauth2/token")
    async def token(request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(errors="replace")))
        url = str(request.base_url).rstrip("/")
        return crm.sessions.token(form, request.headers.get("Authorization"), url)

    router.include_router(_queries(crm), prefix=DATA)
    router.include_router(_objects(crm), prefix=DATA)
    router.include_router(_records(crm, now), prefix=DATA)
    return router


def _guarded(crm: Crm) -> Callable[[Route], Route]:
    """Check version and token, and give refusals their form."""

    def around(work: Route) -> Route:
        @wraps(work)
        async def route(**given: Any) -> Response:
            try:
                crm.sessions.check(given["request"].headers.get("Authorization"))
                if not _is_version(given["version"]):
                    raise not_found()
                return await work(**given)
            except Refused as refused:
                return refused.answer()

        return route

    return around


def _queries(crm: Crm) -> APIRouter:
    router = APIRouter()
    sobjects = crm.sobjects

    @router.get("/query")
    @router.get("/query/")
    @_guarded(crm)
    async def query(version: str, request: Request) -> Response:
        asked = parse(request.query_params.get("q", ""), sobjects)
        found = asked.records()
        if not asked.fields:
            return JSONResponse({"totalSize": len(found), "done": True, "records": []})
        numbers = [asked.sobject.records.number(one.customer_id) or 0 for one in found]
        kept = _Found(asked.sobject, asked.fields, numbers, _batch(request.headers.get("Sforce-Query-Options")))
        return JSONResponse(_page(crm, kept, f"01g{secrets.token_hex(7)}A", 0, _root(version)))

    @router.get("/query/{locator}")
    @_guarded(crm)
    async def more(version: str, locator: str, request: Request) -> Response:
        name, _, start = locator.rpartition("-")
        found = crm.locators.get(name)
        if found is None or not start.isdecimal():
            raise Refused(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return JSONResponse(_page(crm, found, name, int(start), _root(version)))

    return router


def _objects(crm: Crm) -> APIRouter:
    router = APIRouter()
    sobjects = crm.sobjects

    @router.get("/sobjects")
    @router.get("/sobjects/")
    @_guarded(crm)
    async def describe_global(version: str, request: Request) -> Response:
        listed = [_described(one, _root(version)) for one in sobjects.values()]
        return JSONResponse({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": listed})

    @router.get("/sobjects/{name}/describe")
    @router.get("/sobjects/{name}/describe/")
    @_guarded(crm)
    async def describe(version: str, name: str, request: Request) -> Response:
        one = _named(sobjects, name)
        return JSONResponse(_described(one, _root(version)) | {"fields": [field.described() for field in one.fields]})

    return router


def _records(crm: Crm, now: Callable[[], float]) -> APIRouter:
    router = APIRouter()
    sobjects = crm.sobjects

    def shown(version: str, name: str, by: str, value: str) -> Response:
        one = _named(sobjects, name)
        return JSONResponse(one.shown(one.find(by, value), list(one.fields), _root(version)))

    def written(name: str, by: str, value: str, body: bytes) -> str:
        one = _named(sobjects, name)
        record = one.find(by, value)
        one.records.put(record.customer_id, one.changed(record, _fields(body), int(now())))
        return str(one.field("Id").raw(record))

    @router.get("/sobjects/{name}/{record_id}")
    @_guarded(crm)
    async def read(version: str, name: str, record_id: str, request: Request) -> Response:
        return shown(version, name, "Id", record_id)

    @router.get("/sobjects/{name}/{by}/{value}")
    @_guarded(crm)
    async def read_by(version: str, name: str, by: str, value: str, request: Request) -> Response:
        return shown(version, name, by, value)

    @router.patch("/sobjects/{name}/{record_id}")
    @_guarded(crm)
    async def write(version: str, name: str, record_id: str, request: Request) -> Response:
        written(name, "Id", record_id, await request.body())
        return Response(status_code=204)

    @router.patch("/sobjects/{name}/{by}/{value}")
    @_guarded(crm)
    async def write_by(version: str, name: str, by: str, value: str, request: Request) -> Response:
        # Salesforce would insert a record that is not there; the sandbox has no customers but those it was fed.
        record_id = written(name, by, value, await request.body())
        return JSONResponse({"id": record_id, "success": True, "errors": [], "created": False})

    return router


def _named(sobjects: dict[str, SObject], name: str) -> SObject:
    found = next((one for one in sobjects.values() if one.name.lower() == name.lower()), None)
    if found is None:
        raise not_found()
    return found


def _is_version(version: str) -> bool:
    number = version.removeprefix("v").removesuffix(".0")
    return version == f"v{number}.0" and number.isdecimal() and int(number) >= 20


def _root(version: str) -> str:
    return f"{PREFIX}/data/{version}"


def _batch(options: str | None) -> int:
    """The page size that ``Sforce-Query-Options: batchSize=n`` asks for, within Salesforce's bounds."""
    name, _, text = (options or "").replace(" ", "").partition("=")
    asked = int(text) if name == "batchSize" and text.isdecimal() else MOST_PER_PAGE
    return max(FEWEST_PER_PAGE, min(asked, MOST_PER_PAGE))


def _page(crm: Crm, found: _Found, locator: str, start: int, root: str) -> dict[str, Any]:
    end = start + found.size
    records = [found.sobject.records.get(number) for number in found.numbers[start:end]]
    shown = [found.sobject.shown(one, found.fields, root) for one in records if one is not None]
    page: dict[str, Any] = {"totalSize": len(found.numbers), "done": end >= len(found.numbers), "records": shown}
    if page["done"]:
        return page
    if locator not in crm.locators:
        while len(crm.locators) >= MOST_LOCATORS:
            crm.locators.pop(next(iter(crm.locators)))
        crm.locators[locator] = found
    return page | {"nextRecordsUrl": f"{root}/query/{locator}-{end}"}


def _described(sobject: SObject, root: str) -> dict[str, Any]:
    place = f"{root}/sobjects/{sobject.name}"
    return {
        "name": sobject.name,
        "label": sobject.name,
        "labelPlural": f"{sobject.name}s",
        "keyPrefix": sobject.prefix,
        "custom": False,
        "createable": False,
        "deletable": False,
        "queryable": True,
        "updateable": True,
        "urls": {"sobject": place, "describe": f"{place}/describe", "rowTemplate": f"{place}/{{ID}}"},
    }


def _fields(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise Refused(400, "JSON_PARSER_ERROR", f"The HTTP entity body is not a JSON object: {error}") from error
