"""What one reconciliation looks at: the facts, the days, and where silence may still be broken."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

import polars as pl

from lake.reconcile.allowances import Allowances
from lake.reconcile.facts import Facts
from lake.reconcile.findings import REMEDIES, Difference
from lake.reconcile.late import Changed
from lake.reconcile.parity import Parity
from order_fraud.events import Finding, FindingKind

GRACE = timedelta(minutes=1)
"""Business that was this young when the sources were last read may still be under way: nothing of it is missed yet."""


@dataclass(frozen=True)
class Scope:
    """The facts and the days that every check works on.

    Attributes:
        facts: of all days, because an order and its payment may fall on different ones.
        parity: what re-folding brought to light.
        first, last: the business days asked for, both included.
        settled: business later than this is still under way; see ``GRACE``.
        snapshots: the lake's snapshot ids by table; they go into each finding's evidence.
        allowances: how long what is late is waited for.
        changed: verdicts that would be others, had everything come in in time.
    """

    facts: Facts
    parity: Parity
    first: date
    last: date
    settled: datetime
    snapshots: Mapping[str, int]
    allowances: Allowances = field(default_factory=Allowances)
    changed: tuple[Changed, ...] = ()

    @cached_property
    def in_days(self) -> pl.Expr:
        """Whether ``day`` is one of the days asked for."""
        return pl.col("day").is_between(self.first, self.last)

    @cached_property
    def orders(self) -> pl.DataFrame:
        """Every order that the shop or the stream knows, each once, with its day; the stream's word goes first."""
        common = ("order_id", "customer_id", "amount", "currency", "time", "day")
        from_shop = self.facts.shop.rename({"created_at": "time"}).select(common)
        both = pl.concat([self.facts.streamed.select(common), from_shop], how="vertical_relaxed")
        return both.unique("order_id", keep="first", maintain_order=True)

    @cached_property
    def in_shop(self) -> pl.DataFrame:
        """``order_id`` of every order that the shop has sold, as far as the shop can be a witness."""
        return pl.concat([self.facts.shop.select("order_id"), self.facts.shop_aside]).unique()

    def difference(
        self,
        kind: FindingKind,
        row: Mapping[str, Any],
        cause: str,
        evidence: Mapping[str, object],
        tables: tuple[str, ...],
        *,
        amount: int | None = None,
        remedied: bool = False,
    ) -> Difference:
        """Return a finding on the order of ``row`` (order_id, customer_id, amount, currency, time).

        Args:
            amount: the money at stake if it is not the order's amount.
            evidence: what the finding rests on; empty values are left out.
            tables: the tables that it rests on; their snapshot ids join the evidence.
            remedied: whether what the finding asks for has been done since.
        """
        read = {f"snapshot of {table}": self.snapshots[table] for table in tables if table in self.snapshots}
        finding = Finding(
            kind=kind,
            order_id=row["order_id"],
            customer_id=row.get("customer_id"),
            cause=cause,
            evidence={name: str(value) for name, value in (dict(evidence) | read).items() if value not in (None, "")},
            amount=max(0, row.get("amount") or 0) if amount is None else amount,
            currency=row.get("currency"),
            remedy=REMEDIES[kind],
        )
        return Difference(finding, row["time"], "remedied" if remedied else "open")


def place(topic: str, row: Mapping[str, Any]) -> str:
    """Return where the record of ``row`` stands."""
    return f"{topic}, partition {row['partition']}, offset {row['offset']}"


def places(topic: str, row: Mapping[str, Any]) -> str:
    """Return where the records of ``row`` stand: its lists ``partition`` and ``offset`` side by side."""
    pairs = zip(row["partition"], row["offset"], strict=True)
    return "; ".join(f"{topic}, partition {partition}, offset {offset}" for partition, offset in pairs)
