"""Disputes at the payment provider as words on orders: what a ``ChargebackOpened`` event would have said.

The stream learns of a chargeback by that event only. Whoever looks at an order afterwards must not: a dispute that has
landed is known, whether or not the event came.
"""

import polars as pl
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import AlwaysTrue, In

from lake import tables
from order_fraud.events import ChargebackOpened

SAID = "Dispute"
"""The source of a word that only the provider's list of disputes holds."""

CHARGED_BACK = (ChargebackOpened.__name__, SAID)
"""Sources of words by which the cardholder's bank takes money back."""

FRAUDULENT = "fraudulent"
TAKEN_BACK = ("needs_response", "under_review", "lost")
"""States in which the money is with the cardholder (Stripe: ``Dispute.status``). ``warning_…`` is an inquiry by which
no money has moved, and what the merchant has won is with the merchant again."""

COLUMNS = ("dispute_id", "charge_id", "amount", "currency", "created_at", "day", "reason", "status")
SCHEMA = {
    "dispute_id": pl.String, "order_id": pl.String, "customer_id": pl.String, "amount": pl.Int64,
    "currency": pl.String, "created_at": pl.Datetime("us", "UTC"), "day": pl.Date,
    "reason": pl.String, "status": pl.String,
}  # fmt: skip
"""Of disputes whose order is known."""


def of_orders(rows: pl.DataFrame, charges: pl.DataFrame, orders: pl.DataFrame) -> pl.DataFrame:
    """Return disputes with the order of the charge and its customer (``SCHEMA``).

    Args:
        rows: of the table ``payments.disputes``.
        charges: ``charge_id`` and ``order_id``; a dispute of a charge that has not landed waits for it.
        orders: ``order_id`` and ``customer_id``, each order once; the same goes for an order.
    """
    return (
        rows.join(charges.select("charge_id", "order_id"), on="charge_id", how="inner")
        .join(orders.select("order_id", "customer_id"), on="order_id", how="inner")
        .select(*SCHEMA)
        .sort("created_at", "dispute_id")
    )


def added(words: pl.DataFrame, disputes: pl.DataFrame) -> pl.DataFrame:
    """Return words (:func:`lake.labels.words`), and one more for each dispute for fraud of which none of them tells.

    An event tells of a dispute if it says that the order was charged back, whenever that was.
    """
    told = words.filter(pl.col("source") == ChargebackOpened.__name__)
    untold = disputes.filter((pl.col("reason") == FRAUDULENT) & pl.col("status").is_in(TAKEN_BACK)).join(
        told, on="order_id", how="anti"
    )
    if untold.is_empty():
        return words
    more = untold.select(
        "order_id",
        "customer_id",
        label=pl.lit("fraud"),
        source=pl.lit(SAID),
        event_id=pl.concat_str(pl.lit("dispute/"), "dispute_id"),
        known_at=pl.col("created_at"),
        day="day",
        by="dispute_id",
        partition=pl.lit(-1),
        offset=pl.lit(-1),
    )
    both = pl.concat([words, more.cast(dict(words.schema)).select(words.columns)])
    return both.sort("known_at", "partition", "offset")


def landed(catalog: Catalog) -> pl.DataFrame:
    """Return the disputes that have landed, with their orders as the shop has them."""
    rows = _read(catalog, tables.DISPUTED, COLUMNS)
    if rows.is_empty():
        return pl.DataFrame(schema=SCHEMA)
    charges = _read(catalog, tables.PAID, ("charge_id", "order_id"), rows["charge_id"])
    orders = _read(catalog, tables.SOLD, ("order_id", "customer_id"), charges["order_id"])
    return of_orders(rows, charges, orders)


def _read(catalog: Catalog, name: str, columns: tuple[str, ...], only: pl.Series | None = None) -> pl.DataFrame:
    """Return columns of a table, of those rows alone that have one of the values of ``only`` in the first."""
    if not catalog.table_exists(name):
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))  # joined and nothing else
    rows = AlwaysTrue() if only is None else In(columns[0], only.drop_nulls().unique().to_list())
    scan = catalog.load_table(name).scan(row_filter=rows, selected_fields=columns)
    return pl.DataFrame(pl.from_arrow(scan.to_arrow())).select(columns)
