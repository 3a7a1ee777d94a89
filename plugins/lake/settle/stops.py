"""Stops parcels: events that the delivery service obeys, all of a run in one Kafka transaction.

As with corrections (docs/decisions/0041), the topic itself says what has been asked for: what it holds is not sent
again, and who takes over the transactional id fences off a run that was taken for dead.
"""

from collections.abc import Iterator, Mapping, Sequence

from kafka_access import Brokers
from lake.reconcile.corrections import emit_missing
from lake.settle.case import NOTHING, Case, Evidence, Job, Result
from order_fraud.events import DeliveryStopRequested, DeliveryStopWithdrawn, Stop
from order_fraud.rights import TRANSACTIONAL_IDS
from order_fraud.topics import RECONCILIATION_FINDINGS, SETTLE

TRANSACTIONAL_ID = TRANSACTIONAL_IDS[SETTLE]
SOURCE = "/settle"


class Stops:
    """The port of the step; doing asks for the stop, undoing withdraws it."""

    def __init__(self, bootstrap: Brokers, run_id: str) -> None:
        self._bootstrap = bootstrap
        self._run_id = run_id

    def prepare(self, cases: Sequence[Case]) -> Mapping[str, Evidence]:
        """Nothing needs to be known: undoing makes the parcel wait, whatever it did before."""
        return {}

    def act(self, jobs: Sequence[Job]) -> Iterator[Result]:
        """Send what the topic does not hold yet; all of it appears, or nothing.

        Raises:
            NotEmitted: the broker did not take it.
        """
        emit_missing(self._bootstrap, TRANSACTIONAL_ID, self._run_id, [event_of(job) for job in jobs])
        for job in jobs:
            yield Result(job, "done", NOTHING if job.action.undo else {"event": job.action.key, "topic": TOPIC})


TOPIC = RECONCILIATION_FINDINGS.name


def event_of(job: Job) -> DeliveryStopRequested | DeliveryStopWithdrawn:
    """Return the event that a job asks for."""
    case = job.case
    kind = DeliveryStopWithdrawn if job.action.undo else DeliveryStopRequested
    return kind(
        id=job.action.key,
        source=SOURCE,
        subject=case.order_id,
        time=case.known_at,
        data=Stop(order_id=case.order_id, customer_id=case.customer_id, cause=case.cause),
    )
