"""One training from labelled orders to a scorecard, and what it is worth against the one that judges now."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil

import msgspec
import numpy as np

from lake.errors import Hopeless
from lake.learn.archive import Known, order_of
from lake.learn.card import NEVER, Capacity, score, scorecard
from lake.learn.fit import TooFewLabels, fit, log_odds
from lake.learn.metrics import LOOSE, STRICT, Interval, Reliability, auc, gain, interval, recall_at, reliability
from lake.learn.prior import BY_HAND
from lake.learn.samples import Bools, Floats, Samples, samples
from order_fraud.judge import Judge
from order_fraud.policy import encode
from order_fraud.scorecard import Scorecard

LEARNED_SHARE = 0.8
"""The first so many of the orders, by time, are learned from for the measurement; the rest measure it."""


class CannotLearn(Hopeless):
    """What is known does not make a scorecard that would hold anything, or none that can be measured; the message has
    the numbers and says what to change.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for.

    Attributes:
        owner: who answers for the new version.
        reason: why it is made.
        capacity: how many honest orders its bands may hold and block.
    """

    owner: str
    reason: str
    capacity: Capacity


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A measure of both scorecards on orders that neither was learned from, and by how much the new one is better."""

    name: str
    champion: Interval
    challenger: Interval
    gain: Interval


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """One training.

    Attributes:
        run_id: Airflow's id of the run.
        made_at: when.
        snapshots: the lake's snapshot ids by table.
        as_of: the moment whose labels count.
        mature_days: age from which an order without word is good.
        first, split, last: time of the first order, of the first one that only measures, and of the last one.
        learned_orders, learned_fraud: of the first part.
        measured_orders, measured_fraud: of the second part.
        young: orders left out because a chargeback may still come.
        champion: version of the scorecard that judges now.
        measures: on the second part, with the challenger learned from the first.
        calibration: of that challenger's chances on the second part.
        document: the scorecard, learned in the same way from both parts, as JSON.
    """

    run_id: str
    made_at: datetime
    snapshots: dict[str, int]
    as_of: datetime
    mature_days: int
    first: datetime
    split: datetime
    last: datetime
    learned_orders: int
    learned_fraud: int
    measured_orders: int
    measured_fraud: int
    young: int
    champion: str
    measures: list[Measured]
    calibration: list[Reliability]
    document: str


def train(
    known: Known, champion: Judge, wish: Wish, run_id: str, snapshots: dict[str, int], mature_days: int
) -> Training:
    """Learn a scorecard and measure it.

    Args:
        known: orders whose labels are final.
        champion: the scorecard that judges now.
        wish: what is asked for.
        run_id: of the run.
        snapshots: that the orders were read from.
        mature_days: with which they were read.

    Raises:
        CannotLearn: too few frauds or honest orders in the part that is learned from, or none in the other; no signal
            tells them apart; or too many honest orders have the highest score for any to be held.
    """
    fraud = np.array(known.fraud, dtype=np.bool_)
    every = samples((verdict.signals for verdict in known.verdicts), known.fraud)
    split = int(len(every) * LEARNED_SHARE)
    before, after = every[:split], every[split:]
    try:
        tried = fit(before, BY_HAND)
        whole = fit(every, BY_HAND)
    except TooFewLabels as error:
        raise CannotLearn(f"{error}; {known.young} more orders are too young: land more, or wait") from error
    if not 0 < after.fraud.sum() < len(after):
        raise CannotLearn(
            f"{int(after.fraud.sum())} of the last {len(after)} orders are fraud: there is nothing to measure the new "
            "scorecard with; choose more days"
        )
    new = _points(scorecard(tried, before, "trial", wish.owner, wish.reason, None, wish.capacity), after)
    old = np.array(
        [
            float(champion(order_of(verdict), _ms(time)).score)
            for verdict, time in zip(known.verdicts[split:], known.times[split:], strict=True)
        ]
    )
    chance = 1 / (1 + np.exp(-log_odds(tried, after)))
    document = scorecard(whole, every, "unnamed", wish.owner, wish.reason, champion.version, wish.capacity)
    _refuse_idle(document, every, wish.capacity)
    return Training(
        run_id=run_id,
        made_at=datetime.now(UTC),
        snapshots=snapshots,
        as_of=known.as_of,
        mature_days=mature_days,
        first=known.times[0],
        split=known.times[split],
        last=known.times[-1],
        learned_orders=len(before),
        learned_fraud=int(before.fraud.sum()),
        measured_orders=len(after),
        measured_fraud=int(after.fraud.sum()),
        young=known.young,
        champion=champion.version,
        measures=[_measured(name, measure, fraud[split:], new, old) for name, measure in MEASURES.items()],
        calibration=reliability(after.fraud, chance),
        document=encode(named(document, known.as_of)).decode(),
    )


def _refuse_idle(document: Scorecard, orders: Samples, capacity: Capacity) -> None:
    """See that the scorecard can hold an order at all: on trial, one that cannot would only look harmless.

    Raises:
        CannotLearn: it cannot.
    """
    points = _points(document, orders)
    if points.max() <= 0:
        raise CannotLearn(
            f"no signal tells the {int(orders.fraud.sum())} frauds among these {len(orders)} orders from the honest "
            "ones: choose more days, or wait for more word of orders"
        )
    if document.bands[0].at >= NEVER:
        honest = points[~orders.fraud]
        share = float((honest == points.max()).mean())
        raise CannotLearn(
            f"{share:.2%} of the {len(honest)} honest orders have the highest score that there is, and at most "
            f"{capacity.review:.2%} may be held: no order would be. Raise `review_percent` to "
            f"{ceil(share * 1e4) / 100:g} or more, or choose more days"
        )


def named(document: Scorecard, as_of: datetime) -> Scorecard:
    """Return the scorecard with a version of its own, made of its day and its content.

    The same orders and wishes give the same version, so that a task that is tried again publishes nothing twice.
    """
    digest = hashlib.sha256(encode(document)).hexdigest()[:8]
    return msgspec.structs.replace(document, version=f"learned-{as_of:%Y-%m-%d}-{digest}")


MEASURES: dict[str, Callable[[Bools, Floats], float]] = {
    "area under the ROC curve": auc,
    "recall at 1 % false positives": lambda fraud, score_: recall_at(fraud, score_, LOOSE),
    "recall at 0.1 % false positives": lambda fraud, score_: recall_at(fraud, score_, STRICT),
}


def _measured(name: str, measure: Callable[[Bools, Floats], float], fraud: Bools, new: Floats, old: Floats) -> Measured:
    return Measured(
        name=name,
        champion=interval(fraud, old, measure),
        challenger=interval(fraud, new, measure),
        gain=gain(fraud, new, old, measure),
    )


def _points(document: Scorecard, orders: Samples) -> Floats:
    return score(document.lines, orders)


def _ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)
