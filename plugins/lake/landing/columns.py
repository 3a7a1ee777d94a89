"""From a source's own row to the columns of its table, as the flow maps them; and the table that follows from that."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from pyiceberg.types import BooleanType, DateType, IcebergType, LongType, StringType, TimestamptzType

from lake import tables
from lake.landing.flow import Column, Flow
from lake.landing.money import MOST, minor_units
from lake.tables import TableSpec

type Node = dict[str, Any]
"""A row as the source gives it."""

TYPES: dict[str, IcebergType] = {
    "text": StringType(),
    "integer": LongType(),
    "boolean": BooleanType(),
    "time": TimestamptzType(),
    "day": DateType(),
    "amount": LongType(),
}


def table_of(flow: Flow) -> TableSpec:
    """Return the table that a flow's columns make, partitioned by month of ``day``."""
    columns = [
        (f"{name}{'?' if column.optional else ''}", TYPES[column.type], column.doc)
        for name, column in flow.columns.items()
    ]
    namespace, _, name = flow.table.partition(".")
    return tables.of_source((namespace, name), *columns)


def at(node: Node, path: str) -> Any:
    """Return the value at a dotted path, None where there is none."""
    found: Any = node
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def only(node: Node, paths: Iterable[str]) -> Node:
    """Return the row with nothing in it but these paths: what is not asked for need not be masked."""
    kept: Node = {}
    for path in paths:
        *parents, last = path.split(".")
        value, holder = at(node, path), kept
        if value is None:
            continue
        for name in parents:
            holder = holder.setdefault(name, {})
        holder[last] = value
    return kept


def row(flow: Flow, node: Node) -> dict[str, Any]:
    """Return the row of the flow's table for one row of the source, whose personal data is masked already.

    What the source leaves out is None; whether that is allowed is for the checks and the table to say.

    Raises:
        ValueError: a value is not of its column's type; the message names its path.
    """
    return {name: _value(column, node) for name, column in flow.columns.items()}


def _value(column: Column, node: Node) -> Any:
    value = at(node, column.from_)
    if value is None:
        return None
    try:
        if column.type == "amount":
            return _amount(value, at(node, column.currency or ""))
        read = _READ[column.type](value)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{error} - at `$.{column.from_}`") from error
    return _edited(column, read) if isinstance(read, str) else read


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"Expected text, got {type(value).__name__}")
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"Expected a whole number, got {type(value).__name__}")
    if abs(value) > MOST:
        raise ValueError(f"{value} is out of range")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"Expected true or false, got {type(value).__name__}")
    return value


def _time(value: Any) -> datetime:
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError(f"{value!r} does not say its offset from UTC")
        return moment.astimezone(UTC)
    return datetime.fromtimestamp(_integer(value), UTC)


def _day(value: Any) -> date:
    return _time(value).date()


def _amount(value: Any, currency: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError(f"Expected a decimal number, got {type(value).__name__}")
    if not isinstance(currency, str):
        raise ValueError(f"{value!r} has no currency")
    return minor_units(str(value), currency.upper())


_READ: dict[str, Callable[[Any], Any]] = {
    "text": _text,
    "integer": _integer,
    "boolean": _boolean,
    "time": _time,
    "day": _day,
}


def _edited(column: Column, text: str) -> str:
    match column.edit:
        case "upper":
            text = text.upper()
        case "lower":
            text = text.lower()
        case "last-segment":
            text = text.rpartition("/")[2]
    return text if column.truncate is None else text[: column.truncate]


def wanted(flow: Flow, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the rows that every condition of the flow's filter lets through."""
    for one in rows:
        if all(_passes(one[test.column], test.keep, test.drop) for test in flow.filter):
            yield one


def _passes(value: Any, keep: list[Any] | None, drop: list[Any] | None) -> bool:
    return (keep is None or _among(value, keep)) and (drop is None or not _among(value, drop))


def _among(value: Any, values: list[Any]) -> bool:
    return any(type(value) is type(one) and value == one for one in values)  # true is not 1
