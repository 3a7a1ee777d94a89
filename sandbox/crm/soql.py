"""The part of SOQL that the sandbox speaks.

``SELECT fields FROM object [WHERE comparison AND …] [ORDER BY field [ASC|DESC], …] [LIMIT n]``, or ``SELECT COUNT()``.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from sandbox.crm.objects import Field, Row, SObject
from sandbox.crm.refused import Refused

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^'\\]|\\.)*')
      | (?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))
      | (?P<number>-?\d+(?:\.\d+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign><=|>=|!=|<>|=|<|>|,|\(|\)))""",
    re.VERBOSE,
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": eq, "!=": ne, "<>": ne, "<": lt, "<=": le, ">": gt, ">=": ge,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Comparison:
    """A record passes if this field compares so with this value."""

    field: Field
    sign: str
    value: Any

    def __call__(self, record: Row) -> bool:
        """Whether a record passes. Nothing is greater or less than null."""
        found = self.field.raw(record)
        if self.sign in ("=", "!=", "<>"):
            return _COMPARE[self.sign](found, self.value)
        return found is not None and _COMPARE[self.sign](found, self.value)


@dataclass(frozen=True, slots=True)
class Query:
    """A query that was understood.

    Attributes:
        sobject: what is asked for.
        fields: in the order of the query; empty for ``COUNT()``.
        where: all of these must hold.
        order: fields and whether each descends.
        limit: most records; None is all.
    """

    sobject: SObject
    fields: list[Field]
    where: list[Comparison]
    order: list[tuple[Field, bool]]
    limit: int | None

    def records(self) -> list[Row]:
        """The records that pass, in order; without ORDER BY in the order in which they came in."""
        found = [
            record for _, record in self.sobject.records.scan(_arrival) if all(test(record) for test in self.where)
        ]
        for field, descending in reversed(self.order):
            # Nulls first, as in Salesforce.
            found.sort(key=lambda one, raw=field.raw: _nulls_first(raw(one)), reverse=descending)
        return found if self.limit is None else found[: self.limit]


def _arrival(_: Row) -> int:
    return 0


def _nulls_first(value: Any) -> tuple[bool, Any]:
    return value is not None, value if value is not None else 0


def parse(text: str, sobjects: dict[str, SObject]) -> Query:
    """Read a query.

    Raises:
        Refused: it cannot be read, or names an object or a field that is not there.
    """
    return _Reader(text, sobjects).query()


class _Reader:
    """Reads a query token by token."""

    def __init__(self, text: str, sobjects: dict[str, SObject]) -> None:
        self._sobjects = sobjects
        self._tokens: list[tuple[str, str]] = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise _malformed(text[at:].strip())
            self._tokens.append((match.lastgroup, match[match.lastgroup]))
            at = match.end()
        self._at = 0

    def query(self) -> Query:
        self._word("select")
        names = self._names()
        self._word("from")
        name = self._name()
        sobject = next((one for one in self._sobjects.values() if one.name.lower() == name.lower()), None)
        if sobject is None:
            raise Refused(400, "INVALID_TYPE", f"sObject type '{name}' is not supported.")
        where = self._where(sobject) if self._is("where") else []
        order = self._order(sobject) if self._is("order") else []
        limit = self._limit() if self._is("limit") else None
        if self._at < len(self._tokens):
            raise _malformed(self._tokens[self._at][1])
        return Query(sobject, [sobject.field(one) for one in names], where, order, limit)

    def _names(self) -> list[str]:
        names = [self._name()]
        if names[0].lower() == "count" and self._is("("):
            self._word(")")
            return []
        while self._is(","):
            names.append(self._name())
        return names

    def _where(self, sobject: SObject) -> list[Comparison]:
        found = [self._comparison(sobject)]
        while self._is("and"):
            found.append(self._comparison(sobject))
        return found

    def _comparison(self, sobject: SObject) -> Comparison:
        field = sobject.field(self._name())
        kind, sign = self._next()
        if kind != "sign" or sign not in _COMPARE:
            raise _malformed(sign)
        return Comparison(field, sign, self._value(field))

    def _value(self, field: Field) -> Any:
        kind, text = self._next()
        if text.lower() == "null":
            return None
        if (kind == "time") != (field.type == "datetime"):
            raise Refused(
                400,
                "INVALID_FIELD",
                f"value of filter criterion for field '{field.name}' must be of type "
                f"{'dateTime' if field.type == 'datetime' else field.type} and should not be {text}",
            )
        if kind == "time":
            return datetime.fromisoformat(text).timestamp()
        if kind == "text":
            return re.sub(r"\\(.)", r"\1", text[1:-1])
        raise _malformed(text)

    def _order(self, sobject: SObject) -> list[tuple[Field, bool]]:
        self._word("by")
        found = [self._direction(sobject)]
        while self._is(","):
            found.append(self._direction(sobject))
        return found

    def _direction(self, sobject: SObject) -> tuple[Field, bool]:
        field = sobject.field(self._name())
        descending = self._is("desc")
        if not descending:
            self._is("asc")
        return field, descending

    def _limit(self) -> int:
        kind, text = self._next()
        if kind != "number" or not text.isdecimal():
            raise _malformed(text)
        return int(text)

    def _name(self) -> str:
        kind, text = self._next()
        if kind != "name":
            raise _malformed(text)
        return text

    def _word(self, word: str) -> None:
        if not self._is(word):
            raise _malformed(self._tokens[self._at][1] if self._at < len(self._tokens) else "<EOF>")

    def _is(self, word: str) -> bool:
        """Step over this word if it comes next, and say whether it did."""
        if self._at < len(self._tokens) and self._tokens[self._at][1].lower() == word:
            self._at += 1
            return True
        return False

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise _malformed("<EOF>")
        self._at += 1
        return self._tokens[self._at - 1]


def _malformed(token: str) -> Refused:
    return Refused(400, "MALFORMED_QUERY", f"unexpected token: '{token[:60]}'")
