"""Publishes scorecards and says which of them judge: the one way to write to ``fraud.policies``.

A writer takes over a lasting transactional id, reads all that was published, checks against it, and writes in one
transaction. Taking over fences every other writer, so that two who publish the same version at once cannot both
succeed, and a task that died half-way has written nothing. Doing the same again changes nothing.
"""

import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import NamedTuple

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from kafka_access import Brokers, client
from lake.errors import Hopeless
from lake.landing import broker
from lake.landing.broker import Bounds, TopicUnusable
from lake.masking import Masker
from order_fraud import policies
from order_fraud.codes import clashes
from order_fraud.events import MAX_POLICY_BYTES, Activation, PolicyPublished, encode
from order_fraud.policies import Policies, PolicyEvent, Refused
from order_fraud.policy import check
from order_fraud.rights import TRANSACTIONAL_IDS
from order_fraud.scorecard import Scorecard
from order_fraud.topics import FRAUD_POLICIES, POLICY
from scorecards import PANEL

log = logging.getLogger(__name__)

TRANSACTIONAL_ID = TRANSACTIONAL_IDS[POLICY]
TIMEOUT_S = 30.0
_NO_LEADER = (KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.REPLICA_NOT_AVAILABLE)
# What comes in place of a record never bears the mark "retriable", whatever it is.
_PASSING = (
    *_NO_LEADER,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._AUTHENTICATION,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.UNKNOWN_LEADER_EPOCH,
)
CHUNK_S = 0.1
_ANY_MASK = Masker("whatever the key, tokens are of one length")


Choice = Callable[[Policies], Activation | None]
"""Says from all that is published who is to judge; None if that is so already."""


class Written(NamedTuple):
    """What writing has changed.

    Attributes:
        before: what held when it was read, after everybody else had been fenced off.
        after: what holds now; the very same object if nothing was written.
    """

    before: Policies
    after: Policies

    @property
    def new(self) -> bool:
        """Whether anything was written."""
        return self.after is not self.before


class PolicyRefused(Hopeless):
    """The scorecard or activation is not to be published as it is; the message says why, one line per error."""


class NotPublished(RuntimeError):
    """Kafka did not confirm it; the message says what it said. Trying again is safe, whether it was written or not."""


def read(bootstrap: Brokers) -> Policies:
    """Return all that was published on ``fraud.policies``, and who judges by it; unusable records are logged.

    Raises:
        NotPublished: the topic cannot be read; the message names the remedy.
    """
    try:
        return _read(bootstrap)
    except (KafkaException, TopicUnusable) as error:
        broker.raise_refusal(error, bootstrap, FRAUD_POLICIES.name)
        raise NotPublished(f"{FRAUD_POLICIES.name} cannot be read at {bootstrap}: {_words(error)}") from error


def publish(bootstrap: Brokers, scorecard: Scorecard, at: datetime) -> bool:
    """Publish a version; it judges nothing until it is activated or put on trial.

    Args:
        bootstrap: the broker.
        scorecard: the version.
        at: when it is published, UTC: now, or the same in every attempt of a task.

    Returns:
        Whether it is new; False if the very same was published before.

    Raises:
        BadScorecard: see :func:`order_fraud.policy.check`.
        PolicyRefused: the version exists with other content, is too long for its topic, or has a code that means
            something else in another version.
        NotPublished: Kafka did not confirm it.
    """
    check(scorecard)
    return _write(bootstrap, lambda known: _new(known, policies.publication(scorecard, at))).new


def activate(bootstrap: Brokers, choose: Choice, at: datetime) -> Written:
    """Let a published version judge, with others on trial beside it. A bundled one is published first if need be.

    Args:
        bootstrap: the broker.
        choose: asked once, while nobody else can write: what it sees holds until its answer is written, or nothing is
            written. What it raises is raised.
        at: when, UTC. The last activation once more, its time included, changes nothing.

    Raises:
        PolicyRefused: a version that it names was never published, or is named twice.
        NotPublished: Kafka did not confirm it, or somebody else has written meanwhile.
    """

    def wanted(known: Policies) -> Iterator[PolicyEvent]:
        chosen = choose(known)
        if chosen is None:
            return
        bundled = PANEL.active.scorecard
        if bundled.version in (chosen.active, *chosen.shadows):
            yield from _new(known, policies.publication(bundled, at))
        yield from _new(known, policies.activation(chosen, at))

    return _write(bootstrap, wanted)


def _new(known: Policies, event: PolicyEvent) -> Iterator[PolicyEvent]:
    """Yield an event that every reader will take, if it changes anything.

    Raises:
        PolicyRefused: readers would refuse it, or misread its reasons.
    """
    refuse_too_long(event)
    try:
        changes = known.apply(policies.receive(*policies.record(event))) != known
    except Refused as error:
        raise PolicyRefused(str(error)) from error
    if not changes:
        return
    # Asked of who publishes, and not of who reads: two releases, each with a bundled scorecard of its own, must not
    # disagree about what was published.
    if isinstance(event, PolicyPublished) and (wrong := list(clashes(event.data, known.scorecards.values()))):
        raise PolicyRefused("\n".join(wrong))
    yield event


def refuse_too_long(event: PolicyEvent) -> None:
    """Refuse what either half could not read: the record as it is written, or as it lands, with its ips masked.

    Raises:
        PolicyRefused: the longer of the two exceeds ``MAX_POLICY_BYTES``.
    """
    written = landed = len(encode(event))
    if isinstance(event, PolicyPublished):
        landed = len(encode(msgspec.structs.replace(event, data=_ANY_MASK.scorecard(event.data))))
    if max(written, landed) > MAX_POLICY_BYTES:
        masked = f", and {landed} once each ip on its lists is masked for the lake" if landed != written else ""
        raise PolicyRefused(
            f"version {event.subject!r} is {written} bytes as a record{masked}; more than {MAX_POLICY_BYTES} cannot be "
            "read: leave out list entries that have ended, or shorten their reasons"
        )


def _write(bootstrap: Brokers, wanted: Callable[[Policies], Iterator[PolicyEvent]]) -> Written:
    try:
        producer = Producer(
            client(bootstrap)
            | {
                "transactional.id": TRANSACTIONAL_ID,
                "transaction.timeout.ms": int(TIMEOUT_S * 1000),
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": 0,
                "log_level": 0,  # what matters is raised
            }
        )
        producer.init_transactions(TIMEOUT_S)
        before = _read(bootstrap)
        new = list(wanted(before))
        if new:
            _wait_until_read(bootstrap, _commit(producer, new))
    except (KafkaException, TopicUnusable) as error:
        broker.raise_refusal(error, bootstrap, FRAUD_POLICIES.name, TRANSACTIONAL_ID)
        raise NotPublished(f"{FRAUD_POLICIES.name} at {bootstrap}: {_words(error)}; run it again") from error
    after = before
    for event in new:
        log.info("%s: %s", FRAUD_POLICIES.name, event.id)
        after = after.apply(event)
    return Written(before, after)


def _commit(producer: Producer, new: list[PolicyEvent]) -> int:
    """Write events in one transaction; return the offset of the last."""
    offsets: list[int] = []
    producer.begin_transaction()
    for event in new:
        key, value = policies.record(event)
        producer.produce(
            FRAUD_POLICIES.name, value, key, on_delivery=lambda error, message: offsets.append(message.offset())
        )
    producer.flush(TIMEOUT_S)
    producer.commit_transaction(TIMEOUT_S)
    return max(offsets)


def _wait_until_read(bootstrap: Brokers, offset: int) -> None:
    """Wait until whoever reads now finds a record: the broker confirms a commit a moment before it marks its end.

    Raises:
        KafkaException: it cannot be read after a while.
    """
    until = time.monotonic() + TIMEOUT_S
    with broker.reader(bootstrap) as consumer:
        while _bound(consumer).end <= offset:
            if time.monotonic() > until:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "committed, but it cannot be read yet"))
            time.sleep(0.01)


def _read(bootstrap: Brokers) -> Policies:
    known = policies.initial(PANEL)
    for message in _messages(bootstrap):
        try:
            known = known.apply(policies.receive(message.key(), message.value()))
        except Refused as error:
            log.warning("%s, offset %d is passed over: %s", FRAUD_POLICIES.name, message.offset(), error)
    return known


def _messages(bootstrap: Brokers) -> Iterator[Message]:
    """Yield every committed record, up to the end that the topic has now: its last stable offset."""
    with broker.reader(bootstrap) as consumer:
        bound = _bound(consumer)
        if bound.end > bound.start:
            consumer.assign([TopicPartition(FRAUD_POLICIES.name, 0, bound.start)])
            yield from _to_the_end(consumer)


def _bound(consumer: Consumer) -> Bounds:
    """Ask how far the topic reaches, for a while: one that was just made, or whose broker was, is without leader.

    Raises:
        TopicUnusable: there is no such topic. (Asked here, before anything is written: writing might make it.)
        KafkaException: no answer.
    """
    name = FRAUD_POLICIES.name
    found = consumer.list_topics(name, TIMEOUT_S).topics[name]
    if found.error is not None and found.error.code() not in _NO_LEADER:
        raise TopicUnusable(f"{found.error.str()}: were the topics made (python -m streams.admin create)?")
    until = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return broker.bounds(consumer, FRAUD_POLICIES, FRAUD_POLICIES.partitions)[0]
        except KafkaException as error:
            if error.args[0].code() not in _NO_LEADER or time.monotonic() > until:
                raise
            time.sleep(0.2)


def _to_the_end(consumer: Consumer) -> Iterator[Message]:
    heard = time.monotonic()
    while True:
        messages = consumer.consume(1_000, CHUNK_S)  # it waits for all of them, or for all of the time
        for message in messages:
            error = message.error()
            if error is None:
                heard = time.monotonic()
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                return
            elif error.code() not in _PASSING:
                raise KafkaException(error)
        if time.monotonic() - heard > TIMEOUT_S:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"nothing came for {TIMEOUT_S:.0f} s"))


def _words(error: Exception) -> str:
    reason = error.args[0]
    return reason.str() if isinstance(reason, KafkaError) else str(reason)
