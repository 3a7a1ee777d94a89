"""The table of all findings: one row per kind and order, with the run that saw it first and the one that saw it last.

A finding that a later run over its day no longer sees is *closed*: what was late has come, or it has been put right.
Its row says which run closed it; its ``run_id`` stays that of the last run that saw it. One that is seen again is open
again. A run that had read less than the one that wrote a row (an old task that is tried again) leaves that row alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import polars as pl
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import And, GreaterThanOrEqual, LessThanOrEqual
from pyiceberg.table import Table

from lake import tables
from lake.landing.progress import RUN_ID, committing, retrying_conflicts
from lake.reconcile.outcome import Outcome
from lake.reconcile.sources import kinds

_KEY = ["kind", "order_id"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a run changed in the table: findings that it did not know, and findings that are closed now."""

    new: int
    closed: int


def record(catalog: Catalog, outcome: Outcome) -> Recorded:
    """Bring the findings of the outcome's run into the table, and close those of its days that it no longer sees.

    Only the outcome's days are rewritten, in one commit; doing it again changes nothing.

    Raises:
        Conflict: other runs kept writing to the table.
    """
    if not outcome.differences and not catalog.table_exists(tables.FINDINGS.identifier):
        return Recorded(0, 0)
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


def _record(catalog: Catalog, outcome: Outcome) -> Recorded:
    table = tables.ensure(catalog, tables.FINDINGS)
    columns = [field.name for field in table.schema().fields]
    days = And(GreaterThanOrEqual("day", outcome.first), LessThanOrEqual("day", outcome.last))
    there = pl.DataFrame(pl.from_arrow(table.scan(row_filter=days).to_arrow())).select(columns)
    found = pl.DataFrame(_rows(outcome), schema=_schema(columns), orient="row")
    # Left alone: what a run has seen that had read more, and kinds that this run has not looked for.
    looked_for = pl.col("kind").is_in(kinds(outcome.sources, outcome.snapshots))
    newer = there.filter((pl.col("as_of") > outcome.settled).fill_null(False) | ~looked_for)
    ours = found.join(newer, on=_KEY, how="anti")
    before = there.select(*_KEY, pl.col("first_seen_run").alias("before"))
    seen = (
        ours.join(before, on=_KEY, how="left")
        .with_columns(first_seen_run=pl.coalesce("before", "first_seen_run"))
        .select(columns)
    )
    gone = there.join(newer, on=_KEY, how="anti").join(found, on=_KEY, how="anti")
    was_open = pl.col("state").ne_missing("closed")
    closed = gone.with_columns(
        closed_run=pl.when(was_open).then(pl.lit(outcome.run_id)).otherwise("closed_run"),
        as_of=pl.when(was_open).then(pl.lit(outcome.settled, _AS_OF)).otherwise("as_of"),
        state=pl.lit("closed"),
    )
    rows = pl.concat([newer, seen, closed]).sort("day", *_KEY)
    recorded = Recorded(
        new=ours.join(there, on=_KEY, how="anti").height,
        closed=closed.filter(pl.col("closed_run") == outcome.run_id).height,
    )
    if not rows.equals(there.sort("day", *_KEY)):
        _overwrite(table, rows, days, outcome.run_id)
    return recorded


def _overwrite(table: Table, rows: pl.DataFrame, days: And, run_id: str) -> None:
    with committing(table):
        table.overwrite(
            rows.to_arrow().cast(table.schema().as_arrow()),
            overwrite_filter=days,
            snapshot_properties={RUN_ID: run_id},
        )


_AS_OF = pl.Datetime("us", "UTC")


def _schema(columns: Iterable[str]) -> dict[str, pl.DataType]:
    other = {"amount": pl.Int64(), "day": pl.Date(), "as_of": _AS_OF}
    return {name: other.get(name, pl.String()) for name in columns}


def _rows(outcome: Outcome) -> list[dict[str, object]]:
    return [
        {
            **msgspec.structs.asdict(one.finding),
            "evidence": msgspec.json.encode(one.finding.evidence).decode(),
            "day": one.time.date(),
            "run_id": outcome.run_id,
            "first_seen_run": outcome.run_id,
            "state": one.state,
            "closed_run": None,
            "as_of": outcome.settled,
        }
        for one in outcome.differences
    ]
