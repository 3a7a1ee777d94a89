"""Gathers an order's story from the lake, reading only the rows that are about it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import And, BooleanExpression, EqualTo, In, Or
from pyiceberg.table import Table

from lake import tables
from lake.errors import Hopeless
from lake.landing.flows import folder, tables_in
from lake.story.moments import (
    Moment,
    in_order,
    of_findings,
    of_quarantine,
    of_records,
    of_settlement,
    of_source,
)
from order_fraud.topics import ARCHIVED, CUSTOMER_EVENTS, FRAUD_POLICIES

_PLACE = ("partition", "offset")
_RECORD = (*_PLACE, "timestamp", "value")
_ORDER = re.compile(r"\S.{0,199}\Z")


class NoSuchOrder(Hopeless):
    """Nothing in the lake is about such an order; the message says what to do."""


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one order.

    Attributes:
        order_id: the order.
        customer_id: its customer, as far as anybody says.
        facts: how things stand, by name, in the order in which they are shown.
        moments: in time order.
    """

    order_id: str
    customer_id: str | None
    facts: Mapping[str, str]
    moments: Sequence[Moment]


def tell(catalog: Catalog, order_id: str) -> Story:
    """Return the story of an order.

    Raises:
        NoSuchOrder: no row is about it.
    """
    if not _ORDER.match(order_id):
        raise NoSuchOrder(f"{order_id[:40]!r} is no order id: it has 1 to 200 characters, as the shop writes it")
    stages = [
        (topic.name, _records(catalog, tables.records(topic).name, EqualTo("subject", order_id)))
        for topic in ARCHIVED
        if topic is not FRAUD_POLICIES
    ]
    sources = {name: _rows(catalog, name, EqualTo("order_id", order_id)) for name in _with("order_id")}
    findings = _rows(catalog, tables.FINDINGS.name, EqualTo("order_id", order_id))
    steps = _rows(catalog, tables.SETTLEMENT.name, EqualTo("order_id", order_id))
    ids = [order_id, *(str(row["charge_id"]) for row in sources.get(tables.PAID, ()))]
    aside = {name: _rows(catalog, name, In("row_id", ids)) for name in _quarantines()}
    told = [
        *of_records(stages),
        *(one for name, rows in sources.items() for one in of_source(name, rows)),
        *(one for name, rows in aside.items() for one in of_quarantine(name, rows)),
        *of_findings(findings),
        *of_settlement(steps),
    ]
    if not told:
        raise NoSuchOrder(
            f"no event, no row of a source and no finding is about order {order_id!r}: is the id as the shop writes "
            "it, and have land_events and land_sources run since?"
        )
    customer_id = _customer(sources, findings, steps, told)
    if customer_id:
        told += of_records([(CUSTOMER_EVENTS.name, _sign_up(catalog, customer_id))])
    return Story(order_id=order_id, customer_id=customer_id, facts=_facts(told, findings), moments=in_order(told))


def _records(catalog: Catalog, name: str, about: BooleanExpression) -> list[dict[str, Any]]:
    """Read in two steps: which records, by narrow columns; then these alone, of which few pages need be opened."""
    places = _rows(catalog, name, about, _PLACE)
    by_partition: dict[int, list[int]] = {}
    for place in places:
        by_partition.setdefault(place["partition"], []).append(place["offset"])
    if not by_partition:
        return []
    wanted: BooleanExpression | None = None
    for partition, offsets in by_partition.items():
        these = And(EqualTo("partition", partition), In("offset", offsets))
        wanted = these if wanted is None else Or(wanted, these)
    return sorted(_rows(catalog, name, wanted, _RECORD), key=lambda row: (row["partition"], row["offset"]))


def _sign_up(catalog: Catalog, customer_id: str) -> list[dict[str, Any]]:
    about = And(EqualTo("subject", customer_id), EqualTo("type", "NewCustomer"))
    return _records(catalog, tables.records(CUSTOMER_EVENTS).name, about)


def _rows(
    catalog: Catalog, name: str, which: BooleanExpression | None, columns: Sequence[str] = ("*",)
) -> list[dict[str, Any]]:
    try:
        table: Table = catalog.load_table(name)
    except NoSuchTableError:
        return []
    found = table.scan(row_filter=which, selected_fields=tuple(columns)).to_arrow() if which is not None else None
    return [] if found is None else list(pl.DataFrame(pl.from_arrow(found)).to_dicts())


def _with(column: str) -> Iterable[str]:
    """The sources' tables that have a column, the shop's first."""
    flows = tables_in(folder())
    return [name for name, spec in flows.items() if column in {field.name for field in spec.schema.fields}]


def _quarantines() -> Iterable[str]:
    return [tables.quarantine(spec).name for spec in tables_in(folder()).values()]


def _customer(
    sources: Mapping[str, list[dict[str, Any]]],
    findings: list[dict[str, Any]],
    steps: list[dict[str, Any]],
    told: Iterable[Moment],
) -> str | None:
    said = [one.details.get("customer_id") for one in told if one.half == "stream"]
    rows = [row for some in (*sources.values(), findings, steps) for row in some]
    return next((one for one in (*said, *(row.get("customer_id") for row in rows)) if one), None)


def _facts(told: Sequence[Moment], findings: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """How things stand: the last word on each matter."""
    last = {one.what: one for one in in_order(told)}

    def latest(*whats: str) -> str:
        found = in_order(last[what] for what in whats if what in last)
        return found[-1].what if found else ""

    open_ = sum((row["state"] or "open") == "open" for row in findings)
    steps = in_order(one for one in told if one.what.startswith("Settlement"))
    verdict = in_order(one for one in told if one.what in ("No fraud detected", "Possible fraud"))
    facts = {
        "Verdict": f"{verdict[-1].what} · {verdict[-1].said}" if verdict else "none",
        "Delivery": latest("Released", "Held", "Delivery cancelled") or "nothing was said",
        "Payment": last["Paid"].said if "Paid" in last else latest("Payment failed") or "none",
        "Turned out": latest("Confirmed as fraud", "Charged back", "Cleared by a person") or "nobody has said",
        "Findings": f"{open_} open of {len(findings)}" if findings else "none",
    }
    if steps:
        facts["Settlement"] = f"{steps[-1].what.partition(': ')[2]}: {steps[-1].said.partition('.')[0].lower()}"
    return facts
