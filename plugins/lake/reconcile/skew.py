"""Verdicts by a scorecard that was not the active one when the order came in.

A verdict's record bears the time at which its order came in (``streams.batch.Batch.send``), an activation's the time at
which it was written. So a scorecard that had been replaced before the order even came in cannot rightly have judged
it, however long a batch takes. The other way round nothing follows: an order that waited in a backlog is judged by what
became active meanwhile. A scorecard without any activation never judges rightly; activations land after the verdicts
that follow them (:data:`order_fraud.topics.ARCHIVED`), so that none is missing for being late.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from lake.reconcile.allowances import words
from lake.reconcile.findings import Difference
from lake.reconcile.scope import Scope, place
from order_fraud import policies
from order_fraud.events import PolicyActivated
from order_fraud.policies import Refused
from order_fraud.topics import FRAUD_POLICIES, FRAUD_VERDICTS
from scorecards import PANEL

log = logging.getLogger(__name__)

TABLES = ("kafka.fraud_verdicts", "kafka.fraud_policies")


@dataclass(frozen=True, slots=True)
class Reign:
    """For how long a scorecard was the active one.

    Attributes:
        version: of the scorecard.
        offset: of the activation on fraud.policies; None for the bundled scorecard, which reigned before any.
        until: when it was replaced; None if it judges now.
        by: the version that replaced it.
        by_offset: of that activation.
    """

    version: str
    offset: int | None
    until: datetime | None = None
    by: str = ""
    by_offset: int = -1


def reigns(records: pl.DataFrame, bundled: str = PANEL.active.version) -> list[Reign]:
    """Return who was active when, in order: a fold of archived fraud.policies that refuses what the workers refuse.

    Args:
        records: columns offset, timestamp, key, value.
        bundled: the version that judges before any activation.
    """
    known, made = policies.initial(PANEL), [Reign(bundled, None)]
    rows = records.sort("offset").select("offset", "timestamp", "key", "value").iter_rows()
    for offset, timestamp, key, value in rows:
        try:
            event = policies.receive(None if key is None else key.encode(), value.encode())
            known = known.apply(event)
        except Refused:
            continue  # known_policies has logged it
        if isinstance(event, PolicyActivated):
            last, version = made[-1], event.data.active
            if version == last.version:  # only its shadows changed
                continue
            made[-1] = Reign(last.version, last.offset, timestamp, version, offset)
            made.append(Reign(version, offset))
    return made


def policy_skew(scope: Scope) -> Iterator[Difference]:
    """Yield each order judged by a scorecard that had been replaced, or that was published and never activated."""
    if scope.facts.policies.is_empty():  # the bundled scorecard judges, or one that is not reproducible
        return
    known = _published(scope.facts.policies)
    first = scope.facts.verdicts.unique("order_id", keep="first", maintain_order=True).filter(scope.in_days)
    history = reigns(scope.facts.policies)
    for version in sorted(set(first["scorecard_version"].drop_nulls()) & known):
        judged = first.filter(pl.col("scorecard_version") == version)
        own = [reign for reign in history if reign.version == version]
        if not own:
            yield from _never_active(scope, version, judged, history)
        elif (end := own[-1].until) is not None:
            yield from _outlived(
                scope, judged.filter(pl.col("timestamp") > end + scope.allowances.skew), own[-1], history
            )


def _published(records: pl.DataFrame) -> set[str]:
    """Return the versions that can judge at all; a verdict that names another one is not reproducible."""
    named = records.filter(pl.col("type") == "PolicyPublished")["subject"]
    return {PANEL.active.version, *named}


def _outlived(scope: Scope, judged: pl.DataFrame, reign: Reign, history: list[Reign]) -> Iterator[Difference]:
    assert reign.until is not None  # noqa: S101 - for the type checker: it was replaced
    for row in judged.iter_rows(named=True):
        after = row["timestamp"] - reign.until
        now = _active_at(row["timestamp"], history)
        yield scope.difference(
            "policy-skew",
            row,
            f"Order {row['order_id']} was judged by scorecard {reign.version}, which scorecard {reign.by} had replaced "
            f"{words(after)} before the order came in ({FRAUD_POLICIES.name}, offset {reign.by_offset}).",
            {
                "judged by": f"scorecard {reign.version}: {_activation(reign)}",
                "replaced at": reign.until,
                "active when the order came in": f"scorecard {now.version}: {_activation(now)}",
                "order came in at": row["timestamp"],
                "verdict stands at": place(FRAUD_VERDICTS.name, row),
            },
            TABLES,
        )


def _never_active(scope: Scope, version: str, judged: pl.DataFrame, history: list[Reign]) -> Iterator[Difference]:
    for row in judged.iter_rows(named=True):
        now = _active_at(row["timestamp"], history)
        yield scope.difference(
            "policy-skew",
            row,
            f"Order {row['order_id']} was judged by scorecard {version}, which was published and never activated; "
            f"scorecard {now.version} was active when the order came in.",
            {
                "judged by": f"scorecard {version}: no activation of it on {FRAUD_POLICIES.name}",
                "active when the order came in": f"scorecard {now.version}: {_activation(now)}",
                "order came in at": row["timestamp"],
                "verdict stands at": place(FRAUD_VERDICTS.name, row),
            },
            TABLES,
        )


def _active_at(moment: datetime, history: list[Reign]) -> Reign:
    return next(reign for reign in history if reign.until is None or reign.until > moment)


def _activation(reign: Reign) -> str:
    if reign.offset is None:
        return "comes with the code"
    return f"activated at {FRAUD_POLICIES.name}, partition 0, offset {reign.offset}"
