"""What is known of each landed object's quality: rows by business day, and which checks failed on how many.

Everything here is read from the tables and their quarantines; no check runs again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import polars as pl
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import BooleanExpression
from pyiceberg.table import Table

from lake import tables
from lake.landing.flows import Check, load_all, table_of
from lake.quality.gate import GateResult, days_between, or_unknown, table_or_none
from lake.tables import TableSpec
from order_fraud.topics import ARCHIVED

EXAMPLES = 5
"""Rows that a failure names."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One reason for which rows were set aside.

    Attributes:
        reason: in words.
        expectation: the check that failed.
        rows: set aside for it, each failure of a row once.
        waiting: of these, rows that have not landed since.
        latest: when one was set aside last.
        examples: ids of the first rows that wait.
    """

    reason: str
    expectation: str
    rows: int
    waiting: int
    latest: datetime
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QualityDay:
    """Rows of one business day that are in the table, and rows set aside that have not landed since."""

    day: date
    good: int
    failing: int


@dataclass(frozen=True, slots=True)
class Profile:
    """One landed object.

    Attributes:
        result: of the gate.
        checks: of its flow; none for a topic, whose records must be events.
        failures: by reason, those that most rows wait for first.
        days: business days with rows, in order; a row whose day is unknown is in none.
    """

    result: GateResult
    checks: Sequence[Check]
    failures: Sequence[Failure]
    days: Sequence[QualityDay]


def profiles(
    catalog: Catalog, flows: Path, results: Sequence[GateResult], from_day: date | None, to_day: date | None
) -> list[Profile]:
    """Return what there is to say about the objects that the gate judged.

    Args:
        catalog: of the lake.
        flows: folder of the flow files.
        results: of the gate, for these days.
        from_day, to_day: business days (UTC), both included; None is open.
    """
    found = load_all(flows)
    specs = {spec.name: (spec, "", ()) for spec in map(tables.records, ARCHIVED)}
    for flow in found.values():
        spec = table_of(flow)
        specs[spec.name] = (spec, flow.row_id, tuple(flow.checks))
    return [_profile(catalog, result, *specs[result.object], from_day, to_day) for result in results]


def _profile(
    catalog: Catalog,
    result: GateResult,
    spec: TableSpec,
    row_id: str,
    checks: Sequence[Check],
    from_day: date | None,
    to_day: date | None,
) -> Profile:
    days = days_between(from_day, to_day)
    fields = ("day", row_id) if row_id else ("day",)
    good = _read(catalog.load_table(spec.identifier), days, fields)
    aside = _aside(catalog, spec, days if row_id else None)
    if row_id:
        landed = good.select(pl.col(row_id).alias("row_id"))
        waiting = aside.join(landed, on="row_id", how="anti")
    else:
        waiting = aside
    return Profile(result, checks, _failures(aside, waiting), _days(good, waiting))


def _read(table: Table, rows: BooleanExpression, fields: Sequence[str]) -> pl.DataFrame:
    found = pl.from_arrow(table.scan(row_filter=rows, selected_fields=tuple(fields)).to_arrow())
    return pl.DataFrame(found)


def _aside(catalog: Catalog, spec: TableSpec, days: BooleanExpression | None) -> pl.DataFrame:
    fields = ("quarantine_id", "row_id", "day", "reason", "expectation", "landed_at")
    table = table_or_none(catalog, tables.quarantine(spec))
    if table is None:
        text, moment = pl.String, pl.Datetime("us", "UTC")
        types = (text, text, pl.Date, text, text, moment)
        return pl.DataFrame(schema=dict(zip(fields, types, strict=True)))
    return _read(table, or_unknown(days), fields).with_columns(pl.coalesce("row_id", "quarantine_id").alias("row_id"))


def _failures(aside: pl.DataFrame, waiting: pl.DataFrame) -> list[Failure]:
    by = ("reason", "expectation")
    rows = aside.group_by(*by).agg(pl.len().alias("rows"), pl.col("landed_at").max())
    still = waiting.group_by(*by).agg(pl.len().alias("waiting"), pl.col("row_id").sort().head(EXAMPLES))
    joined = rows.join(still, on=by, how="left").with_columns(pl.col("waiting").fill_null(0))
    return [
        Failure(
            row["reason"],
            row["expectation"],
            row["rows"],
            row["waiting"],
            row["landed_at"],
            tuple(row["row_id"] or ()),
        )
        for row in joined.sort("waiting", "rows", "reason", descending=(True, True, False)).iter_rows(named=True)
    ]


def _days(good: pl.DataFrame, waiting: pl.DataFrame) -> list[QualityDay]:
    landed = good.drop_nulls("day").group_by("day").agg(pl.len().alias("good"))
    failing = waiting.drop_nulls("day").group_by("day").agg(pl.col("row_id").n_unique().alias("failing"))
    joined = landed.join(failing, on="day", how="full", coalesce=True).fill_null(0).sort("day")
    return [QualityDay(*row) for row in joined.select("day", "good", "failing").iter_rows()]
