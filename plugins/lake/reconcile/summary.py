"""The days in figures: how far the orders came, what was said of them, and why."""

import polars as pl

from lake import tables
from lake.reconcile.facts import TAKING
from lake.reconcile.outcome import Day, Hit, Money, ParityFigures, Step, Summary
from lake.reconcile.parity import Parity
from lake.reconcile.scope import Scope

MAX_LISTED = 100
"""Refused inputs and differences of other events than orders that the report lists; the rest are counted."""


def summarize(scope: Scope) -> Summary:
    """Return the figures of the scope's days."""
    # Chosen before they are filtered: whole frames a second time would take the most memory of all.
    orders = scope.orders.select("order_id", "amount", "currency", "day").filter(scope.in_days)
    said = scope.facts.verdicts.select("order_id", "day", "type", "clear", "score", "reasons")
    verdicts = said.filter(scope.in_days)
    deliveries = scope.facts.deliveries.select("type", "day").filter(scope.in_days)
    held = pl.col("clear").not_()
    days = verdicts.group_by("day").agg(pl.col("clear").sum(), held.sum().alias("held")).sort("day")
    scores = verdicts.group_by("score").agg(pl.col("clear").sum(), held.sum().alias("held")).sort("score")
    hits = (
        verdicts.select("reasons", "clear")
        .explode("reasons", empty_as_null=True)
        .drop_nulls("reasons")
        .group_by("reasons")
        .agg(pl.len(), held.sum().alias("held"))
        .sort("len", "reasons", descending=(True, False))
    )
    money = (
        orders.join(verdicts.filter(held).select("order_id", held=True).unique(), on="order_id", how="left")
        .group_by("currency")
        .agg(pl.col("amount").sum(), pl.col("amount").filter(pl.col("held")).sum().alias("held"))
        .sort("currency")
    )
    return Summary(
        orders=orders.height,
        verdicts=dict(verdicts.group_by("type").len().sort("type").iter_rows()),
        funnel=_funnel(scope),
        days=[Day(*row) for row in days.iter_rows()],
        scores=list(scores.iter_rows()),
        reasons=[Hit(*row) for row in hits.iter_rows()],
        money=[Money(*row) for row in money.iter_rows()],
        deliveries=dict(deliveries.group_by("type").len().sort("type").iter_rows()),
        set_aside={
            name: orders.join(aside, on="order_id", how="semi").height
            for name, aside in (("shop", scope.facts.shop_aside), ("payments", scope.facts.charges_aside))
        },
    )


def _funnel(scope: Scope) -> list[Step]:
    """Each step counts those orders of the step before that came on."""
    facts = scope.facts
    releases = facts.deliveries.select("order_id", "type").filter(pl.col("type") == "DeliveryReleased")
    paid = facts.charges.select("order_id", "status").filter(pl.col("status").is_in(TAKING))
    judged = facts.verdicts.select("order_id", "clear")
    way = (
        ("streamed", facts.streamed, "their NewOrder event came in"),
        ("judged", judged, "the stream gave a verdict"),
        ("cleared", judged.filter("clear"), "the verdict is NoFraudDetected"),
        ("released", releases, "the warehouse was told to ship"),
        ("paid", paid, "the payment provider took or reserved money"),
        *(_parcels(facts.shipments) if tables.SHIPPED in scope.snapshots else ()),
    )
    orders = facts.shop.select("order_id", "day").filter(scope.in_days).select("order_id").unique()
    steps = [Step("sold", orders.height, "orders of these days in the shop")]
    for name, reached, meaning in way:
        orders = orders.join(reached, on="order_id", how="semi")
        steps.append(Step(name, orders.height, meaning))
    return steps


def _parcels(shipments: pl.DataFrame) -> tuple[tuple[str, pl.DataFrame, str], ...]:
    delivered = shipments.filter(pl.col("delivered_at").is_not_null() & pl.col("returned").not_())
    return (
        ("shipped", shipments.filter(pl.col("picked_up_at").is_not_null()), "a carrier has got the parcel"),
        ("delivered", delivered, "the customer has got it, and it does not come back"),
    )


def figures(parity: Parity) -> ParityFigures:
    """Return how re-folding went, short enough to be read."""
    pending = [one for one in parity.disagreements if one.state == "pending"]
    others = [one.words for one in parity.disagreements if one.state != "pending" and not one.of_order]
    if len(others) > MAX_LISTED:
        others[MAX_LISTED:] = [f"and {len(others) - MAX_LISTED} more"]
    return ParityFigures(
        verdicts=parity.verdicts,
        verdicts_equal=parity.verdicts_equal,
        hops=list(parity.hops),
        refused_inputs=len(parity.refused),
        refused=list(parity.refused[:MAX_LISTED]),
        others=others,
        pending=len(pending),
        seconds=sum(hop.seconds for hop in parity.hops),
    )
