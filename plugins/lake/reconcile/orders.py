"""Orders that only one of shop and stream knows."""

from collections.abc import Iterator

import polars as pl

from lake.reconcile.findings import Difference, money
from lake.reconcile.scope import Scope, place
from order_fraud.topics import CUSTOMER_EVENTS


def not_streamed(scope: Scope) -> Iterator[Difference]:
    """Yield each shop order without a ``NewOrder`` event: nobody judged it, and it waits for ever."""
    shop = scope.facts.shop.filter(scope.in_days & (pl.col("created_at") <= scope.settled))
    for row in shop.join(scope.facts.streamed, on="order_id", how="anti").iter_rows(named=True):
        yield scope.difference(
            "order-not-streamed",
            row | {"time": row["created_at"]},
            f"The shop sold order {row['order_id']} for {money(row['amount'], row['currency'])}, "
            f"but no NewOrder event of it ever came in on {CUSTOMER_EVENTS.name}.",
            {"shop order": row["order_id"], "created at": row["created_at"], "shop status": row["financial_status"]},
            ("shop.orders", "kafka.customer_events"),
        )


def not_sold(scope: Scope) -> Iterator[Difference]:
    """Yield each ``NewOrder`` event whose order the shop does not know: an event that nobody sold."""
    streamed = scope.facts.streamed.filter(scope.in_days & (pl.col("time") <= scope.settled))
    unknown = streamed.join(scope.facts.shop, on="order_id", how="anti")
    for row in unknown.join(scope.facts.shop_aside, on="order_id", how="anti").iter_rows(named=True):
        yield scope.difference(
            "order-not-sold",
            row,
            f"A NewOrder event of order {row['order_id']} over {money(row['amount'], row['currency'])} came in, "
            "but the shop has no such order.",
            {
                "event": f"order/{row['order_id']}",
                "record": place(CUSTOMER_EVENTS.name, row),
                "ordered at": row["time"],
            },
            ("kafka.customer_events", "shop.orders"),
        )
