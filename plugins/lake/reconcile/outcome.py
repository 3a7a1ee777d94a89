"""What one reconciliation found, as one document: report, corrections and findings table are made from it."""

from datetime import date, datetime

import msgspec

from lake.reconcile.allowances import Allowances
from lake.reconcile.findings import KINDS, Difference
from lake.reconcile.parity import HopParity, Judged
from lake.reconcile.refold import Refused


class Step(msgspec.Struct, frozen=True):
    """One step of the orders' way: how many got there, and what it means."""

    name: str
    orders: int
    meaning: str


class Day(msgspec.Struct, frozen=True):
    """The verdicts on one business day's orders."""

    day: date
    cleared: int
    possible_fraud: int


class Hit(msgspec.Struct, frozen=True):
    """How often a reason fired, and on how many orders that were held."""

    code: str
    orders: int
    held: int


class Money(msgspec.Struct, frozen=True):
    """Orders and their money in one currency: all that came in, and the part that was held."""

    currency: str
    amount: int
    held: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The days in figures.

    Attributes:
        orders: orders of these days that the shop or the stream knows.
        verdicts: verdict records by type.
        scores: orders by score, cleared and held apart: (score, cleared, held).
        set_aside: orders by the source in whose quarantine their row lies.
    """

    orders: int
    verdicts: dict[str, int]
    funnel: list[Step]
    days: list[Day]
    scores: list[tuple[int, int, int]]
    reasons: list[Hit]
    money: list[Money]
    deliveries: dict[str, int]
    set_aside: dict[str, int]


class ParityFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How re-folding went; see :class:`lake.reconcile.parity.Parity`.

    Attributes:
        refused_inputs: inputs that the stream refuses, over all days; ``refused`` holds the first of them.
        others: differences on the way of sign-ups and of word of what orders were, in words: no order's own record is
            concerned, but histories may be.
        pending: answers that may still come.
        seconds: that folding took, all hops together.
    """

    verdicts: int
    verdicts_equal: int
    hops: list[HopParity]
    refused_inputs: int
    refused: list[Refused]
    others: list[str]
    pending: int
    seconds: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One reconciliation.

    Attributes:
        run_id: Airflow's id of the run.
        made_at: when.
        first, last: the business days looked at, both included.
        settled: business later than this was taken to be under way.
        allowances: how long what is late was waited for.
        repeats: the earlier run whose snapshots were read again; None if the run read what had landed.
        scorecards: that judged on these days, the one that judges now last.
        snapshots: the lake's snapshot ids by table; with them the run can be repeated on the same data.
        differences: all findings.
        sources: the tables of sources that were compared with; None for all.
    """

    run_id: str
    made_at: datetime
    first: date
    last: date
    dry_run: bool
    settled: datetime
    scorecards: list[Judged]
    snapshots: dict[str, int]
    parity: ParityFigures
    summary: Summary
    differences: list[Difference]
    allowances: Allowances = msgspec.field(default_factory=Allowances)
    repeats: str | None = None
    sources: list[str] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Findings by kind, only kinds that occur, in their fixed order."""
        kinds = [difference.finding.kind for difference in self.differences]
        return {kind: kinds.count(kind) for kind in KINDS if kind in kinds}

    @property
    def not_reproducible(self) -> int:
        """Orders whose verdict the same inputs do not give again."""
        return self.counts.get("verdict-not-reproducible", 0)


def dump(outcome: Outcome) -> bytes:
    """Return the outcome as JSON."""
    return msgspec.json.encode(outcome)


def load(document: bytes) -> Outcome:
    """Return the outcome that :func:`dump` wrote.

    Raises:
        msgspec.ValidationError: the document is another one.
    """
    return msgspec.json.decode(document, type=Outcome)
