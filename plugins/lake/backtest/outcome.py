"""What one back-test found, as one document: page, JSON and CSV are made from it."""

from datetime import date, datetime

import msgspec

from lake.backtest.measures import Curve, Estimate, Share
from lake.backtest.proof import Proof
from lake.reconcile.parity import HopParity, Judged


class Sum(msgspec.Struct, frozen=True):
    """Orders in one currency and their money in its minor units. Sums of different currencies are never added up."""

    currency: str
    orders: int
    amount: int


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What one scorecard does to the orders of the period. *Stopped* is reviewed or blocked.

    Attributes:
        threshold: the lowest score that it does not clear.
        review, block: orders with that outcome.
        caught, missed: orders that are fraud by their labels, stopped and cleared.
        wrong: good orders that are stopped.
        unknown: stopped orders of which nobody can say yet what they are.
        precision: fraud among the stopped orders whose label is known.
        recall: stopped among the frauds.
        false_positives: stopped among the good orders.
        auc, average_precision: of the score alone, without rules and lists.
    """

    version: str
    threshold: int
    review: int
    block: int
    caught: list[Sum]
    missed: list[Sum]
    wrong: list[Sum]
    unknown: list[Sum]
    precision: Share | None
    recall: Share | None
    false_positives: Share | None
    auc: Estimate | None
    average_precision: Estimate | None
    roc: Curve
    precision_recall: Curve


class Fired(msgspec.Struct, frozen=True):
    """How often something fired: on orders, and on fraud and good ones among them."""

    orders: int
    fraud: int
    good: int
    precision: Share | None


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A bin, rule, list entry or the snooze of either scorecard, and how often it fired.

    Attributes:
        code: the same in both scorecards.
        about: what it is, in words.
        active, candidate: None if that scorecard does not have it.
    """

    code: str
    about: str
    active: Fired | None
    candidate: Fired | None


class Move(msgspec.Struct, frozen=True):
    """Orders that go from one outcome to another, by label, with their money."""

    before: str
    after: str
    orders: int
    fraud: int
    good: int
    unknown: int
    money: list[Sum]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One order whose outcome changes, with the reasons of both scorecards."""

    order_id: str
    customer_id: str
    time: datetime
    amount: int
    currency: str
    label: str
    before: str
    after: str
    score_before: int
    score_after: int
    reasons_before: list[str]
    reasons_after: list[str]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One back-test.

    Attributes:
        run_id: Airflow's id of the run.
        made_at: when.
        first, last: the business days of the orders, both included.
        as_of: the moment whose labels count; see :func:`lake.labels.latest`.
        mature_days: orders without word are good from this age on.
        snapshots: the lake's snapshot ids by table.
        owner, reason: of the candidate.
        document: the candidate, as JSON; ips on its lists are masked.
        published: whether its version has been published.
        judged: the scorecards that judged live in the period.
        orders: all orders of the period; ``fraud``, ``good`` and ``unknown`` by their labels.
        money: of all orders.
        auc_gain: candidate's area under the ROC curve less the active one's.
        hops: how re-folding went, over all days.
    """

    run_id: str
    made_at: datetime
    first: date
    last: date
    as_of: datetime
    mature_days: int
    snapshots: dict[str, int]
    owner: str
    reason: str
    document: str
    published: bool
    judged: list[Judged]
    hops: list[HopParity]
    proof: Proof
    orders: int
    fraud: int
    good: int
    unknown: int
    money: list[Sum]
    active: Side
    candidate: Side
    auc_gain: Estimate | None
    moves: list[Move]
    pieces: list[Piece]
    changes: list[Change]

    @property
    def itself(self) -> bool:
        """Whether the candidate is the scorecard that judges now: then nothing may change."""
        return self.active.version == self.candidate.version

    @property
    def zombies(self) -> list[Piece]:
        """The candidate's pieces that never fired in the period."""
        return [one for one in self.pieces if one.candidate is not None and not one.candidate.orders]


def dump(outcome: Outcome) -> bytes:
    """Return the outcome as JSON."""
    return msgspec.json.encode(outcome)


def load(document: bytes) -> Outcome:
    """Return the outcome that :func:`dump` wrote.

    Raises:
        msgspec.ValidationError: the document is another one.
    """
    return msgspec.json.decode(document, type=Outcome)
