"""A report: visits added up by the dimensions that were asked for."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from sandbox.records import Visits

MOST_DIMENSIONS = 9
MOST_METRICS = 10
ROWS = 10_000
MOST_ROWS = 250_000
TIME_ZONE = "Etc/UTC"
CURRENCY = "USD"

DIMENSIONS: dict[str, tuple[str, Callable[[Visits], str]]] = {
    "date": ("Date", lambda one: one.date),
    "sessionDefaultChannelGroup": ("Session default channel group", lambda one: one.channel),
    "sessionSource": ("Session source", lambda one: one.source),
    "landingPage": ("Landing page", lambda one: one.landing_page),
    "deviceCategory": ("Device category", lambda one: one.device),
}
METRICS: dict[str, tuple[str, Callable[[Visits], int]]] = {
    "sessions": ("Sessions", lambda one: one.sessions),
    "engagedSessions": ("Engaged sessions", lambda one: one.engaged_sessions),
    "totalUsers": ("Total users", lambda one: one.users),
    "keyEvents": ("Key events", lambda one: one.conversions),
}


class Invalid(ValueError):
    """The request is no report; the message says why."""


class Named(msgspec.Struct, frozen=True):
    """A dimension or a metric."""

    name: str


class DateRange(msgspec.Struct, frozen=True, rename="camel"):
    """Days, both included: a date, ``today``, ``yesterday`` or ``NdaysAgo``."""

    start_date: str
    end_date: str


class ByDimension(msgspec.Struct, frozen=True, rename="camel"):
    """Order by a dimension's value."""

    dimension_name: str


class OrderBy(msgspec.Struct, frozen=True):
    """One key to order by; the sandbox orders by dimensions only."""

    dimension: ByDimension
    desc: bool = False


class Request(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A request for a report; whole numbers may come as texts, as protobuf writes them in JSON."""

    date_ranges: list[DateRange]
    metrics: list[Named]
    dimensions: list[Named] = []
    offset: int = 0
    limit: int = ROWS
    order_bys: list[OrderBy] = []
    keep_empty_rows: bool = False
    return_property_quota: bool = False
    property: str = ""


def read(body: bytes) -> Request:
    """The request in a body.

    Raises:
        Invalid: it is none, or asks for what there is not.
    """
    try:
        asked = msgspec.json.decode(body, type=Request, strict=False)
    except msgspec.DecodeError as error:
        raise Invalid(f"Invalid JSON payload received. {error}") from error
    for kind, known, most, given in (
        ("dimension", DIMENSIONS, MOST_DIMENSIONS, asked.dimensions),
        ("metric", METRICS, MOST_METRICS, asked.metrics),
    ):
        strange = next((one.name for one in given if one.name not in known), None)
        if strange is not None:
            raise Invalid(f"Field {strange} is not a valid {kind}. For a list of valid fields see the metadata.")
        if len(given) > most:
            raise Invalid(f"Requests are limited to {most} {kind}s within a nested request.")
    if not asked.metrics or len(asked.date_ranges) != 1:
        raise Invalid("The sandbox reports at least one metric over exactly one date range.")
    if not 0 < asked.limit <= MOST_ROWS or asked.offset < 0:
        raise Invalid(f"The limit must be between 1 and {MOST_ROWS}, the offset not negative.")
    return asked


def days(asked: Request, today: date) -> tuple[str, str]:
    """The first and the last day, as visits have it."""
    first, last = (_day(text, today) for text in (asked.date_ranges[0].start_date, asked.date_ranges[0].end_date))
    if first > last:
        raise Invalid("The start date is after the end date.")
    return first.strftime("%Y%m%d"), last.strftime("%Y%m%d")


def _day(text: str, today: date) -> date:
    if text in ("today", "yesterday"):
        return today - timedelta(days=text == "yesterday")
    number = text.removesuffix("daysAgo")
    try:
        return today - timedelta(days=int(number)) if number != text else date.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise Invalid(f"Invalid date: {text}. Use YYYY-MM-DD, today, yesterday or NdaysAgo.") from error


def made(asked: Request, visits: list[Visits]) -> dict[str, Any]:
    """The report over these visits, from ``offset`` on."""
    sums: dict[tuple[str, ...], list[int]] = {}
    dimensions = [DIMENSIONS[one.name][1] for one in asked.dimensions]
    metrics = [METRICS[one.name][1] for one in asked.metrics]
    for one in visits:
        row = sums.setdefault(tuple(value(one) for value in dimensions), [0] * len(metrics))
        for place, value in enumerate(metrics):
            row[place] += value(one)
    names = [one.name for one in asked.dimensions]
    rows = sorted(sums.items(), key=lambda row: (-row[1][0], row[0]))  # as GA does by itself: the largest first
    for order in reversed(asked.order_bys):
        if order.dimension.dimension_name not in names:
            raise Invalid(f"{order.dimension.dimension_name} is ordered by and not among the dimensions.")
        place = names.index(order.dimension.dimension_name)
        rows.sort(key=lambda row: row[0][place], reverse=order.desc)
    report: dict[str, Any] = {
        "dimensionHeaders": [{"name": name} for name in names],
        "metricHeaders": [{"name": one.name, "type": "TYPE_INTEGER"} for one in asked.metrics],
        "rows": [
            {
                "dimensionValues": [{"value": value} for value in key],
                "metricValues": [{"value": str(value)} for value in values],
            }
            for key, values in rows[asked.offset : asked.offset + asked.limit]
        ],
        "rowCount": len(rows),
        "metadata": {"currencyCode": CURRENCY, "timeZone": TIME_ZONE},
        "kind": "analyticsData#runReport",
    }
    # What is empty is left out, as protobuf does in JSON.
    return {name: value for name, value in report.items() if value not in ([], 0)}


def described(property_id: str) -> dict[str, Any]:
    """What reports can be made of."""
    about = {"category": "Session", "description": "", "customDefinition": False}
    return {
        "name": f"properties/{property_id}/metadata",
        "dimensions": [{"apiName": name, "uiName": label} | about for name, (label, _) in DIMENSIONS.items()],
        "metrics": [
            {"apiName": name, "uiName": label, "type": "TYPE_INTEGER"} | about for name, (label, _) in METRICS.items()
        ],
    }


def now_utc() -> date:
    """Today, in the time zone of the reports."""
    return datetime.now(UTC).date()
