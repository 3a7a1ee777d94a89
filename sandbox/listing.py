"""A list of Stripe's API: newest first, page by page, filtered; every list of the provider pages alike.

Public documentation: docs.stripe.com/api/pagination, and the "list" page of each object.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sandbox.refused import Refused, integer
from sandbox.store import Numbered, Position, Value

MOST_PER_PAGE = 100
DEFAULT_PER_PAGE = 10
_CREATED = ("created[gt]", "created[gte]", "created[lt]", "created[lte]")
_KNOWN = frozenset({"limit", "starting_after", "ending_before", "created", *_CREATED})


@dataclass(frozen=True, slots=True)
class Listing[R]:
    """One list.

    Attributes:
        name: behind ``/v1/``.
        one: what an entry is called in errors.
        records: by their ids.
        created: when an entry was made, seconds since 1970; always the same function, since its index is kept.
        shown: an entry in Stripe's words.
        filters: further parameters, each with whether an entry goes with the value given.
    """

    name: str
    one: str
    records: Numbered[R]
    created: Callable[[R], Value]
    shown: Callable[[R], dict[str, Any]]
    filters: Mapping[str, Callable[[R, str], bool]] = field(default_factory=dict)

    def retrieve(self, key: str, param: str = "id") -> R:
        """The entry of this id.

        Raises:
            Refused: there is none.
        """
        record = self.records.get(self.records.number(key) or 0)
        if record is None:
            raise Refused(404, f"No such {self.one}: '{key}'", "resource_missing", param)
        return record

    def page(self, parameters: list[tuple[str, str]]) -> dict[str, Any]:
        """One page, newest first; with ``ending_before`` the page that lies just before that entry.

        Raises:
            Refused: an unknown parameter, a value out of bounds, or a cursor that is no entry.
        """
        given = dict(parameters)
        for name in given:
            if name not in _KNOWN and name not in self.filters:
                raise Refused(400, f"Received unknown parameter: {name}", "parameter_unknown", name)
        limit = _limit(given)
        if "starting_after" in given and "ending_before" in given:
            raise Refused(400, "You may only specify one of these parameters: starting_after, ending_before.")
        low, high = _created_range(given)
        backwards = "ending_before" in given
        found = self.records.scan(
            self.created,
            descending=not backwards,
            low=low,
            high=high,
            after=self._cursor(given, "ending_before" if backwards else "starting_after"),
        )
        tests = [(test, given[name]) for name, test in self.filters.items() if name in given]
        wanted = (record for _, record in found if all(test(record, value) for test, value in tests))
        records = list(islice(wanted, limit + 1))
        more = len(records) > limit
        records = records[:limit]
        if backwards:
            records.reverse()
        return {
            "object": "list",
            "url": f"/v1/{self.name}",
            "has_more": more,
            "data": [self.shown(record) for record in records],
        }

    def _cursor(self, given: dict[str, str], name: str) -> Position | None:
        if name not in given:
            return None
        number = self.records.number(given[name])
        record = self.records.get(number or 0)
        if number is None or record is None:
            raise Refused(400, f"No such {self.one}: '{given[name]}'", "resource_missing", name)
        return self.created(record), number


def _limit(given: dict[str, str]) -> int:
    limit = integer("limit", given.get("limit", str(DEFAULT_PER_PAGE)))
    if limit > MOST_PER_PAGE:
        raise Refused(
            400, f"This value must be less than or equal to {MOST_PER_PAGE} (it currently is '{limit}').", None, "limit"
        )
    if limit < 1:
        raise Refused(400, f"This value must be greater than or equal to 1 (it currently is '{limit}').", None, "limit")
    return limit


def _created_range(given: dict[str, str]) -> tuple[int | None, int | None]:
    if "created" in given:
        moment = integer("created", given["created"])
        return moment, moment
    bounds = {name: integer(name, given[name]) for name in _CREATED if name in given}
    lows = [bounds[name] + shift for name, shift in (("created[gt]", 1), ("created[gte]", 0)) if name in bounds]
    highs = [bounds[name] - shift for name, shift in (("created[lt]", 1), ("created[lte]", 0)) if name in bounds]
    return max(lows, default=None), min(highs, default=None)
