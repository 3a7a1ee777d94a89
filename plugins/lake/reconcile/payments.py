"""Money against orders: too much, too little, none, or for nothing."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from lake.reconcile.facts import TAKING
from lake.reconcile.findings import Difference, money
from lake.reconcile.scope import Scope

TABLES = ("shop.orders", "payments.charges")


def amount_differs(scope: Scope) -> Iterator[Difference]:
    """Yield each shop order whose charges come to another amount, or are in another currency."""
    taken = _taken(scope.facts.charges).select("order_id", "amount", "currency")
    once = taken.filter(~taken["order_id"].is_duplicated())
    shop = scope.facts.shop.filter(scope.in_days).join(once, on=once.columns, how="anti", maintain_order="left")
    shop = shop.join(scope.facts.charges_aside, on="order_id", how="anti", maintain_order="left")
    charged = _charged(scope.facts.charges.join(shop, on="order_id", how="semi", maintain_order="left"))
    both = shop.join(charged, on="order_id", how="inner", maintain_order="left")
    alike = pl.col("currencies").list.unique() == pl.concat_list("currency")
    unequal = both.with_columns(alike=alike).filter(~pl.col("alike") | (pl.col("charged") != pl.col("amount")))
    for row in unequal.iter_rows(named=True):
        yield scope.difference(
            "amount-differs",
            row | {"time": row["created_at"]},
            f"The shop sold order {row['order_id']} for {money(row['amount'], row['currency'])}, "
            f"and {_sum(row)} was charged.",
            _evidence(row) | {"shop amount": money(row["amount"], row["currency"]), "charged": _sum(row)},
            TABLES,
            amount=abs(row["charged"] - row["amount"]) if row["alike"] else row["amount"],
        )


def payment_missing(scope: Scope) -> Iterator[Difference]:
    """Yield each shop order for which no money was taken or reserved."""
    charges = scope.facts.charges
    shop = scope.facts.shop.filter(scope.in_days & (pl.col("created_at") <= scope.settled))
    unpaid = shop.join(_taken(charges).select("order_id"), on="order_id", how="anti", maintain_order="left")
    unpaid = unpaid.join(scope.facts.charges_aside, on="order_id", how="anti", maintain_order="left")
    failed = charges.join(unpaid, on="order_id", how="semi", maintain_order="left")
    failed = failed.group_by("order_id").agg("charge_id", "status")
    for row in unpaid.join(failed, on="order_id", how="left", maintain_order="left").iter_rows(named=True):
        tried = f"only charges that took nothing ({', '.join(row['status'])})" if row["status"] else "no charge"
        yield scope.difference(
            "payment-missing",
            row | {"time": row["created_at"]},
            f"The shop sold order {row['order_id']} for {money(row['amount'], row['currency'])}, "
            f"but the payment provider has {tried} of it.",
            {
                "shop order": row["order_id"],
                "created at": row["created_at"],
                "shop status": row["financial_status"],
                "charges without money": ", ".join(row["charge_id"] or ()),
            },
            TABLES,
        )


def payment_orphan(scope: Scope) -> Iterator[Difference]:
    """Yield each order id that was charged for but that neither the shop nor the stream knows.

    A charge that names no order at all is reported under its own id.
    """
    named = scope.facts.charges.with_columns(pl.coalesce("order_id", "charge_id").alias("order_id"))
    unknown = _charged(named.join(scope.orders, on="order_id", how="anti", maintain_order="left"))
    orphans = unknown.rename({"charged_day": "day"}).filter(scope.in_days & (pl.col("charged_at") <= scope.settled))
    for row in orphans.join(scope.facts.shop_aside, on="order_id", how="anti").iter_rows(named=True):
        yield scope.difference(
            "payment-orphan",
            row | {"time": row["charged_at"], "currency": row["currencies"][0], "amount": row["charged"]},
            f"{_sum(row)} was charged for order {row['order_id']}, which neither the shop nor the stream knows.",
            _evidence(row),
            (*TABLES, "kafka.customer_events"),
        )


def _taken(charges: pl.DataFrame) -> pl.DataFrame:
    return charges.filter(pl.col("status").is_in(TAKING) & pl.col("order_id").is_not_null())


def _charged(charges: pl.DataFrame) -> pl.DataFrame:
    """Return per order the charges that take money: ids, amounts, currencies, sum, and when the first one was made."""
    return (
        _taken(charges)
        .sort("created_at", "charge_id")
        .group_by("order_id", maintain_order=True)
        .agg(
            pl.col("charge_id").alias("charge_ids"),
            pl.col("amount").alias("amounts"),
            pl.col("currency").alias("currencies"),
            pl.col("amount").sum().alias("charged"),
            pl.first("created_at").alias("charged_at"),
            pl.first("day").alias("charged_day"),
        )
    )


def _sum(row: Mapping[str, Any]) -> str:
    """Return what was charged: one sum, or each amount where the currencies differ."""
    if len(set(row["currencies"])) == 1:
        return money(row["charged"], row["currencies"][0])
    return " and ".join(money(*pair) for pair in zip(row["amounts"], row["currencies"], strict=True))


def _evidence(row: Mapping[str, Any]) -> dict[str, object]:
    return {"charges": ", ".join(row["charge_ids"]), "charged at": row["charged_at"]}
