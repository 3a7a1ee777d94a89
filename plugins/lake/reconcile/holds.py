"""Orders that nobody has let go: held for too long, or paid for all the same."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from lake import tables
from lake.disputes import CHARGED_BACK, SAID, TAKEN_BACK
from lake.labels import FRAUD, HONEST
from lake.reconcile.allowances import words
from lake.reconcile.facts import TAKING
from lake.reconcile.findings import Difference, money
from lake.reconcile.scope import Scope, place
from order_fraud.topics import CUSTOMER_EVENTS, DELIVERY_EVENTS, FRAUD_VERDICTS

HELD_TABLES = ("kafka.fraud_verdicts", "kafka.delivery_events", "kafka.customer_events", "shop.orders")
MISSED_TABLES = (*HELD_TABLES, tables.DISPUTED)
CHARGED_TABLES = (*HELD_TABLES, "payments.charges", tables.REFUNDED, tables.DISPUTED)

GIVEN_BACK = ("REFUNDED", "VOIDED")
"""What the shop says of an order whose money it has given back or let go (Shopify: ``OrderDisplayFinancialStatus``)."""


def held_overdue(scope: Scope) -> Iterator[Difference]:
    """Yield each order that is held for longer than the allowance, and of which nobody has said what it is.

    An order is held since the first record that says so; records bear the time at which their order came in.
    """
    over = scope.settled - scope.allowances.held
    waiting = _rejected(scope).filter(
        (pl.col("told") != "DeliveryCancelled") & pl.col("word").is_null() & (pl.col("held_since") <= over)
    )
    for row in waiting.iter_rows(named=True):
        yield scope.difference(
            "held-overdue",
            row,
            f"Order {row['order_id']} over {money(row['amount'], row['currency'])} is held as possible fraud "
            f"({row['score']} points) since {row['held_since']:%Y-%m-%d %H:%M} UTC, for longer than "
            f"{words(scope.allowances.held)}, and nobody has cleared or confirmed it.",
            _evidence(row) | {"held since": row["held_since"], "word of a reviewer": "none"},
            HELD_TABLES,
        )


def charged_but_rejected(scope: Scope) -> Iterator[Difference]:
    """Yield each order whose money was captured although it is held, or its delivery was cancelled for good.

    Money is captured at dispatch, so that there is nothing to wait for. What was given back is no finding, nor what
    the cardholder's bank takes back anyway: a refund would pay twice.
    """
    for row in charged(scope).iter_rows(named=True):
        sums = [money(amount, currency) for amount, currency in zip(row["left"], row["currency"], strict=True)]
        why = "its delivery was cancelled" if row["told"] == "DeliveryCancelled" else f"it is held ({row['outcome']})"
        yield scope.difference(
            "charged-but-rejected",
            row | {"currency": row["currency"][0]},
            f"{' and '.join(sums)} was captured for order {row['order_id']}, but {why}, and nobody gave it back.",
            _evidence(row)
            | {
                "charges": ", ".join(row["charge_id"]),
                "captured": " and ".join(sums),
                "charged at": row["charged_at"],
                "word of a reviewer": row["said"] or "none",
            },
            CHARGED_TABLES,
            amount=row["left"][0],
        )


def charged(scope: Scope) -> pl.DataFrame:
    """Return the orders of :func:`charged_but_rejected`, each once, with what is left of the charges by currency."""
    facts, rejected = scope.facts, _rejected(scope)
    captured = (
        facts.charges.filter(
            pl.col("captured") & pl.col("status").is_in(TAKING) & (pl.col("created_at") <= scope.settled)
        )
        .join(rejected, on="order_id", how="semi")
        .join(facts.charges_aside, on="order_id", how="anti")
        .sort("created_at", "charge_id")
        .group_by("order_id", "currency", maintain_order=True)
        .agg(pl.col("amount").sum().alias("captured"), "charge_id", pl.first("created_at").alias("charged_at"))
    )
    given_back = facts.shop.filter(pl.col("financial_status").is_in(GIVEN_BACK))
    refunded = facts.refunds.group_by("order_id", "currency").agg(pl.col("amount").sum().alias("refunded"))
    taken_back = facts.disputes.filter(pl.col("status").is_in(TAKEN_BACK))
    return (
        rejected.filter(pl.col("word").ne_missing(HONEST) & ~pl.col("said").is_in(CHARGED_BACK).fill_null(False))
        .join(taken_back, on="order_id", how="anti")
        .join(given_back, on="order_id", how="anti")
        .rename({"currency": "order_currency"})
        .join(captured, on="order_id", how="inner", maintain_order="left")
        .join(refunded, on=["order_id", "currency"], how="left", maintain_order="left")
        .with_columns(left=pl.col("captured") - pl.col("refunded").fill_null(0))
        .filter(pl.col("left") > 0)
        # An order that was charged in two currencies is one finding; its evidence has both sums.
        .group_by("order_id", maintain_order=True)
        .agg(
            pl.all().exclude("charge_id", "left", "currency").first(),
            "currency",
            "left",
            pl.col("charge_id").list.explode(keep_nulls=False, empty_as_null=False),
        )
    )


def fraud_missed(scope: Scope) -> Iterator[Difference]:
    """Yield each order that was cleared and released, and of which the last word is that it was fraud."""
    facts = scope.facts
    said = _last_words(scope).filter(pl.col("word") == FRAUD)
    deliveries, verdicts = (
        records.join(said, on="order_id", how="semi", maintain_order="left")
        for records in (facts.deliveries, facts.verdicts)
    )
    released = deliveries.filter(pl.col("type") == "DeliveryReleased")
    released = released.unique("order_id", keep="first", maintain_order=True)
    cleared = verdicts.filter("clear").unique("order_id", keep="first", maintain_order=True)
    missed = (
        scope.orders.filter(scope.in_days)
        .join(said, on="order_id", how="inner", maintain_order="left")
        .join(scope.in_shop, on="order_id", how="semi", maintain_order="left")
        .join(
            cleared.select("order_id", "score", "scorecard_version", "partition", "offset"),
            on="order_id", how="inner", maintain_order="left",
        )
        .join(
            released.select("order_id", released_partition="partition", released_offset="offset"),
            on="order_id", how="inner", maintain_order="left",
        )
    )  # fmt: skip
    for row in missed.iter_rows(named=True):
        who = f" by {row['by']}" if row["by"] else ""
        what = "charged back" if row["said"] in CHARGED_BACK else "confirmed as fraud"
        untold = ", of which no ChargebackOpened event told" if row["said"] == SAID else ""
        yield scope.difference(
            "fraud-missed",
            row,
            f"Order {row['order_id']} over {money(row['amount'], row['currency'])} was cleared with {row['score']} "
            f"points by scorecard {row['scorecard_version']} and released, and was {what}{who} on "
            f"{row['known_at']:%Y-%m-%d}{untold}.",
            {
                "word": row["said_id"],
                "word stands at": tables.DISPUTED
                if untold
                else f"{CUSTOMER_EVENTS.name}, partition {row['said_partition']}, offset {row['said_offset']}",
                "told to the stream": "no" if untold else "yes",
                "known at": row["known_at"],
                "verdict": f"NoFraudDetected ({row['score']} points, scorecard {row['scorecard_version']})",
                "verdict stands at": place(FRAUD_VERDICTS.name, row),
                "release stands at": f"{DELIVERY_EVENTS.name}, partition {row['released_partition']}, "
                f"offset {row['released_offset']}",
            },
            HELD_TABLES,
        )


def _last_words(scope: Scope) -> pl.DataFrame:
    """Return what was said last of each order: ``word`` (fraud or honest), ``said`` (the event type) and where."""
    words_ = scope.facts.words.sort("known_at", "partition", "offset")
    return words_.unique("order_id", keep="last", maintain_order=True).select(
        "order_id", "known_at", "by",
        word="label", said="source", said_id="event_id", said_partition="partition", said_offset="offset",
    )  # fmt: skip


def _rejected(scope: Scope) -> pl.DataFrame:
    """Return the sold and streamed orders of the days that are not to be shipped, with what was said of them.

    Such an order has no clearance, or its delivery was cancelled after it; the last record that told the warehouse
    something is no release, since what was released without a clearance is another finding.
    """
    facts = scope.facts
    not_cleared = facts.verdicts.filter(~pl.col("clear")).select("order_id")
    cancelled = facts.deliveries.filter(pl.col("type") == "DeliveryCancelled").select("order_id")
    some = pl.concat([not_cleared, cancelled]).unique()  # most orders are neither, and need no further look
    told = (
        facts.deliveries.join(some, on="order_id", how="semi", maintain_order="left")
        .group_by("order_id")
        .agg(
            pl.last("type").alias("told"),
            pl.last("partition").alias("told_partition"),
            pl.last("offset").alias("told_offset"),
            pl.col("timestamp").filter(pl.col("type") == "DeliveryHeld").min().alias("told_since"),
        )
    )
    verdicts = facts.verdicts.join(some, on="order_id", how="semi", maintain_order="left")
    judged = verdicts.group_by("order_id", maintain_order=True).agg(
        pl.first("partition", "offset", "score", "outcome"),
        pl.col("clear").any(),
        pl.col("timestamp").min().alias("judged_since"),
    )
    fraud = pl.col("word").eq_missing(FRAUD)
    return (
        facts.streamed.filter(scope.in_days)
        .select("order_id", "customer_id", "amount", "currency", "time", "day")
        .join(some, on="order_id", how="semi", maintain_order="left")
        .join(scope.in_shop, on="order_id", how="semi", maintain_order="left")
        .join(judged, on="order_id", how="inner", maintain_order="left")
        .join(told, on="order_id", how="left", maintain_order="left")
        .join(_last_words(scope), on="order_id", how="left", maintain_order="left")
        .filter(pl.col("told").ne_missing("DeliveryReleased"))
        # A cleared order whose delivery was stopped as fraud is a missed one, and settling it sees to its money.
        .filter(~pl.col("clear") | ((pl.col("told") == "DeliveryCancelled") & ~fraud))
        .with_columns(
            told=pl.col("told").fill_null("nothing"), held_since=pl.min_horizontal("told_since", "judged_since")
        )
    )


def _evidence(row: dict[str, Any]) -> dict[str, object]:
    told = {"partition": row["told_partition"], "offset": row["told_offset"]}
    return {
        "verdict": f"{row['outcome']} ({row['score']} points)",
        "verdict stands at": place(FRAUD_VERDICTS.name, row),
        "warehouse was told": row["told"]
        if row["told_offset"] is None
        else f"{row['told']}: {place(DELIVERY_EVENTS.name, told)}",
    }
