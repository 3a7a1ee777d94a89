"""Which tables the warehouse gets: what the sources gave, masked as it landed; the findings; the verdicts by day."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from pyiceberg.catalog import Catalog
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import DateType, LongType, NestedField, StringType

from lake import tables
from lake.landing.flows import load_all
from lake.warehouse.change import Change
from lake.warehouse.shape import Shape
from order_fraud.topics import FRAUD_VERDICTS

FINDING_KEY = ("kind", "order_id")
SUMMARY = Shape.of(
    "fraud.verdict_summary",
    Schema(
        NestedField(1, "day", DateType(), required=True),
        NestedField(2, "verdict", StringType(), required=True),
        NestedField(3, "orders", LongType(), required=True),
    ),
    ("day", "verdict"),
)


def copied(catalog: Catalog, flows: Path) -> Iterator[tuple[Table, Shape]]:
    """Yield the tables that are copied as they are and have been made, each with its shape."""
    keys = {name: (flow.row_id,) for name, flow in load_all(flows).items()}
    for name, key in (keys | {tables.FINDINGS.name: FINDING_KEY}).items():
        if catalog.table_exists(name):
            table = catalog.load_table(name)
            yield table, Shape.of(name, table.schema(), key)


def verdict_summary(catalog: Catalog, loaded: int | None) -> Change | None:
    """Return the verdicts by business day, counted by order; None if the warehouse has them or there are none."""
    name = tables.records(FRAUD_VERDICTS).name
    if not catalog.table_exists(name):
        return None
    table = catalog.load_table(name)
    snapshot = table.current_snapshot()
    if snapshot is None or snapshot.snapshot_id == loaded:
        return None
    records = pl.DataFrame(pl.from_arrow(table.scan(selected_fields=("day", "type", "subject")).to_arrow()))
    counted = (
        records.group_by("day", verdict="type")
        .agg(pl.col("subject").n_unique().cast(pl.Int64).alias("orders"))
        .sort("day", "verdict")
    )
    return Change(snapshot.snapshot_id, None, counted.to_arrow())
