"""What the candidate does to the orders of the period, against the scorecard that judges now."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import polars as pl

from lake.backtest import measures
from lake.backtest.measures import Estimate, Numbers
from lake.backtest.outcome import Change, Move, Side, Sum
from order_fraud.judge import Judge

Which = Literal["active", "candidate"]
OUTCOMES = ("clear", "review", "block")


def side(orders: pl.DataFrame, which: Which, judge: Judge) -> Side:
    """Return what a scorecard does.

    Args:
        orders: rows of :class:`lake.backtest.book.Book` with their ``label``.
        which: whose judgement counts.
        judge: the scorecard.
    """
    outcome = pl.col(f"{which}_outcome")
    stopped, cleared = orders.filter(outcome != "clear"), orders.filter(outcome == "clear")
    count = {
        (label, held): frame.filter(pl.col("label") == label).height
        for held, frame in ((True, stopped), (False, cleared))
        for label in ("fraud", "good")
    }
    fraud, good = scores(orders, which)
    return Side(
        version=judge.version,
        threshold=judge.threshold,
        review=orders.filter(outcome == "review").height,
        block=orders.filter(outcome == "block").height,
        caught=sums(stopped.filter(pl.col("label") == "fraud")),
        missed=sums(cleared.filter(pl.col("label") == "fraud")),
        wrong=sums(stopped.filter(pl.col("label") == "good")),
        unknown=sums(stopped.filter(pl.col("label") == "unknown")),
        precision=measures.share(count["fraud", True], count["fraud", True] + count["good", True]),
        recall=measures.share(count["fraud", True], count["fraud", True] + count["fraud", False]),
        false_positives=measures.share(count["good", True], count["good", True] + count["good", False]),
        auc=measures.auc(fraud, good),
        average_precision=measures.average_precision(fraud, good),
        roc=measures.roc(fraud, good),
        precision_recall=measures.precision_recall(fraud, good),
    )


def auc_gain(orders: pl.DataFrame) -> Estimate | None:
    """Return by how much the candidate's area under the ROC curve exceeds the active one's."""
    return measures.auc_gain(scores(orders, "active"), scores(orders, "candidate"))


def scores(orders: pl.DataFrame, which: Which) -> tuple[Numbers, Numbers]:
    """Return the scores of fraud and of good orders."""
    column = pl.col(f"{which}_score").cast(pl.Float64)
    fraud, good = (orders.filter(pl.col("label") == label).select(column).to_series() for label in ("fraud", "good"))
    return np.asarray(fraud.to_numpy()), np.asarray(good.to_numpy())


def sums(orders: pl.DataFrame) -> list[Sum]:
    """Return orders and money by currency, the most orders first."""
    by = orders.group_by("currency").agg(pl.len(), pl.col("amount").sum())
    return [Sum(*row) for row in by.sort("len", "currency", descending=(True, False)).iter_rows()]


def moves(orders: pl.DataFrame) -> list[Move]:
    """Return every pair of outcomes that occurs, also those that stay, from the mildest on."""
    found = []
    for (before, after), part in orders.group_by("active_outcome", "candidate_outcome"):
        label = dict(part.group_by("label").len().iter_rows())
        by_label = (label.get("fraud", 0), label.get("good", 0), label.get("unknown", 0))
        found.append(Move(str(before), str(after), part.height, *by_label, sums(part)))
    return sorted(found, key=lambda move: (OUTCOMES.index(move.before), OUTCOMES.index(move.after)))


def changes(orders: pl.DataFrame) -> Iterator[Change]:
    """Yield every order whose outcome changes, in the order of business."""
    for row in orders.filter(pl.col("active_outcome") != pl.col("candidate_outcome")).iter_rows(named=True):
        yield Change(
            order_id=row["order_id"],
            customer_id=row["customer_id"],
            time=row["time"],
            amount=row["amount"],
            currency=row["currency"],
            label=row["label"],
            before=row["active_outcome"],
            after=row["candidate_outcome"],
            score_before=row["active_score"],
            score_after=row["candidate_score"],
            reasons_before=row["active_texts"],
            reasons_after=row["candidate_texts"],
        )
