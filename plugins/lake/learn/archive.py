"""The orders of the lake that can be learned from: signals from the archived verdicts, labels from what came back."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from lake import labels
from lake.errors import Hopeless
from lake.reconcile.parity import Archive
from order_fraud.events import NoFraudDetected, Order, PossibleFraud, Verdict, decode
from order_fraud.topics import CUSTOMER_EVENTS, FRAUD_VERDICTS


class NothingMature(Hopeless):
    """No order of these days is old enough for its label to be final; the message says what there is."""


@dataclass(frozen=True, slots=True)
class Known:
    """Orders whose labels are final, in the order of their time.

    Attributes:
        verdicts: as archived, with the signals they were made from.
        times: of the orders, UTC.
        fraud: what each turned out to be.
        as_of: the moment whose knowledge counts; see :func:`lake.labels.latest`.
        young: orders left out because a chargeback may still come.
    """

    verdicts: list[Verdict]
    times: list[datetime]
    fraud: list[bool]
    as_of: datetime
    young: int


def known(archive: Archive, first: date | None, last: date | None, mature_days: int) -> Known:
    """Read the orders of some days that are old enough to be what they seem.

    Of younger orders only the frauds are known yet: with them, all of last week would look like fraud. They are left
    out altogether, also those of which word has come.

    Args:
        archive: reads the archived topics at fixed snapshots.
        first, last: business days (UTC), both included; None is open.
        mature_days: age from which an order without word is good.

    Raises:
        NothingMature: there is no such order.
    """
    incoming = archive(CUSTOMER_EVENTS.name, labels.COLUMNS)
    # Of an order that was judged twice its first judgement counts, as in a back-test.
    archived = archive(FRAUD_VERDICTS.name, ("subject", "time", "day", "value")).sort("time", "value")
    archived = archived.unique("subject", keep="first", maintain_order=True)
    as_of = labels.latest(incoming)
    days = [pl.lit(value=True)]
    if first is not None:
        days.append(pl.col("day") >= first)
    if last is not None:
        days.append(pl.col("day") <= last)
    of_days = archived.filter(*days).sort("time", "subject")
    if as_of is None or of_days.is_empty():
        raise NothingMature("no verdict of these days has landed: run land_events, or choose other days")
    mature = of_days.filter(pl.col("time") <= as_of - timedelta(days=mature_days))
    if mature.is_empty():
        raise NothingMature(
            f"none of the {of_days.height} orders of these days is {mature_days} days old at {as_of:%Y-%m-%d}, the "
            "latest event that has landed: wait, or lower `mature_days`"
        )
    orders = mature.select(pl.col("subject").alias("order_id"), "time")
    said = labels.labels(orders, labels.words(incoming), as_of, mature_days)["label"].to_list()
    verdicts = [_verdict(value) for value in mature["value"]]
    fraud = [one == "fraud" for one in said]
    return Known(verdicts, mature["time"].to_list(), fraud, as_of, of_days.height - mature.height)


def order_of(verdict: Verdict) -> Order:
    """Return the order of a verdict as far as the verdict tells: enough for points, not for lists of devices or ips."""
    return Order(
        order_id=verdict.order_id,
        customer_id=verdict.customer_id,
        amount=verdict.amount,
        currency=verdict.currency,
        signals=verdict.signals,
    )


def _verdict(value: str) -> Verdict:
    event = decode(value.encode())
    assert isinstance(event, PossibleFraud | NoFraudDetected)  # noqa: S101 - nothing else is on the topic
    return event.data
