"""Web analytics behind the Data API of Google Analytics 4; tried with v1beta.

A flow's paths are dimensions and metrics by their API names; which is which, the property's metadata says. Everything
is one entity, ``runReport``: one row per combination of the dimensions that the flow maps.

The connection's password is an OAuth 2 access token.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any, ClassVar

from lake.landing.connector import Connector, Entity, Field, Node, Reading
from lake.landing.http import SourceRefused, SourceUnavailable

REPORT = "runReport"
DATE = "date"
EARLIEST = date(2015, 8, 14)
"""The Data API answers nothing earlier."""
READINGS = 5
_WHOLE = frozenset({"TYPE_INTEGER"})


class GoogleAnalytics(Connector):
    """Reads reports by day. A report that changes its size between two of its pages is read anew from its first."""

    most_per_page: ClassVar[int] = 2000

    def headers(self) -> dict[str, str]:
        """Return the header that signs in."""
        return {"Authorization": f"Bearer {self.endpoint.secret}"}

    def check_credentials(self) -> None:
        """Ask for what reports can be made of."""
        self._metadata()

    def describe_entities(self) -> list[Entity]:
        """Return the one thing there is."""
        return [Entity(REPORT, "a report of the dimensions and metrics that a flow maps")]

    def describe_fields(self, entity: str) -> list[Field]:
        """Return dimensions and metrics, and the id that the connector makes of the dimensions."""
        if entity != REPORT:
            raise SourceRefused(f"{self.endpoint.connection}: there is no entity {entity!r}, only {REPORT}")
        found = self._metadata()
        dimensions = [
            Field(one["apiName"], "time" if one["apiName"] == DATE else "text", "dimension", nullable=False)
            for one in found["dimensions"]
        ]
        metrics = [
            Field(one["apiName"], "integer" if one["type"] in _WHOLE else "text", one["type"], nullable=False)
            for one in found["metrics"]
        ]
        return [Field(self.id_path, "text", "made of the dimensions", nullable=False), *dimensions, *metrics]

    def read_pages(self, reading: Reading) -> Iterator[list[Node]]:
        """Yield the rows of the days from ``since`` up to today."""
        found = self._metadata()
        wanted = [path for path in reading.paths if path != self.id_path]
        dimensions = [one["apiName"] for one in found["dimensions"] if one["apiName"] in wanted]
        metrics = [one["apiName"] for one in found["metrics"] if one["apiName"] in wanted]
        strange = [path for path in wanted if path not in (*dimensions, *metrics)]
        if reading.entity != REPORT or strange or DATE not in dimensions or reading.cursor != DATE:
            raise SourceRefused(
                f"{self.endpoint.connection}: a flow reads {REPORT} by {DATE} and maps its dimensions and metrics; "
                + (f"there is no {', '.join(strange)}" if strange else f"not {reading.entity} by {reading.cursor}")
            )
        first = EARLIEST if reading.since is None else max(EARLIEST, reading.since.astimezone(UTC).date())
        request = {
            "dateRanges": [{"startDate": first.isoformat(), "endDate": "today"}],
            "dimensions": [{"name": name} for name in dimensions],
            "metrics": [{"name": name} for name in metrics],
            # Without an order of its own the report comes by the largest number, and numbers change meanwhile.
            "orderBys": [{"dimension": {"dimensionName": name}} for name in dimensions],
            "limit": reading.page_size,
        }
        yield from self._whole(request)

    def _whole(self, request: dict[str, Any]) -> list[list[Node]]:
        """Return all pages of a report of one and the same size."""
        for _ in range(READINGS):
            pages: list[list[Node]] = []
            offset, count = 0, None
            while True:
                page = self.api.call("POST", f"{self.root}:{REPORT}", json=request | {"offset": offset})
                rows = _rows(page)
                pages.append(rows)
                size = int(page.get("rowCount", 0))
                count = size if count is None else count
                offset += len(rows)
                if size != count or (not rows and offset < count):
                    break  # days were restated meanwhile: rows may have moved across the border of two pages
                if offset >= count:
                    return pages
        raise SourceUnavailable(
            f"{self.root}:{REPORT} (Airflow connection {self.endpoint.connection}): the report changed its size while "
            f"it was read, {READINGS} times in a row"
        )

    def _metadata(self) -> dict[str, Any]:
        return self.api.call("GET", f"{self.root}/metadata")


def _rows(page: dict[str, Any]) -> list[Node]:
    dimensions = [one["name"] for one in page.get("dimensionHeaders", ())]
    metrics = [(one["name"], one["type"] in _WHOLE) for one in page.get("metricHeaders", ())]
    return [_row(dimensions, metrics, row) for row in page.get("rows", ())]


def _row(dimensions: list[str], metrics: list[tuple[str, bool]], row: dict[str, Any]) -> Node:
    texts = [one.get("value", "") for one in row.get("dimensionValues", ())]
    numbers = [one.get("value", "0") for one in row.get("metricValues", ())]
    found: Node = dict(zip(dimensions, texts, strict=True))
    # The same row whatever the flow's order of columns.
    about = "\x1f".join(f"{name}={found[name]}" for name in sorted(found))
    found["id"] = hashlib.sha256(about.encode()).hexdigest()[:32]
    found[DATE] = _day(found[DATE])
    for (name, whole), text in zip(metrics, numbers, strict=True):
        found[name] = int(text) if whole else text
    return found


def _day(text: str) -> str:
    """Return midnight of a day as reports write it, YYYYMMDD; the day is that of the property's time zone."""
    try:
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).isoformat()
    except ValueError:
        return text  # "(other)", where Google has folded rows: no day, so the row is set aside
