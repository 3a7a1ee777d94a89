"""Puts the days that a source has counted anew in the place of what the table has of them, in one commit.

A report has no rows that change: it is counted again, and what a row stood for may stand in two others by then. So what
was read of a day is all that there is of it.
"""

from datetime import date

import polars as pl
import pyarrow as pa
from pyiceberg.expressions import AlwaysTrue, BooleanExpression, GreaterThanOrEqual
from pyiceberg.table import Table

from lake.landing.progress import committing


def restate(table: Table, rows: pa.Table, row_id: str, since: date | None, properties: dict[str, str]) -> int:
    """Return how many rows came, changed or went, after ``rows`` have become all that the table has from ``since`` on.

    Days before ``since`` stay as they are; None replaces everything. Where nothing differs there is no commit.

    Raises:
        Conflict: another run committed since ``table`` was loaded; nothing landed.
    """
    # Whole months, so that the filter meets partitions exactly and no file needs a rewrite in part.
    touched: BooleanExpression = AlwaysTrue() if since is None else GreaterThanOrEqual("day", since.replace(day=1))
    old = pl.DataFrame(pl.from_arrow(table.scan(row_filter=touched).to_arrow()))
    new = pl.DataFrame(pl.from_arrow(rows))
    kept = old.clear() if since is None else old.filter(pl.col("day") < since)
    replaced = old if since is None else old.filter(pl.col("day") >= since)
    if since is not None:
        new = new.filter(pl.col("day") >= since)  # of an earlier day not everything was read
    changed = new.join(replaced, on=new.columns, how="anti", nulls_equal=True)
    gone = replaced.join(new, on=row_id, how="anti")
    if changed.is_empty() and gone.is_empty() and table.current_snapshot() is not None:
        return 0
    result = pl.concat([kept, new]).sort("day", row_id).to_arrow().cast(table.schema().as_arrow())
    with committing(table):
        table.overwrite(result, overwrite_filter=touched, snapshot_properties=properties)
    return changed.height + gone.height
