"""Customers who order although no sign-up of them ever came in, and those of whom the CRM knows something else."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from lake.reconcile.allowances import words
from lake.reconcile.contacts import EMAIL
from lake.reconcile.findings import Difference, money
from lake.reconcile.scope import Scope, place
from order_fraud.topics import CUSTOMER_EVENTS

TABLES = ("kafka.customer_events", "shop.orders")
CONTACT_TABLES = ("crm.contacts", "shop.orders", "kafka.customer_events")
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


def customer_differs(scope: Scope) -> Iterator[Difference]:
    """Yield each customer who has ordered, and of whom the CRM's contact says something else; one finding a customer.

    It belongs to the first order since which they differ. An order is given time to reach the CRM.
    """
    shop = scope.facts.shop.join(scope.facts.contacts, on="customer_id", how="semi").sort("created_at", "order_id")
    orders = shop.select("customer_id", "order_id", "created_at", "day", "currency")
    first = orders.unique("customer_id", keep="first", maintain_order=True)
    since = (
        scope.facts.contacts.join(first.select("customer_id", first="order_id"), on="customer_id", how="inner")
        .with_columns(pl.coalesce("order_id", "first").alias("order_id"))
        .join(orders.drop("customer_id"), on="order_id", how="inner")
        .filter(pl.col("created_at") <= scope.settled - scope.allowances.contact)
        .sort("created_at", "order_id", "field")
    )
    found = since.group_by("customer_id", maintain_order=True).agg(
        pl.first("contact_id", "updated_at", "order_id", "created_at", "day", "currency"), "field", "crm", "other"
    )
    by_currency = shop.group_by("customer_id", "currency").agg(pl.col("amount").sum(), pl.len()).sort("currency")
    sums = by_currency.group_by("customer_id", maintain_order=True).agg(
        pl.col("amount").alias("amounts"), pl.col("currency").alias("currencies"), pl.col("len").sum().alias("orders")
    )
    for row in found.filter(scope.in_days).join(sums, on="customer_id", maintain_order="left").iter_rows(named=True):
        stake = dict(zip(row["currencies"], row["amounts"], strict=True))
        all_sums = " and ".join(money(amount, currency) for currency, amount in stake.items())
        yield scope.difference(
            "customer-differs",
            row | {"time": row["created_at"]},
            f"The CRM's contact {row['contact_id']} of customer {row['customer_id']} has another "
            f"{' and '.join(row['field'])} than {_others(row['field'])}: {_values(row)}.",
            {
                "contact": row["contact_id"],
                "contact changed at": row["updated_at"],
                "differs since order": row["order_id"],
                "ordered at": row["created_at"],
                "orders of the customer": f"{row['orders']} over {all_sums}",
            }
            | {
                name: value
                for field, crm, other in _fields(row)
                for name, value in ((f"{field} in the CRM", crm or "none"), (_where(row, field), other))
            },
            CONTACT_TABLES,
            amount=stake[row["currency"]],
        )


def _fields(row: dict[str, Any]) -> Iterator[tuple[str, str | None, str]]:
    return zip(row["field"], row["crm"], row["other"], strict=True)


def _where(row: dict[str, Any], field: str) -> str:
    if field == EMAIL:
        return f"{field} in the shop"
    return f"{field} of event customer/{row['customer_id']} on {CUSTOMER_EVENTS.name}"


def _others(fields: list[str]) -> str:
    return " and ".join("the shop" if field == EMAIL else "the sign-up" for field in fields)


def _values(row: dict[str, Any]) -> str:
    return "; ".join(f"{field} {crm or 'none'} instead of {other}" for field, crm, other in _fields(row))
