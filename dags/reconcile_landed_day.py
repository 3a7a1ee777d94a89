"""Starts reconcile_orders for a business day as soon as every system has landed it."""

from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import Asset, AssetAll, PartitionedAssetTimetable, dag

from desk.flow_files import days_of, headings
from desk.retries import RETRIES
from desk.starts import start

READ = (
    *("shop.orders", "payments.charges", "payments.refunds", "payments.disputes", "shop.order_refunds"),
    *("crm.contacts", "carrier.shipments"),
)
"""What a reconciliation reads of the sources: `RECONCILED` and `WITNESSES` of `lake.tables`, which must not be imported
here. A witness whose flow file was taken away is not waited for."""
NEEDED = ("kafka/day", *days_of(READ, headings(Path(__file__).parent / "flows")))

DOC = """
### A day is reconciled when all of it is there

Each landing says which business day (UTC) it has **completed**: the last one that had ended, a few minutes ago at
least, when the landing began. It says so by an event of the asset `<table>/day` (`kafka/day` for all topics together)
whose partition is that day, `YYYY-MM-DD`. When the stream and every flow that a reconciliation reads (orders and
refunds of the shop, charges, refunds and disputes of the payment provider, contacts, parcels) have all said it,
Airflow makes one run here with that partition, and it starts `reconcile_orders` for the day.

A landing says the day again each time it runs, and a day that all have said again is reconciled again: that finds
what came late, and closes what was waited for.

The DAG is **paused until somebody unpauses it**; while it is paused, nothing is collected. Use it instead of
`reconcile_day` where landings have schedules of their own.
"""


@dag(
    schedule=PartitionedAssetTimetable(
        assets=AssetAll(*(Asset(name) for name in NEEDED)),
    ),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
    tags=["reconcile", "starter"],
    doc_md=DOC,
    default_args=dict(RETRIES),
)
def reconcile_landed_day() -> None:
    """Reconcile the partition."""
    day = "{{ dag_run.partition_key }}"
    start("reconcile_orders", {"from_day": day, "to_day": day})


reconcile_landed_day()
