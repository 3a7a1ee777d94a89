"""A provider that speaks Stripe's API: every list is ``GET /v1/…``, newest first, paged by ``starting_after``."""

from collections.abc import Iterator
from typing import Any, ClassVar

from lake.landing.connector import Connector, Entity, Field, Node, Reading
from lake.landing.http import SourceRefused

LISTS = ("balance_transactions", "charges", "customers", "disputes", "events", "payment_intents", "payouts", "refunds")
"""Lists of the API that page alike and can be filtered by ``created``. Stripe has no call that names them."""

_TYPES = {str: "text", bool: "boolean", int: "integer"}


class Stripe(Connector):
    """Reads any list of the API. There is no "changed since": a flow looks again at what was created lately."""

    most_per_page: ClassVar[int] = 100

    def headers(self) -> dict[str, str]:
        """Return the header that signs in: the secret of the connection is the API key."""
        return {"Authorization": f"Bearer {self.endpoint.secret}"}

    def check_credentials(self) -> None:
        """Ask for one charge."""
        self._page("charges", {"limit": 1})

    def describe_entities(self) -> list[Entity]:
        """Return the lists that page alike."""
        return [Entity(name, name.replace("_", " ")) for name in LISTS]

    def describe_fields(self, entity: str) -> list[Field]:
        """Return the fields of the newest row, since Stripe does not describe itself; none if there is no row yet."""
        newest = self._page(entity, {"limit": 1})["data"]
        return sorted((field for row in newest for field in _fields(row, "")), key=lambda field: field.path)

    def read_pages(self, reading: Reading) -> Iterator[list[Node]]:
        """Yield the rows of a list, newest first."""
        query: dict[str, str | int] = {"limit": reading.page_size}
        if reading.since is not None:
            query[f"{reading.cursor}[gte]"] = int(reading.since.timestamp())
        while True:
            page = self._page(reading.entity, query)
            rows = page["data"]
            yield rows
            if not page.get("has_more"):
                return
            if not rows:
                raise SourceRefused(f"{self._where(reading.entity)} says has_more and gives an empty page")
            query["starting_after"] = rows[-1]["id"]

    def _page(self, entity: str, query: dict[str, str | int]) -> dict[str, Any]:
        page = self.api.call("GET", f"{self.root}/{entity}", params=query)
        if not isinstance(page.get("data"), list):
            raise SourceRefused(f"{self._where(entity)} has no list `data`")
        return page

    def _where(self, entity: str) -> str:
        return f"{self.endpoint.connection}: the provider's answer to {self.root}/{entity}"


def _fields(row: dict[str, Any], prefix: str) -> Iterator[Field]:
    for name, value in row.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _fields(value, f"{path}.")
        else:
            fits = "time" if name == "created" else _TYPES.get(type(value), "")
            yield Field(path, fits, type(value).__name__, nullable=value is None)
