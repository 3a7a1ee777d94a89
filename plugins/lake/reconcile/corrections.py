"""Findings become events, each exactly once, whatever crashes.

The topic itself is the outbox: what it holds (read_committed) has been emitted, all else has not. One run emits in
these steps:

1. Take over the transactional id: an older run that still lives is fenced and its open transaction aborted, so that
   nobody else can commit from here on.
2. Read the topic to its end and remember the ids.
3. Emit what is missing, in one transaction: all of it appears, or nothing.

Each record names its run in the header ``run``, so that a run that is tried again still knows what it has emitted.
A crash before the commit leaves nothing, and the retry emits all; a crash after it leaves all, and the retry finds it.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from kafka_access import Brokers, client
from lake.landing import broker
from lake.landing.broker import TopicUnusable
from lake.reconcile.findings import OWN_REMEDIES, Difference
from order_fraud import events
from order_fraud.events import Correction, CorrectionRequested, Event, FindingRaised
from order_fraud.rights import TRANSACTIONAL_IDS
from order_fraud.topics import RECONCILE, RECONCILIATION_FINDINGS

log = logging.getLogger(__name__)

TRANSACTIONAL_ID = TRANSACTIONAL_IDS[RECONCILE]
SOURCE = "/reconcile"
RUN = "run"
TIMEOUT_S = 30.0


class NotEmitted(RuntimeError):
    """Nothing was emitted; the message says what the broker said, and trying again is safe."""


@dataclass(frozen=True, slots=True)
class Emitted:
    """What one run, all its attempts together, added to the topic, or would have added in a dry run.

    Attributes:
        findings: newly raised.
        corrections: newly requested.
        known: events that earlier runs had emitted.
        closed: findings of earlier runs that this one no longer sees (:mod:`lake.reconcile.ledger`).
    """

    findings: int
    corrections: int
    known: int
    closed: int = 0


class _Id(msgspec.Struct):
    id: str


_id_decoder = msgspec.json.Decoder(_Id)


def events_of(differences: Iterable[Difference]) -> Iterator[FindingRaised | CorrectionRequested]:
    """Yield each finding as an event, followed by the correction it asks for if a service of ours can carry it out."""
    for difference in differences:
        finding = difference.finding
        about = f"{finding.kind}/{finding.order_id}"
        common = {"source": SOURCE, "subject": finding.order_id, "time": difference.time}
        yield FindingRaised(id=f"finding/{about}", data=finding, **common)
        if finding.remedy in OWN_REMEDIES and difference.state == "open":
            correction = Correction(
                finding_id=f"finding/{about}",
                kind=finding.kind,
                order_id=finding.order_id,
                customer_id=finding.customer_id,
                remedy=finding.remedy,
            )
            yield CorrectionRequested(id=f"correction/{about}", data=correction, **common)


def emit(
    bootstrap: Brokers, run_id: str, differences: Sequence[Difference], already: Iterable[str] = (), *, dry_run: bool
) -> Emitted:
    """Put on the topic what it does not hold yet.

    Args:
        bootstrap: the broker.
        run_id: of the run that found the differences.
        differences: all findings of the run.
        already: ids of events known to have been emitted although the topic may have forgotten them since.
        dry_run: only look, emit nothing.

    Raises:
        NotEmitted: the broker refused, was not there in time, or another run took over.
    """
    try:
        producer = None if dry_run else _take_over(bootstrap)  # Step 1
        there = _runs_by_id(bootstrap)  # Step 2
        known = {event_id for event_id, run in there.items() if run != run_id} | (set(already) - there.keys())
        ours = [event for event in events_of(differences) if event.id not in known]
        new = [event for event in ours if event.id not in there]
        if producer is not None and new:
            _commit(producer, run_id, new)  # Step 3
    except (KafkaException, TopicUnusable) as error:
        broker.raise_refusal(error, bootstrap, RECONCILIATION_FINDINGS.name, TRANSACTIONAL_ID)
        raise NotEmitted(f"nothing was emitted on {RECONCILIATION_FINDINGS.name}: {error}; run it again") from error
    findings = sum(isinstance(event, FindingRaised) for event in ours)
    total = sum(1 for _ in events_of(differences))
    outcome = Emitted(findings, len(ours) - findings, total - len(ours))
    log.info("%s: %s; by this attempt: %d", "dry run, would emit" if dry_run else "emitted", outcome, len(new))
    return outcome


def emit_missing(bootstrap: Brokers, transactional_id: str, run_id: str, wanted: Sequence[Event]) -> int:
    """Put those events on the topic that it does not hold, in the same three steps, and return how many these were.

    Args:
        bootstrap: the broker.
        transactional_id: of the writer: whoever else writes these types under it is fenced off.
        run_id: of the run that wants them.
        wanted: the events; ids that the topic holds are left out.

    Raises:
        NotEmitted: the broker refused, was not there in time, or another run took over.
    """
    try:
        producer = _take_over(bootstrap, transactional_id)  # Step 1
        there = _runs_by_id(bootstrap)  # Step 2
        new = [event for event in wanted if event.id not in there]
        if new:
            _commit(producer, run_id, new)  # Step 3
    except (KafkaException, TopicUnusable) as error:
        broker.raise_refusal(error, bootstrap, RECONCILIATION_FINDINGS.name, transactional_id)
        raise NotEmitted(f"nothing was emitted on {RECONCILIATION_FINDINGS.name}: {error}; run it again") from error
    return len(new)


def _take_over(bootstrap: Brokers, transactional_id: str = TRANSACTIONAL_ID) -> Producer:
    producer = Producer(
        client(bootstrap)
        | {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": int(TIMEOUT_S * 1000),
            "partitioner": "murmur2_random",
            "linger.ms": 20,
            "compression.type": "lz4",
        }
    )
    producer.init_transactions(TIMEOUT_S)
    return producer


def _commit(producer: Producer, run_id: str, new: Sequence[Event]) -> None:
    producer.begin_transaction()
    for event in new:
        value = events.encode(event)
        while True:
            try:
                producer.produce(
                    RECONCILIATION_FINDINGS.name, key=event.subject.encode(), value=value, headers={RUN: run_id}
                )
                break
            except BufferError:  # the local queue is full: let deliveries make room
                producer.poll(0.5)
    producer.commit_transaction(TIMEOUT_S)


def _runs_by_id(bootstrap: Brokers) -> dict[str, str]:
    """Return the ids of all committed events on the topic, up to its present end, with the run that emitted each."""
    _, partitions = broker.identity(bootstrap, RECONCILIATION_FINDINGS)
    with broker.reader(bootstrap) as consumer:
        bounds = broker.bounds(consumer, RECONCILIATION_FINDINGS, partitions)
        name = RECONCILIATION_FINDINGS.name
        consumer.assign([TopicPartition(name, partition, bound.start) for partition, bound in bounds.items()])
        return _drain(consumer, {partition for partition, bound in bounds.items() if bound.end > bound.start})


def _drain(consumer: Consumer, reading: set[int]) -> dict[str, str]:
    """Read until each partition has reported its end: the last stable offset, past all transaction markers."""
    runs: dict[str, str] = {}
    while reading:
        messages = consumer.consume(10_000, TIMEOUT_S)
        if not messages:
            name = RECONCILIATION_FINDINGS.name
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"no answer from {name} for {TIMEOUT_S:.0f} s"))
        for message in messages:
            error = message.error()
            if error is None:
                for event_id in _id(message.value()):
                    runs.setdefault(event_id, dict(message.headers() or ()).get(RUN, b"").decode(errors="replace"))
            elif error.code() == KafkaError._PARTITION_EOF:
                reading.discard(message.partition())
            else:
                raise KafkaException(error)
    return runs


def _id(value: bytes | None) -> Iterator[str]:
    """Yield the id of an event; a record that is none has no id, and is somebody else's concern."""
    try:
        yield _id_decoder.decode(value or b"").id
    except msgspec.DecodeError:
        log.warning("a record on %s is no event of ours; passed over", RECONCILIATION_FINDINGS.name)
