"""Contacts of the CRM that say something else of a customer than shop and stream do, on masked tokens.

Compared are the fields that both sides have: the e-mail address (the shop's of the customer's latest order that has
one) and the channel that brought the customer (the sign-up's). What shop or stream do not know is no difference; what
they know and the CRM lacks is one.

Most customers are the same everywhere. Who may not be, :func:`suspects` finds by hashes, batch by batch, since the
tokens of a million customers would take more memory than all else; only of those are whole rows compared.
"""

from collections.abc import Iterable

import polars as pl

COLUMNS = ("contact_id", "customer_id", "email_token", "lead_source", "updated_at")
SHOP_COLUMNS = ("order_id", "customer_id", "created_at", "email_token")
LONGEST = 40
"""Of a channel so many characters land."""

EMAIL, CHANNEL = "e-mail address", "channel"
SCHEMA = {
    "customer_id": pl.String, "contact_id": pl.String, "updated_at": pl.Datetime("us", "UTC"), "field": pl.String,
    "crm": pl.String, "other": pl.String, "order_id": pl.String,
}  # fmt: skip
"""A row per customer and field: what the CRM says, what the other side says, and of an address the first order with
it."""


def suspects(contacts: Iterable[pl.DataFrame], orders: Iterable[pl.DataFrame], sign_ups: pl.DataFrame) -> pl.DataFrame:
    """Return ``customer_id`` of all customers who may differ, and of few others.

    Args:
        contacts: ``COLUMNS`` of the CRM, in batches.
        orders: ``SHOP_COLUMNS``, in batches.
        sign_ups: ``customer_id`` and ``channel``.
    """
    hashed = [
        batch.select(pl.col("customer_id").hash(), pl.col("email_token").hash(), channel=_plain("lead_source").hash())
        for batch in contacts
    ]
    if not hashed:
        return pl.DataFrame(schema={"customer_id": pl.String})
    crm = pl.concat(hashed)
    unlike = [_unlike(sign_ups.drop_nulls("channel").select("customer_id", value=_plain("channel")), crm, "channel")]
    unlike += [
        _unlike(batch.drop_nulls("email_token").select("customer_id", value="email_token"), crm, "email_token")
        for batch in orders
    ]
    return pl.concat(unlike).unique()


def _unlike(said: pl.DataFrame, crm: pl.DataFrame, column: str) -> pl.DataFrame:
    """Return the customers of whom the CRM has a contact with another hash in ``column``."""
    pairs = said.select(pl.col("customer_id").hash().alias("hash"), pl.col("value").hash(), who="customer_id")
    both = pairs.join(crm.select("customer_id", column), left_on="hash", right_on="customer_id", how="inner")
    return both.filter(pl.col("value") != pl.col(column)).select(customer_id="who")


def _plain(column: str) -> pl.Expr:
    """A channel as it is compared."""
    return pl.col(column).str.slice(0, LONGEST).str.strip_chars().str.to_lowercase()


def differing(contacts: pl.DataFrame, orders: pl.DataFrame, sign_ups: pl.DataFrame) -> pl.DataFrame:
    """Return where they differ (``SCHEMA``).

    Args:
        contacts: ``COLUMNS`` of the CRM; of two contacts of one customer the one changed last counts.
        orders: ``SHOP_COLUMNS``.
        sign_ups: ``customer_id``, each once, and ``channel``.
    """
    one_each = contacts.sort("updated_at", "contact_id").unique("customer_id", keep="last")
    found = [
        _addresses(one_each, orders.drop_nulls("email_token")),
        _channels(one_each, sign_ups.drop_nulls("channel")),
    ]
    return pl.concat([part.select(*SCHEMA).cast(SCHEMA) for part in found]).sort("customer_id", "field")


def _addresses(contacts: pl.DataFrame, orders: pl.DataFrame) -> pl.DataFrame:
    crm = contacts.select("customer_id", "contact_id", "updated_at", crm="email_token")
    unlike = pl.col("email_token").ne_missing(pl.col("crm"))
    suspects = orders.join(crm, on="customer_id", how="inner").filter(unlike).select("customer_id").unique()
    theirs = orders.join(suspects, on="customer_id", how="semi").sort("created_at", "order_id")
    first = theirs.group_by("customer_id", "email_token", maintain_order=True).agg(pl.first("order_id"))
    latest = theirs.unique("customer_id", keep="last").select("customer_id", "email_token")
    return (
        latest.join(first, on=["customer_id", "email_token"], how="inner")
        .join(crm, on="customer_id", how="inner")
        .filter(unlike)
        .with_columns(field=pl.lit(EMAIL), other="email_token")
    )


def _channels(contacts: pl.DataFrame, sign_ups: pl.DataFrame) -> pl.DataFrame:
    return (
        sign_ups.rename({"channel": "other"})
        .join(contacts.rename({"lead_source": "crm"}), on="customer_id", how="inner")
        .filter(_plain("crm").ne_missing(_plain("other")))
        .with_columns(field=pl.lit(CHANNEL), order_id=pl.lit(None, pl.String))
    )
