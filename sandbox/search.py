"""Shopify's search syntax, as far as the sandbox speaks it: comparisons joined by AND, and lists of values.

Public documentation: shopify.dev/docs/api/usage/search-syntax. Terms look like
``updated_at:>='2015-03-01T00:00:00Z'`` or ``financial_status:refunded,partially_refunded``.
As in the real shop, a field that cannot be searched is left out with a warning.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sandbox.records import Order
from sandbox.shop_refunds import financial_status

FIELDS: dict[str, Callable[[Order], int | str]] = {
    "created_at": lambda order: order.created,
    "processed_at": lambda order: order.created,
    "updated_at": lambda order: order.updated,
    "email": lambda order: order.email,
    "customer_id": lambda order: order.customer_id,
    "source_identifier": lambda order: order.order_id,
    "financial_status": lambda order: financial_status(order).lower(),
}
DATES = frozenset({"created_at", "processed_at", "updated_at"})

_TERM = re.compile(
    r"""\s*(?:(?P<connective>AND|OR|NOT)\b
      | (?P<field>[A-Za-z_]+) : (?P<comparator><=|>=|<|>|)
        (?P<value> '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | [^\s()'"]+ ))\s*""",
    re.VERBOSE,
)


class BadSearch(ValueError):
    """The query cannot be read; the message shows where."""


@dataclass(frozen=True, slots=True)
class Range:
    """The values of one field that match, both ends included; None is open. ``among`` names the only ones, if set."""

    low: int | str | None = None
    high: int | str | None = None
    among: frozenset[str] | None = None

    def __contains__(self, value: int | str) -> bool:
        if self.among is not None:
            return value in self.among
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)  # type: ignore[operator]  # a field holds one type

    def narrowed(self, other: "Range") -> "Range":
        """The values that match both."""
        if self.among is not None or other.among is not None:
            both = [among for among in (self.among, other.among) if among is not None]
            return Range(among=frozenset.intersection(*both))
        lows = [end for end in (self.low, other.low) if end is not None]
        highs = [end for end in (self.high, other.high) if end is not None]
        return Range(max(lows) if lows else None, min(highs) if highs else None)


@dataclass(slots=True)
class Search:
    """A query that was understood: a range for each field, and warnings about what was left out."""

    ranges: dict[str, Range] = field(default_factory=dict)
    warnings: list[dict[str, str]] = field(default_factory=list)

    def warn(self, name: str, message: str, code: str) -> None:
        """Note a term that is left out."""
        self.warnings.append({"field": name, "message": message, "code": code})


def parse(query: str) -> Search:
    """Read a search query.

    Raises:
        BadSearch: not terms of the form ``field:value``, or joined by anything but AND.
    """
    search = Search()
    at = 0
    while at < len(query):
        match = _TERM.match(query, at)
        if not match or match.end() == at:
            if not query[at:].strip():
                break
            raise BadSearch(f"cannot read the search query at {query[at : at + 30]!r}: expected field:value")
        at = match.end()
        if match["connective"] == "AND":
            continue
        if match["connective"]:
            raise BadSearch(f"the sandbox joins terms by AND only, not by {match['connective']}")
        _add(search, match["field"].lower(), match["comparator"], _unquoted(match["value"]))
    return search


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value[0] in "'\"" else value


def _add(search: Search, name: str, comparator: str, text: str) -> None:
    if name not in FIELDS:
        search.warn(name, "Invalid search field for this query.", "invalid_field")
        return
    if name not in DATES:
        values = (text.lower() if name == "financial_status" else text).split(",")
        search.ranges[name] = search.ranges.get(name, Range()).narrowed(Range(among=frozenset(values)))
        return
    try:
        moment = _moment(text)
    except ValueError:
        search.warn(name, f"Input `{text}` is not an accepted `date` format.", "invalid_value")
        return
    search.ranges[name] = search.ranges.get(name, Range()).narrowed(_compared(comparator, moment))


def _moment(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()


def _compared(comparator: str, moment: float) -> Range:
    """The whole seconds that compare like this with a moment."""
    floor = int(moment // 1)
    whole = floor == moment
    match comparator:
        case ">=":
            return Range(low=floor if whole else floor + 1)
        case ">":
            return Range(low=floor + 1)
        case "<=":
            return Range(high=floor)
        case "<":
            return Range(high=floor - 1 if whole else floor)
    return Range(floor, floor)
