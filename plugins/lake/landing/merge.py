"""Puts new versions of rows in the place of their earlier ones, month by month, in one commit.

pyiceberg's own ``upsert`` compares row by row in Python and takes minutes for what takes seconds here. A table of the
shop or the provider is partitioned by month of ``day``; ``day`` follows the moment of creation, which never changes,
so the earlier version of a row lies in the same month as the new one.
"""

from datetime import date

import polars as pl
import pyarrow as pa
from pyiceberg.expressions import And, BooleanExpression, GreaterThanOrEqual, LessThan, Or
from pyiceberg.table import Table

from lake.landing.progress import committing


def merge(table: Table, rows: pa.Table, row_id: str, properties: dict[str, str]) -> int:
    """Return how many of ``rows`` are new or changed, after they have entered the table together with ``properties``.

    Exactly one row per ``row_id`` remains. Rows that are in the table already, just as they are, cost no commit.

    Raises:
        Conflict: another run committed since ``table`` was loaded; nothing landed.
    """
    if rows.num_rows == 0:
        if table.current_snapshot() is None:  # an empty source, landed for the first time: say that it was looked at
            with committing(table):
                table.append(rows, properties)
        return 0
    new = pl.DataFrame(pl.from_arrow(rows))
    touched = _months(new["day"].unique().to_list())
    old = pl.DataFrame(pl.from_arrow(table.scan(row_filter=touched).to_arrow()))
    changed = new.join(old, on=new.columns, how="anti", nulls_equal=True)
    if changed.is_empty():
        return 0
    kept = old.join(changed, on=row_id, how="anti")
    schema = table.schema().as_arrow()
    with committing(table):
        if kept.height == old.height:
            table.append(changed.sort("day", row_id).to_arrow().cast(schema), properties)
        else:
            merged = pl.concat([kept, changed]).sort("day", row_id)
            table.overwrite(merged.to_arrow().cast(schema), overwrite_filter=touched, snapshot_properties=properties)
    return changed.height


def _months(days: list[date]) -> BooleanExpression:
    """The whole months of ``days``, so that the filter meets partitions exactly and no file needs a rewrite in part."""
    starts = sorted({day.replace(day=1) for day in days})
    ranges = [And(GreaterThanOrEqual("day", start), LessThan("day", _next_month(start))) for start in starts]
    return ranges[0] if len(ranges) == 1 else Or(*ranges)


def _next_month(first: date) -> date:
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)
