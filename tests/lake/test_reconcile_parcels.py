"""Parcels in the picture of how far the orders came."""

from dataclasses import replace

import polars as pl

from lake import tables
from lake.reconcile import facts
from lake.reconcile.summary import summarize
from order_fraud.events import NoFraudDetected
from tests.lake.reconcile_world import ARRIVED, calm
from tests.lake.test_reconcile_match import by_type

SCHEMA = {"order_id": pl.String, "picked_up_at": facts._MOMENT, "delivered_at": facts._MOMENT, "returned": pl.Boolean}


def test_parcels_are_steps_once_they_have_landed_and_what_comes_back_is_not_delivered() -> None:
    scope = calm().scope()
    bare = [(step.name, step.orders) for step in summarize(scope).funnel]
    assert [name for name, _ in bare][-1] == "paid"

    first, second, third, fourth, *_ = by_type(calm(), NoFraudDetected)
    parcels = [
        (first, ARRIVED, ARRIVED, False),
        (first, ARRIVED, None, False),  # a second parcel of the same order
        (second, ARRIVED, ARRIVED, True),
        (third, ARRIVED, None, False),
        (fourth, None, None, False),  # announced only
        ("of-another-shop", ARRIVED, ARRIVED, False),
    ]
    shipments = pl.DataFrame(parcels, schema=SCHEMA, orient="row")
    landed = replace(
        scope,
        facts=replace(scope.facts, shipments=shipments),
        snapshots={**scope.snapshots, tables.SHIPPED: 44},
    )
    assert [(step.name, step.orders) for step in summarize(landed).funnel] == [*bare, ("shipped", 3), ("delivered", 1)]
