"""OData's query options, as far as the sandbox speaks them: comparisons joined by ``and``, order, choice, counts.

Public documentation: odata.org/documentation/odata-version-2-0/uri-conventions.
"""

import operator
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from urllib.parse import urlencode

from sandbox.erp.orders import PROPERTIES, Plain, Property
from sandbox.erp.refused import Refused
from sandbox.records import SalesOrder

COMPARE: dict[str, Callable[[Plain, Plain], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
KNOWN = frozenset(
    f"${name}" for name in ("filter", "select", "orderby", "top", "skip", "skiptoken", "inlinecount", "format")
)
_TERM = re.compile(
    r"\s*\(*\s*(?P<name>\w+)\s+(?P<compare>eq|ne|gt|ge|lt|le)\s+"
    r"(?P<literal>(?:datetimeoffset|datetime)?'(?:[^']|'')*'|-?\d+(?:\.\d+)?[MmDd]?)\s*\)*\s*(?:and\b|$)"
)

type Test = Callable[[SalesOrder], bool]


def tests(text: str) -> list[Test]:
    """The comparisons of a filter.

    Raises:
        Refused: it cannot be read.
    """
    found, at = [], 0
    while at < len(text):
        term = _TERM.match(text, at)
        if term is None:
            raise Refused(400, "005056A509B11EE1B9A8FEC11C21D78E", f"Invalid filter at position {at}: {text[at:][:40]}")
        found.append(_test(term["name"], term["compare"], term["literal"]))
        at = term.end()
    return found


def _test(name: str, compare: str, literal: str) -> Test:
    one = _property(name)
    value = _value(one.type, literal)
    return lambda order: COMPARE[compare](one.plain(order), value)


def _value(kind: str, literal: str) -> Plain:
    prefix, _, quoted = literal.partition("'")
    wanted = {"String": "", "DateTime": "datetime", "DateTimeOffset": "datetimeoffset"}.get(kind)
    if wanted is None:
        try:
            return Decimal(literal.rstrip("MmDd"))
        except InvalidOperation:
            raise _mistyped(kind, literal) from None
    if prefix != wanted or not literal.endswith("'"):
        raise _mistyped(kind, literal)
    text = quoted[:-1].replace("''", "'")
    if kind == "String":
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _mistyped(kind, literal) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _mistyped(kind: str, literal: str) -> Refused:
    return Refused(400, "/IWCOR/CX_OD_EXPR_PARSER_ERR", f"{literal} is no literal of type Edm.{kind}")


def _property(name: str) -> Property:
    found = PROPERTIES.get(name)
    if found is None:
        raise Refused(400, "/IWCOR/CX_OD_PROPERTY_NOT_FOUND", f"Property {name} not found in type A_SalesOrderType")
    return found


def ordered(orders: list[SalesOrder], text: str) -> list[SalesOrder]:
    """Orders as ``$orderby`` asks for; by key where that leaves it open."""
    orders = sorted(orders, key=lambda order: order.number)
    for term in reversed([part.split() for part in text.split(",") if part.strip()]):
        if len(term) > 2 or (len(term) == 2 and term[1] not in ("asc", "desc")):
            raise Refused(400, "/IWCOR/CX_OD_EXPR_PARSER_ERR", f"Invalid order: {' '.join(term)}")
        orders.sort(key=_property(term[0]).plain, reverse=term[1:] == ["desc"])
    return orders


def chosen(text: str) -> list[str]:
    """The properties that ``$select`` names, all if it names none."""
    names = [name.strip() for name in text.split(",") if name.strip() not in ("", "*")]
    return [_property(name).name for name in names] or list(PROPERTIES)


def number(query: Mapping[str, str], name: str, otherwise: int) -> int:
    """A query option that is a whole number."""
    text = query.get(name, str(otherwise))
    if not text.isdecimal():
        raise Refused(400, "/IWFND/CM_MGW/096", f"Invalid value for query option {name}: {text}")
    return int(text)


def check(query: Mapping[str, str]) -> None:
    """Refuse what the service does not know."""
    strange = next((name for name in query if name.startswith("$") and name not in KNOWN), None)
    if strange is not None:
        raise Refused(400, "/IWFND/CM_MGW/096", f"System query option '{strange}' is not supported")


def next_link(root: str, path: str, query: Mapping[str, str], token: int) -> str:
    """Where the next page is: the same query with another ``$skiptoken``."""
    rest = {name: value for name, value in query.items() if name != "$skiptoken"}
    return f"{root}/{path}?{urlencode(rest | {'$skiptoken': str(token)}, safe='$')}"
