"""Parcels that were let go without a clearance, or twice."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from lake.reconcile.findings import Difference, money
from lake.reconcile.scope import Scope, places
from order_fraud.topics import DELIVERY_EVENTS

TABLES = ("kafka.delivery_events", "kafka.fraud_verdicts")


def released_without_clearance(scope: Scope) -> Iterator[Difference]:
    """Yield each order that was released although no ``NoFraudDetected`` of it exists."""
    cleared = scope.facts.verdicts.filter("clear").select("order_id")
    suspects = _releases(scope).join(cleared, on="order_id", how="anti")
    for row in _released(scope, suspects).filter(~pl.col("cleared")).iter_rows(named=True):
        said = f"the verdict on it is {row['verdict']}" if row["verdict"] else "there is no verdict on it"
        known = "" if row["known"] else ", and neither shop nor stream knows the order"
        yield scope.difference(
            "released-without-clearance",
            row,
            f"Order {row['order_id']} over {money(row['amount'], row['currency'])} was released, but {said}{known}.",
            _evidence(row),
            TABLES,
            remedied=row["cancelled"],
        )


def released_twice(scope: Scope) -> Iterator[Difference]:
    """Yield each cleared order that was released more than once: perhaps two parcels for one payment."""
    releases = _releases(scope)
    suspects = releases.filter(releases["order_id"].is_duplicated())
    again = _released(scope, suspects).filter(pl.col("cleared") & (pl.col("offset").list.len() > 1))
    for row in again.iter_rows(named=True):
        yield scope.difference(
            "released-twice",
            row,
            f"Order {row['order_id']} over {money(row['amount'], row['currency'])} "
            f"was released {len(row['offset'])} times.",
            _evidence(row),
            TABLES,
        )


def _evidence(row: dict[str, Any]) -> dict[str, object]:
    return {
        "release": places(DELIVERY_EVENTS.name, row),
        "named as its cause": ", ".join(dict.fromkeys(filter(None, row["cause"]))),
        "verdict": row["verdict"] or "none",
        "cancelled since": "yes" if row["cancelled"] else "no",
    }


def _releases(scope: Scope) -> pl.DataFrame:
    """Return ``order_id`` of every release."""
    told = scope.facts.deliveries.select("order_id", "type")
    return told.filter(pl.col("type") == "DeliveryReleased").select("order_id")


def _released(scope: Scope, suspects: pl.DataFrame) -> pl.DataFrame:
    """Return each released order once, with its releases, its verdict, and whether it was cancelled since.

    It belongs to its order's business day; a release of an order that nobody knows, to its own.

    Args:
        suspects: ``order_id`` of those to look into: to do so for all orders takes the most time and memory of all.
    """
    deliveries = scope.facts.deliveries.join(suspects, on="order_id", how="semi", maintain_order="left")
    verdicts = scope.facts.verdicts.join(suspects, on="order_id", how="semi", maintain_order="left")
    releases = (
        deliveries.filter(pl.col("type") == "DeliveryReleased")
        .group_by("order_id", maintain_order=True)
        .agg(pl.first("customer_id", "time", "day").name.suffix("_released"), "partition", "offset", "cause")
    )
    orders = scope.orders.join(suspects, on="order_id", how="semi").with_columns(known=True)
    judged = verdicts.group_by("order_id").agg(
        pl.col("clear").any().alias("cleared"), pl.col("type").last().alias("verdict")
    )
    cancelled = deliveries.filter(pl.col("type") == "DeliveryCancelled").select("order_id", cancelled=True).unique()
    return (
        releases.join(orders, on="order_id", how="left", maintain_order="left")
        .join(judged, on="order_id", how="left", maintain_order="left")
        .join(cancelled, on="order_id", how="left", maintain_order="left")
        .with_columns(pl.coalesce(name, f"{name}_released").alias(name) for name in ("customer_id", "time", "day"))
        .with_columns(pl.col("known", "cleared", "cancelled").fill_null(False))
        .filter(scope.in_days)
    )
