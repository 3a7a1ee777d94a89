"""Money that is said to have gone back, and that the payment provider still has, or has given back otherwise."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import polars as pl

from lake import tables
from lake.disputes import CHARGED_BACK, TAKEN_BACK
from lake.reconcile import holds
from lake.reconcile.allowances import words
from lake.reconcile.facts import TAKING
from lake.reconcile.findings import Difference, money
from lake.reconcile.scope import Scope

TABLES = ("shop.orders", "shop.order_refunds", "payments.charges", "payments.refunds", "settlement.steps")
REFUNDED, VOIDED = "REFUNDED", "VOIDED"
"""What the shop says of an order whose money it has given back, or let go with the order (Shopify's words)."""


def refund_missing(scope: Scope) -> Iterator[Difference]:
    """Yield each order whose refunds at the payment provider are not those that were said.

    The shop says what goes back by its refunds, or by calling an order refunded or voided; the settlement of a fraud
    says that all of it does. Only what was captured can go back; a refund is given time. Without the provider's
    refunds in the lake nothing is known to be missing.

    No finding is what the cardholder's bank takes back, nor what ``charged-but-rejected`` asks to be refunded already.
    """
    if tables.REFUNDED not in scope.snapshots:
        return
    over = scope.settled - scope.allowances.refund
    said = _said(scope)
    captured = _captured(scope, said)
    given = scope.facts.refunds.join(said, on="order_id", how="semi")
    back = given.group_by("order_id", "currency").agg(
        pl.col("amount").sum().alias("back"),
        pl.col("amount").filter(pl.col("created_at") <= over).sum().alias("back_before"),
        pl.col("refund_id").sort(),
    )
    compared = (
        captured.join(said, on="order_id", how="inner", maintain_order="left")
        .join(_booked(scope, over), on=["order_id", "currency"], how="left", maintain_order="left")
        .join(back, on=["order_id", "currency"], how="left", maintain_order="left")
        .with_columns(pl.col("back", "back_before", "booked", "booked_before").fill_null(0))
        # Booked refunds say how much; a bare word says all of it.
        .with_columns(
            owed=pl.when(pl.col("all")).then("captured").otherwise(pl.min_horizontal("booked_before", "captured"))
        )
        .with_columns(
            lacking=pl.col("owed") - pl.col("back"),
            excess=pl.when(~pl.col("all") & ~pl.col("let_go"))
            .then(pl.col("back_before") - pl.min_horizontal("booked", "captured"))
            .otherwise(0),
        )
        .filter((pl.col("lacking") > 0) | (pl.col("excess") > 0))
        .sort("order_id", "currency")
    )
    if compared.is_empty():
        return
    compared = compared.join(holds.charged(scope), on="order_id", how="anti", maintain_order="left")
    # An order that was charged in two currencies is one finding; its evidence has both sums.
    for _, rows in compared.group_by("order_id", maintain_order=True):
        yield _difference(scope, rows.to_dicts())


def _said(scope: Scope) -> pl.DataFrame:
    """Return the orders of which it is said that money goes back: who says so, and whether all of it.

    ``all``: there is no sum, or there is more to it than the shop's refunds; ``let_go``: the provider may rightly have
    given back more than the shop has booked.
    """
    facts, over = scope.facts, scope.settled - scope.allowances.refund
    booked = facts.shop_refunds.select("order_id").unique().with_columns(booked_at_all=True)
    settled = facts.returned.with_columns(settled=True)
    waited = pl.col("updated_at") <= over
    taken_back = pl.concat(
        [
            facts.disputes.filter(pl.col("status").is_in(TAKEN_BACK)).select("order_id"),
            facts.words.filter(pl.col("source").is_in(CHARGED_BACK)).select("order_id"),
        ]
    )
    status = pl.col("financial_status")
    return (
        facts.shop.filter(scope.in_days)
        .join(booked, on="order_id", how="left", maintain_order="left")
        .join(settled, on="order_id", how="left", maintain_order="left")
        .with_columns(pl.col("booked_at_all", "settled").fill_null(False))
        .filter(pl.col("booked_at_all") | pl.col("settled") | status.is_in((REFUNDED, VOIDED)))
        .join(taken_back, on="order_id", how="anti")
        .join(facts.charges_aside, on="order_id", how="anti")
        .join(facts.refunds_aside, on="order_id", how="anti")
        .with_columns(
            all=pl.col("settled")
            | (waited & ((status == VOIDED) | ((status == REFUNDED) & ~pl.col("booked_at_all")))),
            let_go=pl.col("settled") | (status == VOIDED),
        )
        .select(
            "order_id", "customer_id", "created_at", "financial_status", "updated_at", "all", "let_go", "settled",
            ordered="amount",
        )
    )  # fmt: skip


def _captured(scope: Scope, said: pl.DataFrame) -> pl.DataFrame:
    """Return what was captured of these orders by currency, and by which charges."""
    return (
        scope.facts.charges.filter(pl.col("captured") & pl.col("status").is_in(TAKING))
        .join(said, on="order_id", how="semi")
        .sort("created_at", "charge_id")
        .group_by("order_id", "currency", maintain_order=True)
        .agg(pl.col("amount").sum().alias("captured"), "charge_id")
    )


def _booked(scope: Scope, over: datetime) -> pl.DataFrame:
    """Return what the shop has booked as refunds, all of it and what had time to reach the provider."""
    return (
        scope.facts.shop_refunds.sort("created_at", "refund_id")
        .group_by("order_id", "currency", maintain_order=True)
        .agg(
            pl.col("amount").sum().alias("booked"),
            pl.col("amount").filter(pl.col("created_at") <= over).sum().alias("booked_before"),
            pl.col("refund_id").alias("shop_refund_id"),
            pl.col("created_at").min().alias("booked_at"),
        )
    )


def _difference(scope: Scope, rows: list[dict[str, Any]]) -> Difference:
    first = rows[0]
    back = " and ".join(money(row["back"], row["currency"]) for row in rows)
    missing = " and ".join(money(max(row["lacking"], row["excess"]), row["currency"]) for row in rows)
    nothing = not any(row["back"] for row in rows)
    provider = "the payment provider has no such refund" if nothing else f"the payment provider gave back {back}"
    too = "too much" if first["excess"] > 0 else "missing"
    return scope.difference(
        "refund-missing",
        first | {"time": first["created_at"]},
        f"{_saying(rows)}, but {words(scope.allowances.refund)} later {provider}: {missing} is {too}.",
        {
            "said": _saying(rows),
            "shop status": first["financial_status"],
            "order changed at": first["updated_at"],
            "refunds in the shop": ", ".join(one for row in rows for one in row["shop_refund_id"] or ()),
            "booked at": min((row["booked_at"] for row in rows if row["booked_at"]), default=None),
            "captured": " and ".join(money(row["captured"], row["currency"]) for row in rows),
            "charges": ", ".join(one for row in rows for one in row["charge_id"]),
            "refunded by the provider": "nothing" if nothing else back,
            "refunds of the provider": ", ".join(one for row in rows for one in row["refund_id"] or ()),
        },
        TABLES,
        amount=max(first["lacking"], first["excess"]),
    )


def _saying(rows: list[dict[str, Any]]) -> str:
    """Return who says that how much of the order went back."""
    first = rows[0]
    booked = " and ".join(money(row["booked"], row["currency"]) for row in rows if row["booked"])
    if first["settled"]:
        return f"The settlement of order {first['order_id']} as fraud says that its money went back"
    if first["financial_status"] == VOIDED:
        return f"The shop has cancelled order {first['order_id']} and calls its money {VOIDED}"
    if booked:
        return f"The shop gave back {booked} of order {first['order_id']}"
    return f"The shop calls order {first['order_id']} {first['financial_status']}"
