"""The table of all findings: one row per kind and order, with the run that saw it first and the one that saw it last.

A finding that a later run over its day no longer sees keeps its row, and its ``run_id`` stays that of the last run that
saw it.
"""

from collections.abc import Iterable

import msgspec
import polars as pl
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import And, GreaterThanOrEqual, LessThanOrEqual

from lake import tables
from lake.landing.progress import RUN_ID, committing, retrying_conflicts
from lake.reconcile.outcome import Outcome

_KEY = ["kind", "order_id"]


def record(catalog: Catalog, outcome: Outcome) -> int:
    """Bring the findings of the outcome's run into the table, and return how many it did not know.

    Only the months that hold one of the findings are rewritten, in one commit; doing it again changes nothing.

    Raises:
        Conflict: other runs kept writing to the table.
    """
    if not outcome.differences:
        return 0
    return retrying_conflicts(lambda: _record(catalog, outcome))


def emitted_before(catalog: Catalog, outcome: Outcome) -> set[str]:
    """Return the event ids of those findings (and their corrections) that an earlier run recorded.

    Rows are recorded only after their events were committed, so the ids have been emitted, even if the topic has
    deleted them since.
    """
    if not catalog.table_exists(tables.FINDINGS.identifier):
        return set()
    table = catalog.load_table(tables.FINDINGS.identifier)
    frame = pl.from_arrow(table.scan(selected_fields=("kind", "order_id", "first_seen_run")).to_arrow())
    earlier = frame.filter(pl.col("first_seen_run") != outcome.run_id)
    return {f"{what}/{kind}/{order}" for kind, order, _ in earlier.iter_rows() for what in ("finding", "correction")}


def _record(catalog: Catalog, outcome: Outcome) -> int:
    table = tables.ensure(catalog, tables.FINDINGS)
    columns = [field.name for field in table.schema().fields]
    found = pl.DataFrame(_rows(outcome), schema=_schema(columns), orient="row")
    first, last = found["day"].min(), found["day"].max()
    days = And(GreaterThanOrEqual("day", first), LessThanOrEqual("day", last))
    there = pl.from_arrow(table.scan(row_filter=days).to_arrow()).select(columns)
    before = there.select(*_KEY, pl.col("first_seen_run").alias("before"))
    merged = (
        found.join(before, on=_KEY, how="left")
        .with_columns(first_seen_run=pl.coalesce("before", "first_seen_run"))
        .select(columns)
    )
    rows = pl.concat([there.join(found, on=_KEY, how="anti"), merged]).sort("day", *_KEY)
    new = found.join(there, on=_KEY, how="anti").height
    if rows.equals(there.sort("day", *_KEY)):
        return new
    with committing(table):
        table.overwrite(
            rows.to_arrow().cast(table.schema().as_arrow()),
            overwrite_filter=days,
            snapshot_properties={RUN_ID: outcome.run_id},
        )
    return new


def _schema(columns: Iterable[str]) -> dict[str, pl.DataType]:
    other = {"amount": pl.Int64(), "day": pl.Date()}
    return {name: other.get(name, pl.String()) for name in columns}


def _rows(outcome: Outcome) -> list[dict[str, object]]:
    return [
        {
            **msgspec.structs.asdict(one.finding),
            "evidence": msgspec.json.encode(one.finding.evidence).decode(),
            "day": one.time.date(),
            "run_id": outcome.run_id,
            "first_seen_run": outcome.run_id,
        }
        for one in outcome.differences
    ]
