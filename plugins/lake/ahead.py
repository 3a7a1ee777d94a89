"""Archived events that the stream has refused because they are dated ahead of their records.

They land all the same, for a reconciliation has to say what became of them. But they never happened: nobody learns from
them, and a single one, dated 2099, must not make everything else look old.
"""

import polars as pl

from order_fraud.relay import AHEAD_MS


def not_dated_ahead(records: pl.DataFrame) -> pl.DataFrame:
    """Return the archived records (columns ``time`` and ``timestamp``) that the stream has not refused for their date.

    They are just those that :func:`order_fraud.relay.receive` lets pass there. A record that its producer gave no time
    stamp has Kafka's -1 ms, in the stream as in the archive, so that any event in it is ahead.
    """
    # The kernel compares floats of milliseconds, so the same operations must give the same floats here. Polars would
    # multiply by the reciprocal instead of dividing.
    seconds = records["time"].dt.epoch("us").to_numpy() / 1_000_000
    latest = records["timestamp"].dt.epoch("ms").to_numpy() + AHEAD_MS
    return records.filter(pl.Series(seconds * 1_000 <= latest, dtype=pl.Boolean))
