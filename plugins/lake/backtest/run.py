"""One back-test from the archive to its outcome."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial

import polars as pl

from lake import labels
from lake.backtest import effects
from lake.backtest.book import Book
from lake.backtest.outcome import Outcome
from lake.backtest.pieces import pieces
from lake.backtest.proof import prove
from lake.errors import Hopeless
from lake.reconcile.panels import Panels
from lake.reconcile.parity import Archive, compare, fold_here
from order_fraud.judge import Judge
from order_fraud.policy import encode
from order_fraud.topics import CUSTOMER_EVENTS, FRAUD_VERDICTS


class NoOrders(Hopeless):
    """There is no order in the days asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is tried.

    Attributes:
        candidate: the scorecard.
        first, last: business days (UTC) of the orders that are reported, both included.
        mature_days: age from which an order without word is good.
    """

    candidate: Judge
    first: date
    last: date
    mature_days: int = labels.MATURE_DAYS


def backtest(trial: Trial, archive: Archive, panels: Panels, run_id: str, snapshots: Mapping[str, int]) -> Outcome:
    """Fold the archived log again, let both scorecards judge, and return what is different.

    The histories of the entities do not depend on any scorecard. One fold over all days therefore serves both: it
    stamps the signals, the panel that judged live gives its verdicts again, and the candidate judges the same orders.

    Args:
        trial: what is tried.
        archive: reads the archived topics at fixed snapshots.
        panels: who judged each order, and who judges now.
        run_id: of the run.
        snapshots: that ``archive`` reads, by table.

    Raises:
        NoOrders: no order of these days has landed, or none gets as far as a verdict.
    """
    active, candidate = panels.known.panel.active, trial.candidate
    book = Book(active, candidate, trial.first, trial.last)
    parity = compare(archive, panels, trial.first, trial.last, partial(fold_here, witness=book.add))
    judged = book.frame()
    if judged.is_empty():
        raise NoOrders(
            f"no order of the days {trial.first} to {trial.last} can be judged: run land_events, or choose other days"
        )
    # The stream judges an id under two customers twice, but it is one order with one label: its first judgement counts.
    first = judged.unique("order_id", keep="first", maintain_order=True)
    orders, as_of = _labelled(first, archive, trial.mature_days)
    is_of_days = pl.col("day").is_between(trial.first, trial.last)
    live = archive(FRAUD_VERDICTS.name, ("subject", "day", "value")).filter(is_of_days)
    label = dict(orders.group_by("label").len().iter_rows())
    scorecard = candidate.scorecard
    return Outcome(
        run_id=run_id,
        made_at=datetime.now(UTC),
        first=trial.first,
        last=trial.last,
        as_of=as_of,
        mature_days=trial.mature_days,
        snapshots=dict(snapshots),
        owner=scorecard.owner,
        reason=scorecard.reason,
        document=encode(scorecard).decode(),
        published=scorecard.version in panels.known.scorecards,
        judged=list(parity.judged),
        hops=list(parity.hops),
        proof=prove(judged, live.rename({"subject": "order_id"})),
        orders=orders.height,
        fraud=label.get("fraud", 0),
        good=label.get("good", 0),
        unknown=label.get("unknown", 0),
        money=effects.sums(orders),
        active=effects.side(orders, "active", active),
        candidate=effects.side(orders, "candidate", candidate),
        auc_gain=effects.auc_gain(orders),
        moves=effects.moves(orders),
        pieces=pieces(orders, active.scorecard, scorecard),
        changes=list(effects.changes(orders)),
    )


def _labelled(orders: pl.DataFrame, archive: Archive, mature_days: int) -> tuple[pl.DataFrame, datetime]:
    """Add what is known of each order, and return it with the moment whose knowledge counts."""
    incoming = archive(CUSTOMER_EVENTS.name, labels.COLUMNS)
    as_of = labels.latest(incoming)
    assert as_of is not None  # noqa: S101 - for the type checker: an order was judged, so one has landed
    known = labels.labels(orders.select("order_id", "time"), labels.words(incoming), as_of, mature_days)
    return orders.join(known.select("order_id", "label"), on="order_id", how="left", maintain_order="left"), as_of
