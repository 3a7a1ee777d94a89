"""What orders turned out to be: the table ``fraud.labels``, and labels as they were known at a given time.

The table has a row per word that came in (fraud confirmed, cleared, charged back), and one per dispute at the payment
provider of which no event told (:mod:`lake.disputes`). What an order *is* follows from it
for any moment: the last word that was known by then counts; without any, an order is good only when it is old enough
that a chargeback would have come. Training and back-tests on a past day must not know what came in later. They read the
words from the archived topic; the table is for people, and decision 0081 has the SQL that gives what orders are.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

import polars as pl
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import In

from lake import disputes, tables
from lake.ahead import not_dated_ahead
from lake.landing.progress import RUN_ID, Landed, committing, retrying_conflicts
from order_fraud.events import ChargebackOpened, FraudCleared, FraudConfirmed
from order_fraud.topics import CUSTOMER_EVENTS

MATURE_DAYS = 60
"""Days without word after which an order is taken to be good, unless one asks for others: later, more chargebacks are
known; earlier, the labels are of today's fraud."""

FRAUD, HONEST = "fraud", "honest"
WORDS: Mapping[str, str] = MappingProxyType(
    {FraudConfirmed.__name__: FRAUD, ChargebackOpened.__name__: FRAUD, FraudCleared.__name__: HONEST}
)
"""What each kind of word says of its order."""

_DATA = pl.Struct({"data": pl.Struct({"order_id": pl.String(), "customer_id": pl.String(), "by": pl.String()})})
COLUMNS = ("partition", "offset", "timestamp", "type", "event_id", "time", "day", "value")


def words(customer_events: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of the table from archived records of customer.events; the same event twice is one row.

    Words dated ahead of their records are none: the stream has refused them.
    """
    said = not_dated_ahead(customer_events.filter(pl.col("type").is_in(list(WORDS))))
    data = pl.col("value").str.json_decode(_DATA).struct.field("data").struct.unnest()
    return (
        said.select(pl.exclude("value"), data)
        .sort("partition", "offset")
        .unique(["event_id", "time"], keep="first", maintain_order=True)
        .select(
            "order_id",
            "customer_id",
            label=pl.col("type").replace_strict(WORDS, return_dtype=pl.String),
            source="type",
            event_id="event_id",
            known_at="time",
            day="day",
            by="by",
            partition="partition",
            offset="offset",
        )
        .sort("known_at", "partition", "offset")
    )


def latest(customer_events: pl.DataFrame) -> datetime | None:
    """Return the latest time of an event that has landed and that the stream has not refused as dated ahead.

    It is the moment whose knowledge counts, instead of now: the same snapshots give the same labels for ever.
    """
    found = not_dated_ahead(customer_events)["time"].max()
    assert found is None or isinstance(found, datetime)  # noqa: S101 - for the type checker: polars says any literal
    return found


def labels(orders: pl.DataFrame, said: pl.DataFrame, as_of: datetime, mature_days: int = MATURE_DAYS) -> pl.DataFrame:
    """Return what was known at a moment of every order placed by then.

    Args:
        orders: ``order_id`` and ``time`` of orders, each once.
        said: rows of :func:`words`, of these or other orders; word of an order that has not landed waits for it.
        as_of: the moment, UTC. Later orders and later words do not exist yet.
        mature_days: an order without word is good from this age on, and unknown before.

    Returns:
        ``order_id``, ``label`` (fraud, good or unknown) and ``known_at``: since when that is so, null while unknown.
        In the order of ``orders``. Of several words on one order the last by time counts, at the same time the last
        on the topic: what was charged back and then cleared is good at once, however young.

    Raises:
        ValueError: ``as_of`` has no time zone, or ``mature_days`` is negative.
    """
    if as_of.tzinfo is None:
        raise ValueError(f"as_of {as_of.isoformat()} has no time zone: give it in UTC")
    if mature_days < 0:
        raise ValueError(f"mature_days is {mature_days}: an order cannot be good before it was placed")
    last = (
        said.filter(pl.col("known_at") <= as_of)
        .sort("known_at", "partition", "offset")
        .unique("order_id", keep="last", maintain_order=True)
        .select("order_id", said=pl.col("label"), said_at=pl.col("known_at"))
    )
    grown_up = pl.col("time") + timedelta(days=mature_days)
    silent, mature = pl.col("said").is_null(), grown_up <= as_of
    return (
        orders.filter(pl.col("time") <= as_of)
        .join(last, on="order_id", how="left", maintain_order="left")
        .select(
            "order_id",
            label=pl.when(pl.col("said") == FRAUD)
            .then(pl.lit("fraud"))
            .when((pl.col("said") == HONEST) | (silent & mature))
            .then(pl.lit("good"))
            .otherwise(pl.lit("unknown")),
            known_at=pl.when(silent & mature).then(grown_up).otherwise(pl.col("said_at")),
        )
    )


def record(catalog: Catalog, run_id: str) -> Landed:
    """Bring the table up to what has landed of customer.events and of disputes; without news it stays as it is.

    Raises:
        Conflict: other runs kept writing to the table.
    """
    return retrying_conflicts(lambda: _record(catalog, run_id))


def _record(catalog: Catalog, run_id: str) -> Landed:
    table = tables.ensure(catalog, tables.LABELS)
    columns = [field.name for field in table.schema().fields]
    archive = tables.ensure(catalog, tables.records(CUSTOMER_EVENTS))
    scan = archive.scan(row_filter=In("type", tuple(WORDS)), selected_fields=COLUMNS)
    told = words(pl.DataFrame(pl.from_arrow(scan.to_arrow())))
    rows = disputes.added(told, disputes.landed(catalog)).select(columns)
    there = pl.DataFrame(pl.from_arrow(table.scan().to_arrow())).select(columns)
    new = rows.join(there, on=["event_id", "known_at"], how="anti").height
    # A word never changes, but a dispute is none any more once an event tells of it, or the merchant wins it.
    if new or rows.height != there.height:
        with committing(table):
            table.overwrite(rows.to_arrow().cast(table.schema().as_arrow()), snapshot_properties={RUN_ID: run_id})
    return Landed(tables.LABELS.name, new, 0, 0.0)
