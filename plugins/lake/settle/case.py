"""The order that is settled, what a port is asked to do about it, and what it answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Literal, Protocol

from order_fraud.settlement import Action, Entry, Step

type Evidence = Mapping[str, str]

NOTHING: Evidence = MappingProxyType({})
REASON = "reason"
"""The evidence's name for why something was refused, or got no answer."""


@dataclass(frozen=True, slots=True)
class Case:
    """An order that is fraud.

    Attributes:
        order_id: the order.
        customer_id: its customer.
        known_at: when the fraud became known, UTC: the time of every event that comes of it.
        cause: who says so, in a sentence.
    """

    order_id: str
    customer_id: str
    known_at: datetime
    cause: str


@dataclass(frozen=True, slots=True)
class Line:
    """A word about an order, for the ledger."""

    case: Case
    entry: Entry


@dataclass(frozen=True, slots=True)
class Job:
    """A call that a port is asked to make.

    Attributes:
        case: about which order.
        action: which step, and under which key.
        evidence: what the ledger has noted of each step so far; of this one what :meth:`Port.prepare` found.
    """

    case: Case
    action: Action
    evidence: Mapping[Step, Evidence]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a job.

    Attributes:
        job: which.
        word: for the ledger; None if the other side did not answer, so that nobody knows.
        evidence: what it said, by name; with ``refused`` or None the reason.
    """

    job: Job
    word: Literal["done", "refused", "spent"] | None
    evidence: Evidence = field(default=NOTHING)


class Port(Protocol):
    """A system in which steps have their effect. Making the same call again under the same key changes nothing."""

    def prepare(self, cases: Sequence[Case]) -> Mapping[str, Evidence]:
        """Return what must be known before the effect to be able to undo it, by order id; changes nothing."""

    def act(self, jobs: Sequence[Job]) -> Iterator[Result]:
        """Make the calls, and yield what came of each as soon as it is known.

        Raises:
            Hopeless: no order can be served (a bad secret, say).
        """
