"""From landed rows to the facts that are matched: one frame per system, flat columns, money in minor units."""

from dataclasses import dataclass, field

import polars as pl

from lake import disputes
from lake.reconcile import contacts
from order_fraud.settlement import RETURN_MONEY

_MONEY = {"amount": pl.Int64(), "currency": pl.String()}
_WHO = {"order_id": pl.String(), "customer_id": pl.String()}
_PLACE = ("partition", "offset", "timestamp", "time", "day")

ORDER = pl.Struct(_WHO | _MONEY)
REASON = pl.Struct({"code": pl.String()})
VERDICT = pl.Struct(
    _WHO
    | _MONEY
    | {"score": pl.Int64(), "reasons": pl.List(REASON), "scorecard_version": pl.String(), "outcome": pl.String()}
)
DELIVERY = pl.Struct(_WHO | {"cause": pl.String()})
OVERDUE = pl.Struct(_WHO | {"record": pl.String(), "longer_than_s": pl.Float64(), "refused": pl.String()})
_ALARM = "VerdictOverdue"

SHOP_COLUMNS = ("order_id", "customer_id", "created_at", "day", "amount", "currency", "financial_status", "updated_at")
CHARGE_COLUMNS = ("charge_id", "order_id", "amount", "currency", "created_at", "day", "captured", "status")
ARCHIVE_COLUMNS = ("partition", "offset", "timestamp", "type", "time", "day", "value")
REFUND_COLUMNS = ("refund_id", "charge_id", "amount", "currency", "created_at", "status")
SHIPMENT_COLUMNS = ("order_id", "picked_up_at", "delivered_at", "returned")
SHOP_REFUND_COLUMNS = ("refund_id", "order_id", "amount", "currency", "created_at")
SETTLEMENT_COLUMNS = ("order_id", "number", "word", "step", "undo")
SIGN_UP_COLUMNS = ("type", "subject", "partition", "offset", "value")
POLICY_COLUMNS = ("offset", "timestamp", "key", "type", "subject", "value")

_MOMENT = pl.Datetime("us", "UTC")
_REFUND = {"refund_id": pl.String(), "order_id": pl.String()} | _MONEY | {"created_at": _MOMENT}
_SHIPMENT = {"order_id": pl.String(), "picked_up_at": _MOMENT, "delivered_at": _MOMENT, "returned": pl.Boolean()}
_SIGNED_UP = pl.Struct({"data": pl.Struct({"channel": pl.String()})})

GOING_BACK = ("succeeded", "pending", "requires_action")
"""The states of a refund by which money goes back (Stripe: ``Refund.status``); a failed or canceled one brings none."""

TAKING = ("succeeded", "pending")
"""The states of a charge that takes money (Stripe: ``Charge.status``); a ``failed`` one takes none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the systems say.

    Attributes:
        streamed: orders that came in on customer.events, each once (its first record).
        verdicts: records of fraud.verdicts; ``clear`` is whether it says NoFraudDetected.
        deliveries: records of delivery.events that tell the warehouse something, with their ``type``.
        alarms: records of delivery.events that say that an order has no verdict for too long.
        shop: orders as the shop has them.
        charges: what the payment provider has.
        sign_ups: ``customer_id`` of everybody who signed up, in no order, with the ``channel`` that brought them.
        words: what was said of orders afterwards, by disputes, too; see :func:`lake.disputes.added`.
        policies: records of fraud.policies (``POLICY_COLUMNS``).
        refunds: money that the payment provider gives or gave back, by the orders of the charges.
        shop_refunds: money that the shop says it has given back.
        disputes: charges that cardholders' banks have something against; see :data:`lake.disputes.SCHEMA`.
        contacts: where the CRM's contacts say something else of a customer than shop or stream; see
            :mod:`lake.reconcile.contacts`.
        shipments: parcels: when a carrier got each and when the customer did, None until then; whether it comes back.
        returned: ``order_id`` of orders whose settlement as fraud says that the money was given back.
        shop_aside, charges_aside, refunds_aside: ``order_id`` of orders whose row of that source failed a check.
            That source is no witness for them: neither its silence nor its sum is a finding.
    """

    streamed: pl.DataFrame
    verdicts: pl.DataFrame
    deliveries: pl.DataFrame
    alarms: pl.DataFrame
    shop: pl.DataFrame
    charges: pl.DataFrame
    sign_ups: pl.DataFrame
    words: pl.DataFrame
    policies: pl.DataFrame
    refunds: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_REFUND))
    shop_refunds: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_REFUND))
    disputes: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=disputes.SCHEMA))
    contacts: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=contacts.SCHEMA))
    shipments: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_SHIPMENT))
    returned: pl.DataFrame = field(default_factory=lambda: _no_orders())
    shop_aside: pl.DataFrame = field(default_factory=lambda: _no_orders())
    charges_aside: pl.DataFrame = field(default_factory=lambda: _no_orders())
    refunds_aside: pl.DataFrame = field(default_factory=lambda: _no_orders())


def _no_orders() -> pl.DataFrame:
    return pl.DataFrame(schema={"order_id": pl.String})


def set_aside(quarantine: pl.DataFrame, order_id: str, landed: pl.Series) -> pl.DataFrame:
    """Return the orders whose rows of a source lie in quarantine and have not landed since.

    Args:
        quarantine: its ``row_id`` and ``row``, which is a JSON document in the source's own dialect.
        order_id: JSON path of the order id in it.
        landed: ids of rows that are in the table.
    """
    still = quarantine.filter(~pl.col("row_id").is_in(landed.implode()) | pl.col("row_id").is_null())
    named = still.select(order_id=pl.col("row").str.json_path_match(order_id))
    return named.drop_nulls().unique()


def streamed(customer_events: pl.DataFrame) -> pl.DataFrame:
    """Return the orders among the records of customer.events, the first record of each."""
    orders = customer_events.filter(pl.col("type") == "NewOrder")
    return _opened(orders, ORDER).sort("partition", "offset").unique("order_id", keep="first", maintain_order=True)


def sign_ups(customer_events: pl.DataFrame) -> pl.DataFrame:
    """Return who signed up, each once (the first record), from the records of customer.events."""
    came = customer_events.filter(pl.col("type") == "NewCustomer").sort("partition", "offset")
    said = pl.col("value").str.json_decode(_SIGNED_UP).struct.field("data").struct.field("channel")
    return came.select(customer_id="subject", channel=said).unique("customer_id", keep="first", maintain_order=True)


def refunds(rows: pl.DataFrame, charges: pl.DataFrame) -> pl.DataFrame:
    """Return the refunds by which money goes back, with their orders; one of a charge that has not landed waits for it.

    Args:
        rows: of the provider's refunds.
        charges: ``charge_id`` and ``order_id``.
    """
    going = rows.filter(pl.col("status").is_in(GOING_BACK))
    return going.join(charges.select("charge_id", "order_id"), on="charge_id", how="inner").select(*_REFUND)


def returned(steps: pl.DataFrame) -> pl.DataFrame:
    """Return the orders of which the settlement's last word on the money is that it has gone back.

    Args:
        steps: rows of ``settlement.steps``.
    """
    of_money = steps.filter((pl.col("step") == RETURN_MONEY) & ~pl.col("undo")).sort("order_id", "number")
    last = of_money.unique("order_id", keep="last", maintain_order=True)
    return last.filter(pl.col("word") == "done").select("order_id")


def verdicts(records: pl.DataFrame) -> pl.DataFrame:
    """Return the verdicts among the records of fraud.verdicts; ``reasons`` are their codes."""
    opened = _opened(records, VERDICT)
    return opened.with_columns(
        clear=pl.col("type") == "NoFraudDetected",
        reasons=pl.col("reasons").list.eval(pl.element().struct.field("code")),
    ).sort("partition", "offset")


def deliveries(records: pl.DataFrame) -> pl.DataFrame:
    """Return what the warehouse was told, from the records of delivery.events; an alarm tells it nothing."""
    return _opened(records.filter(pl.col("type") != _ALARM), DELIVERY).sort("partition", "offset")


def alarms(records: pl.DataFrame) -> pl.DataFrame:
    """Return the orders whose verdict the stream itself has missed, from the records of delivery.events."""
    return _opened(records.filter(pl.col("type") == _ALARM), OVERDUE).sort("partition", "offset")


def _opened(records: pl.DataFrame, data: pl.Struct) -> pl.DataFrame:
    document = pl.Struct({"data": data})
    value = pl.col("value").str.json_decode(document).struct.field("data").struct.unnest()
    return records.select(*_PLACE, "type", value)
