"""A service that speaks OData version 2, as SAP's do; tried with the sales orders of S/4HANA (API_SALES_ORDER_SRV).

The connection: login and password of a communication user.

**Paging.** A ``$skiptoken`` usually counts rows, and then a row that leaves the result moves all others up, so that one
is skipped. Therefore the connector asks for a slice of rows by the key, each slice behind the last key of the one
before, and follows the server's next links only within a slice. A row that changes stays where its key is.

**Writing.** SAP wants a CSRF token that belongs to the session, and ``If-Match`` with the version that was seen: a
change of somebody else in between is seen first and not written over blindly.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

import httpx
from lxml import etree

from lake.landing.connector import Connector, Entity, Field, Node, Reading
from lake.landing.http import SourceRefused, SourceUnavailable

CSRF = "X-CSRF-Token"
SAFE = frozenset({"GET", "HEAD"})
CHANGED_MEANWHILE = 412
WRITE_ATTEMPTS = 5
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_TYPES = {
    **dict.fromkeys(["Edm.String", "Edm.Guid", "Edm.Time"], "text"),
    # A number of 64 bits or with decimals is a text in OData's JSON; an amount takes it as that.
    **dict.fromkeys(["Edm.Decimal", "Edm.Int64", "Edm.Double", "Edm.Single"], "text"),
    **dict.fromkeys(["Edm.Byte", "Edm.SByte", "Edm.Int16", "Edm.Int32"], "integer"),
    **dict.fromkeys(["Edm.DateTime", "Edm.DateTimeOffset"], "time"),
    "Edm.Boolean": "boolean",
}
_MOMENT = re.compile(r"^/Date\((?P<milliseconds>-?\d+)(?:[+-]\d+)?\)/$")


@dataclass(frozen=True, slots=True)
class EntityType:
    """What $metadata says of an entity set: its keys, and its properties with their types."""

    keys: tuple[str, ...]
    properties: dict[str, tuple[str, bool]]


class Session(httpx.Auth):
    """Signs in by name and password, and adds the CSRF token of the session to what changes something."""

    requires_response_body = True

    def __init__(self, login: str, password: str, root: str) -> None:
        """No token is asked for before the first change."""
        self._basic = httpx.BasicAuth(login, password)
        self._root = root
        self._token = ""
        self._cookies = ""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send the request; what changes something a second time if its token has expired meanwhile."""
        self._sign(request)
        if request.method in SAFE:
            yield request
            return
        if not self._token:
            self._keep((yield self._wanted(request)))
        self._add_token(request)
        response = yield request
        if response.status_code == httpx.codes.FORBIDDEN and response.headers.get(CSRF, "").lower() == "required":
            self._keep((yield self._wanted(request)))
            self._add_token(request)
            yield request

    def _sign(self, request: httpx.Request) -> None:
        next(self._basic.auth_flow(request))

    def _wanted(self, request: httpx.Request) -> httpx.Request:
        asking = httpx.Request("GET", request.url.join(f"{self._root}/"), headers={CSRF: "Fetch"})
        self._sign(asking)
        return asking

    def _keep(self, response: httpx.Response) -> None:
        # Without a token the change is refused, and the refusal tried again: nothing to decide here.
        self._token = response.headers.get(CSRF, "")
        self._cookies = "; ".join(f"{name}={value}" for name, value in response.cookies.items())

    def _add_token(self, request: httpx.Request) -> None:
        request.headers[CSRF] = self._token
        request.headers["Cookie"] = self._cookies


class OData(Connector):
    """Reads any entity set whose key is one text, in the order of its key, and writes properties back."""

    most_per_page: ClassVar[int] = 1000
    id_path: ClassVar[str] = "__metadata.uri"

    def auth(self) -> httpx.Auth:
        """Return the session."""
        return Session(self.endpoint.login, self.endpoint.secret, self.root)

    def headers(self) -> dict[str, str]:
        """Return what asks for JSON."""
        return {"Accept": "application/json"}

    def is_passing(self, response: httpx.Response) -> bool:
        """Whether only the CSRF token was missing, because the answer that should have brought it got lost."""
        return response.headers.get(CSRF, "").lower() == "required"

    def check_credentials(self) -> None:
        """Ask for the service document."""
        self.api.call("GET", f"{self.root}/", params={"$format": "json"})

    def describe_entities(self) -> list[Entity]:
        """Return the entity sets."""
        return [Entity(name, name.removeprefix("A_")) for name in self._sets]

    def describe_fields(self, entity: str) -> list[Field]:
        """Return the properties of an entity set."""
        found = self._type(entity).properties
        return [Field(name, _TYPES.get(kind, ""), kind, nullable) for name, (kind, nullable) in found.items()]

    def read_pages(self, reading: Reading) -> Iterator[list[Node]]:
        """Yield the entities in the order of their key."""
        key = self._key(reading.entity)
        changed = [] if reading.since is None else [f"{reading.cursor} ge {self._moment(reading)}"]
        names = dict.fromkeys((key, *(path for path in reading.paths if not path.startswith("__"))))
        query = {
            "$format": "json",
            "$select": ",".join(names),
            "$orderby": key,
            "$top": str(reading.page_size),
        }
        behind: list[str] = []
        while True:
            conditions = " and ".join((*changed, *behind))
            asked = query | ({"$filter": conditions} if conditions else {})
            rows = 0
            for page in self._slice(reading.entity, asked):
                rows += len(page)
                if page:
                    behind = [f"{key} gt {_quoted(page[-1][key])}"]
                yield [_plain(row) for row in page]
            if rows < reading.page_size:
                return

    def write_records(self, entity: str, key: str, records: Sequence[Node]) -> int:
        """Set properties of entities, each found by its key, and return how many there were."""
        if key != self._key(entity):
            raise SourceRefused(f"{self.endpoint.connection}: {entity} is found by {self._key(entity)}, not by {key}")
        for record in records:
            value = record.get(key)
            if not isinstance(value, str) or not value:
                raise SourceRefused(f"{self.endpoint.connection}: a record of {entity} to be written has no {key}")
            fields = {name: field for name, field in record.items() if name != key}
            self._write(f"{self.root}/{entity}({quote(_quoted(value), safe=chr(39))})", fields)
        return len(records)

    def _write(self, path: str, fields: dict[str, Any]) -> None:
        """Set fields of one entity, unless they have these values; look again whenever somebody else was faster."""
        for _ in range(WRITE_ATTEMPTS):
            there = _content(self.api.call("GET", path, params={"$format": "json"}), path)
            if all(there.get(name) == value for name, value in fields.items()):
                return
            try:
                self.api.call("PATCH", path, json=fields, headers={"If-Match": there["__metadata"]["etag"]})
            except SourceRefused as error:
                if error.status != CHANGED_MEANWHILE:
                    raise
            else:
                return
        raise SourceUnavailable(
            f"{path} (Airflow connection {self.endpoint.connection}): changed by somebody else {WRITE_ATTEMPTS} times "
            "in a row while it was to be written"
        )

    def _slice(self, entity: str, query: dict[str, str]) -> Iterator[list[Node]]:
        path = f"{self.root}/{entity}"
        content = _content(self.api.call("GET", path, params=query), path)
        while True:
            yield content["results"]
            link = content.get("__next")
            if not link:
                return
            # Only path and query of the link count: behind a gateway the service does not know its own host.
            place = urlsplit(link)
            following = f"{place.path}?{place.query}" if place.path.startswith("/") else f"{self.root}/{link}"
            content = _content(self.api.call("GET", following), path)

    def _moment(self, reading: Reading) -> str:
        """The literal of the moment from which on rows are read."""
        assert reading.since is not None  # noqa: S101 - for the type checker: asked for only then
        kind = self._type(reading.entity).properties.get(reading.cursor, ("", False))[0]
        text = reading.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
        if kind == "Edm.DateTimeOffset":
            return f"datetimeoffset'{text}Z'"
        if kind == "Edm.DateTime":
            return f"datetime'{text}'"
        raise SourceRefused(f"{self.endpoint.connection}: {reading.cursor} of {reading.entity} is no moment")

    def _key(self, entity: str) -> str:
        found = self._type(entity)
        if len(found.keys) != 1 or found.properties[found.keys[0]][0] != "Edm.String":
            raise SourceRefused(
                f"{self.endpoint.connection}: {entity} has the key {', '.join(found.keys)}; this connector pages by a "
                "key that is one text"
            )
        return found.keys[0]

    def _type(self, entity: str) -> EntityType:
        found = self._sets.get(entity)
        if found is None:
            raise SourceRefused(f"{self.endpoint.connection}: {self.root} has no entity set {entity!r}")
        return found

    @cached_property
    def _sets(self) -> dict[str, EntityType]:
        text = self.api.text(f"{self.root}/$metadata", headers={"Accept": "application/xml"})
        try:
            return _types(text)
        except (etree.XMLSyntaxError, KeyError) as error:
            where = f"{self.endpoint.connection}: {self.root}/$metadata"
            raise SourceRefused(f"{where} does not describe an OData service ({error})") from error


def _types(text: str) -> dict[str, EntityType]:
    """Return the entity sets of a $metadata document with their types."""
    document = etree.fromstring(text.encode(), etree.XMLParser(resolve_entities=False, no_network=True))
    by_type = {}
    for schema in document.iterfind(".//{*}Schema"):
        for one in schema.iterfind("{*}EntityType"):
            keys = tuple(ref.attrib["Name"] for ref in one.iterfind("{*}Key/{*}PropertyRef"))
            properties = {
                each.attrib["Name"]: (each.attrib["Type"], each.attrib.get("Nullable", "true") == "true")
                for each in one.iterfind("{*}Property")
            }
            by_type[f"{schema.attrib['Namespace']}.{one.attrib['Name']}"] = EntityType(keys, properties)
    return {one.attrib["Name"]: by_type[one.attrib["EntityType"]] for one in document.iterfind(".//{*}EntitySet")}


def _content(answer: dict[str, Any], path: str) -> dict[str, Any]:
    content = answer.get("d")
    if not isinstance(content, dict):
        raise SourceRefused(f"the answer to {path} has no object `d`: is this OData version 2?")
    return content


def _plain(row: Node) -> Node:
    """Return the row with its moments as ISO 8601 texts; OData writes ``/Date(milliseconds)/``."""
    return {name: _iso(value) if isinstance(value, str) else value for name, value in row.items()}


def _iso(value: str) -> str:
    found = _MOMENT.match(value)
    # The offset only says how to show it: the number counts from 1970 in UTC anyway.
    return value if found is None else (EPOCH + timedelta(milliseconds=int(found["milliseconds"]))).isoformat()


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
