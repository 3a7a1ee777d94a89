"""Carriers behind AfterShip's tracking API; tried with version 2026-07.

A tracking is a parcel, and its checkpoints are what happened to it. ``checkpoints`` is an entity of its own: each one a
row, under its tracking's id and hash, with the tracking in ``tracking``.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from lake.landing.connector import Connector, Entity, Field, Node, Reading
from lake.landing.http import SourceRefused

TRACKINGS = "trackings"
CHECKPOINTS = "checkpoints"
CURSORS = {TRACKINGS: ("updated_at", "created_at"), CHECKPOINTS: ("tracking.updated_at",)}
"""By what the API can filter; checkpoints come with the tracking that changed."""

_TYPES = {str: "text", bool: "boolean", int: "integer"}


class AfterShip(Connector):
    """Reads parcels and what happened to them. The newest parcel comes first, on pages that do not shift."""

    most_per_page: ClassVar[int] = 200

    def headers(self) -> dict[str, str]:
        """Return the header that signs in: the secret of the connection is the API key."""
        return {"as-api-key": self.endpoint.secret}

    def check_credentials(self) -> None:
        """Ask for one parcel."""
        self._page({"limit": 1})

    def describe_entities(self) -> list[Entity]:
        """Return parcels and checkpoints."""
        return [Entity(TRACKINGS, "parcels"), Entity(CHECKPOINTS, "what happened to parcels")]

    def describe_fields(self, entity: str) -> list[Field]:
        """Return the fields of the newest rows, since AfterShip does not describe itself; none if there is no row."""
        newest = self._rows(entity, self._page({"limit": 1})["trackings"])
        found = {field.path: field for row in newest for field in _fields(row, "")}
        return sorted(found.values(), key=lambda field: field.path)

    def read_pages(self, reading: Reading) -> Iterator[list[Node]]:
        """Yield parcels or checkpoints, those of the newest parcel first."""
        query: dict[str, str | int] = {"limit": reading.page_size}
        cursors = CURSORS.get(reading.entity, ())
        if reading.cursor not in cursors:
            known = " or ".join(cursors) or f"entities {' and '.join(CURSORS)}"
            raise SourceRefused(
                f"{self.endpoint.connection}: the carriers' API cannot filter {reading.entity} by {reading.cursor}, "
                f"only by {known}"
            )
        if reading.since is not None:
            query[f"{reading.cursor.rpartition('.')[2]}_min"] = reading.since.isoformat()
        while True:
            page = self._page(query)
            yield self._rows(reading.entity, page["trackings"])
            pagination = page["pagination"]
            if not pagination.get("has_next_page"):
                return
            query["cursor"] = pagination["next_cursor"]

    def _page(self, query: dict[str, str | int]) -> dict[str, Any]:
        page = self.api.call("GET", f"{self.root}/{TRACKINGS}", params=query).get("data")
        if not (isinstance(page, dict) and isinstance(page.get("trackings"), list) and "pagination" in page):
            raise SourceRefused(f"{self.endpoint.connection}: the answer to {self.root}/{TRACKINGS} has no trackings")
        return page

    def _rows(self, entity: str, trackings: list[Node]) -> list[Node]:
        if entity == TRACKINGS:
            return trackings
        if entity == CHECKPOINTS:
            return [row for tracking in trackings for row in _checkpoints(tracking)]
        raise SourceRefused(f"{self.endpoint.connection}: the carriers' API has no entity {entity!r}")


def _checkpoints(tracking: Node) -> Iterator[Node]:
    about = {name: value for name, value in tracking.items() if name != CHECKPOINTS}
    for one in tracking.get(CHECKPOINTS) or ():
        # The carrier tells a checkpoint once; the hash is the same whenever it is shown.
        yield {"id": f"{tracking['id']}/{one['hash']}"} | one | {"tracking": about}


def _fields(row: dict[str, Any], prefix: str) -> Iterator[Field]:
    for name, value in row.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _fields(value, f"{path}.")
        else:
            fits = "time" if name.endswith(("_at", "_time", "_date")) else _TYPES.get(type(value), "")
            yield Field(path, fits, type(value).__name__, nullable=value is None)
