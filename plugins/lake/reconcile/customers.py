"""Customers who order although no sign-up of them ever came in."""

from collections.abc import Iterator

import polars as pl

from lake.reconcile.allowances import words
from lake.reconcile.findings import Difference, money
from lake.reconcile.scope import Scope, place
from order_fraud.topics import CUSTOMER_EVENTS

TABLES = ("kafka.customer_events", "shop.orders")
LISTED = 10
"""Further orders of the customer that the evidence names one by one."""


def customer_unknown(scope: Scope) -> Iterator[Difference]:
    """Yield the first order of each customer whose sign-up is not in the archive; one finding a customer.

    Nothing is missed where no sign-up ever comes in: then they are none of this merchant's events. Nor of an order
    that has another root cause: one that the shop does not know, or that got no verdict.
    """
    if scope.facts.sign_ups.is_empty():
        return
    waited = pl.col("time") <= scope.settled - scope.allowances.sign_up
    orders = (
        scope.facts.streamed.filter(waited)
        .join(scope.facts.sign_ups, on="customer_id", how="anti")
        .join(scope.facts.verdicts, on="order_id", how="semi")
        .join(scope.in_shop, on="order_id", how="semi")
        .sort("time", "order_id")
    )
    first = orders.group_by("customer_id", maintain_order=True).agg(
        pl.first(*(name for name in orders.columns if name != "customer_id")),
        pl.col("order_id").slice(1).alias("others"),
        pl.col("amount").filter(pl.col("currency") == pl.col("currency").first()).sum().alias("stake"),
    )
    for row in first.filter(scope.in_days).iter_rows(named=True):
        others = row["others"]
        many = f" and {len(others)} later one{'' if len(others) == 1 else 's'}" if others else ""
        yield scope.difference(
            "customer-unknown",
            row,
            f"Order {row['order_id']} over {money(row['amount'], row['currency'])}{many} of customer "
            f"{row['customer_id']} came in and was judged, but no sign-up of this customer had come in "
            f"{words(scope.allowances.sign_up)} after the order, nor since.",
            {
                "event": f"order/{row['order_id']}",
                "record": place(CUSTOMER_EVENTS.name, row),
                "ordered at": row["time"],
                "sign-up": f"no event customer/{row['customer_id']} on {CUSTOMER_EVENTS.name}",
                "later orders": ", ".join(others[:LISTED])
                + (f" and {len(others) - LISTED} more" if len(others) > LISTED else ""),
            },
            TABLES,
            amount=row["stake"],
        )
