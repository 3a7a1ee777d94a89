"""A shop that speaks Shopify's GraphQL Admin API; tried with version 2026-07.

Paging: ``orders(first, after, query)`` with ``pageInfo``; every connection of the root type is read alike. What stands
in a list inside of its nodes (``orders.refunds``) is read with them: their change is that of the node. Throttling:
a bucket of query cost that refills with ``restoreRate`` points a second; every answer says in
``extensions.cost.throttleStatus`` what is left, and an error ``THROTTLED`` that it was not enough. Waiting before the
bucket is empty is cheaper than being turned away.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from time import sleep
from typing import Any, ClassVar

from lake.landing.connector import Connector, Entity, Field, Node, Reading
from lake.landing.http import BadCredentials, SourceRefused, SourceUnavailable
from lake.redaction import redacted

log = logging.getLogger(__name__)

THROTTLED_ATTEMPTS = 20
MIN_WAIT_S = 0.1

_CONNECTION = "Connection"
_TYPES = {
    "ID": "text",
    "String": "text",
    "Decimal": "text",
    "URL": "text",
    "Int": "integer",
    "Boolean": "boolean",
    "DateTime": "time",
}
_TYPE = "kind name ofType { kind name ofType { kind name ofType { kind name } } }"
_ROOT = f"{{ __schema {{ queryType {{ fields {{ name type {{ {_TYPE} }} }} }} }} }}"
_FIELDS = f"query Fields($name: String!) {{ __type(name: $name) {{ fields {{ name type {{ {_TYPE} }} }} }} }}"


class Shopify(Connector):
    """Reads any connection of the root type: orders, customers, products …, and lists inside of their nodes."""

    most_per_page: ClassVar[int] = 250
    searches: ClassVar[bool] = True

    def headers(self) -> dict[str, str]:
        """Return the header that signs in: the secret of the connection is the app's access token."""
        return {"X-Shopify-Access-Token": self.endpoint.secret}

    def check_credentials(self) -> None:
        """Ask for the shop's name."""
        self._ask("{ shop { name } }", {})

    def describe_entities(self) -> list[Entity]:
        """Return the connections of the root type, from introspection."""
        return [Entity(name, node) for name, node in sorted(self._connections().items())]

    def describe_fields(self, entity: str) -> list[Field]:
        """Return the fields of a connection's nodes, those of objects inside them as dotted paths (one level)."""
        connection, _, inside = entity.partition(".")
        node = self._connections().get(connection)
        if node is not None and inside:
            node = self._listed(node).get(inside)
        if node is None:
            raise SourceRefused(f"{self.endpoint.connection}: the shop has no connection {entity!r}")
        return sorted(self._fields(node, "", deeper=True), key=lambda field: field.path)

    def read_pages(self, reading: Reading) -> Iterator[list[Node]]:
        """Yield the nodes of a connection, or what stands in a list inside of them; oldest change first."""
        # The cursor of what stands inside is that of the node, and what stands inside knows the way back to it.
        cursor = snake(reading.cursor.rpartition(".")[2])
        connection, _, inside = reading.entity.partition(".")
        fields = selection(reading.paths)
        nodes = f"{{ {Shopify.id_path} {inside} {fields} }}" if inside else fields
        query = (
            f"query Read($first: Int!, $after: String, $query: String) {{ page: {connection}(first: $first, "
            f"after: $after, query: $query, sortKey: {cursor.upper()}) {{ nodes {nodes} "
            "pageInfo { hasNextPage endCursor } } }"
        )
        terms = [] if reading.search is None else [reading.search]
        if reading.since is not None:
            terms.append(f"{cursor}:>='{reading.since.strftime('%Y-%m-%dT%H:%M:%SZ')}'")
        variables: dict[str, Any] = {"first": reading.page_size, "after": None, "query": " AND ".join(terms) or None}
        while True:
            page = self._ask(query, variables)["page"]
            yield [row for node in page["nodes"] for row in node[inside] or ()] if inside else page["nodes"]
            if not page["pageInfo"]["hasNextPage"]:
                return
            variables["after"] = page["pageInfo"]["endCursor"]

    def _ask(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the data, after waiting for the bucket where that is needed."""
        for _ in range(THROTTLED_ATTEMPTS):
            answer = self.api.call("POST", self.root, json={"query": query, "variables": variables})
            cost = (answer.get("extensions") or {}).get("cost") or {}
            errors = answer.get("errors") or []
            if not errors:
                if variables.get("after") is not None or _goes_on(answer["data"]):
                    sleep(refill_wait(cost))
                return dict(answer["data"])
            self._refuse(errors)
            wait = max(refill_wait(cost), MIN_WAIT_S)
            log.info("%s: the shop throttles, waiting %.1f s", self.endpoint.connection, wait)
            sleep(wait)
        raise SourceUnavailable(f"{self.endpoint.connection}: the shop throttled {THROTTLED_ATTEMPTS} times in a row")

    def _refuse(self, errors: list[dict[str, Any]] | str) -> None:
        """Pass over THROTTLED; raise for everything else."""
        where = f"Airflow connection {self.endpoint.connection}"
        listed = errors if isinstance(errors, list) else [{"message": str(errors)}]
        codes = {(error.get("extensions") or {}).get("code") for error in listed}
        if codes == {"THROTTLED"}:
            return
        said = redacted("; ".join(str(error.get("message")) for error in listed), (self.endpoint.secret,))[:300]
        if "ACCESS_DENIED" in codes:
            raise BadCredentials(
                f"{where}: the shop denies access: {said}. The token needs the scope that reads the object "
                "(read_orders, and read_all_orders for orders older than 60 days)"
            )
        if "MAX_COST_EXCEEDED" in codes:
            raise SourceRefused(
                f"{where}: one page costs more than the shop allows: {said}. Lower page_size in the flow"
            )
        raise SourceRefused(f"{where}: the shop refuses the query: {said}")

    def _connections(self) -> dict[str, str]:
        """Connections of the root type, and the type of their nodes."""
        fields = self._ask(_ROOT, {})["__schema"]["queryType"]["fields"]
        named = {field["name"]: _named(field["type"])["name"] for field in fields}
        return {name: kind.removesuffix(_CONNECTION) for name, kind in named.items() if kind.endswith(_CONNECTION)}

    def _listed(self, of: str) -> dict[str, str]:
        """Lists of objects inside of a node, and the type of what stands in them."""
        fields = self._ask(_FIELDS, {"name": of})["__type"]["fields"]
        many = {field["name"]: _named(field["type"]) for field in fields if _many(field["type"])}
        return {name: kind["name"] for name, kind in many.items() if kind["kind"] == "OBJECT"}

    def _fields(self, of: str, prefix: str, *, deeper: bool) -> Iterator[Field]:
        for field in self._ask(_FIELDS, {"name": of})["__type"]["fields"]:
            path, kind = f"{prefix}{field['name']}", _named(field["type"])
            if kind["kind"] == "OBJECT":
                if deeper and not _many(field["type"]) and not kind["name"].endswith(_CONNECTION):
                    yield from self._fields(kind["name"], f"{path}.", deeper=False)
                continue
            fits = "text" if kind["kind"] == "ENUM" else _TYPES.get(kind["name"], "")
            yield Field(path, "" if _many(field["type"]) else fits, kind["name"], field["type"]["kind"] != "NON_NULL")


def selection(paths: Iterable[str]) -> str:
    """Return the selection of GraphQL that asks for these paths, and for the row's own id."""
    tree: dict[str, Any] = {Shopify.id_path: {}}
    for path in paths:
        inside = tree
        for name in path.split("."):
            inside = inside.setdefault(name, {})
    return _written(tree)


def _written(tree: dict[str, Any]) -> str:
    return f"{{ {' '.join(f'{name} {_written(inside)}' if inside else name for name, inside in tree.items())} }}"


def snake(name: str) -> str:
    """Return ``updatedAt`` as the search syntax and the sort keys write it: ``updated_at``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _goes_on(data: dict[str, Any]) -> bool:
    page = data.get("page")
    return isinstance(page, dict) and bool(page["pageInfo"]["hasNextPage"])


def _named(kind: dict[str, Any]) -> dict[str, Any]:
    while kind.get("ofType"):
        kind = kind["ofType"]
    return kind


def _many(kind: dict[str, Any]) -> bool:
    return kind["kind"] == "LIST" or (bool(kind.get("ofType")) and _many(kind["ofType"]))


def refill_wait(cost: dict[str, Any]) -> float:
    """Return the seconds until the bucket holds enough for one more query like this, 0 if it does already."""
    status = cost.get("throttleStatus") or {}
    rate = float(status.get("restoreRate") or 0)
    missing = float(cost.get("requestedQueryCost") or 0) - float(status.get("currentlyAvailable") or 0)
    return max(0.0, missing / rate) if rate > 0 else 0.0
