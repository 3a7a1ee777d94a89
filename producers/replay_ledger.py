"""Sends records again, each at most once: what was sent stands on a topic of its own, written in the same transaction.

1. ``init_transactions`` ends what another replay has under way, and from then on refuses its transactions.
2. The topic of replays is read to its end: what stands there has been sent, all else has not.
3. Records and their entries go out in transactions; one that is interrupted, by kill -9 too, leaves nothing.
"""

import contextlib
import logging
import time
from datetime import UTC, datetime
from typing import Self

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer

from kafka_access import Brokers, client, refusal
from order_fraud.rights import TRANSACTIONAL_IDS
from order_fraud.topics import REPLAY, REPLAYS
from producers.outbox import ANSWER_SECONDS, BrokerUnusable
from producers.replay_source import Found, Reading, Selection

TRANSACTION_S = 1.0
TRANSACTION_RECORDS = 5_000
SERVICE_SECONDS = 30.0
LONGEST_BYTES = 100_000_000
"""The client's own limit; what counts is the topic's."""

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())
_log.propagate = False  # librdkafka's own lines repeat what we say once, and clearer


class NotSent(Exception):
    """A transaction failed; what was committed before has been sent, nothing else. The message says why."""


def entry(found: Found) -> str:
    """Return the key under which it stands that a record was sent again."""
    return f"{found.place} to {found.target}"


def sent_before(bootstrap: Brokers) -> set[str]:
    """Return the entries of everything that was ever sent again.

    Raises:
        NothingThere: the topic is missing.
        KafkaException: the broker cannot be reached or refuses.
    """
    reading = Reading(bootstrap, Selection(topic=REPLAYS.name, to_topic=""))
    return {(found.key or b"").decode(errors="replace") for found in reading.records()}


class Ledger:
    """A transactional producer and what was sent before.

    Attributes:
        topics: that the broker has, with their numbers of partitions.
        sent: records sent, all of them committed once :meth:`close` is through.
    """

    def __init__(self, bootstrap: Brokers) -> None:
        """Connect, and take over from any other replay.

        Raises:
            BrokerUnusable: no broker answers, or it has no topic of replays.
            Refused: Kafka does not let us use our transactional id.
            KafkaException: the broker refuses.
        """
        self.sent = 0
        self._open_since: float | None = None
        self._in_transaction = 0
        self._failed: list[str] = []
        self._producer = Producer(
            client(bootstrap)
            | {
                "client.id": "replay",
                "transactional.id": TRANSACTIONAL_IDS[REPLAY],
                "partitioner": "murmur2_random",
                "message.max.bytes": LONGEST_BYTES,
                "compression.type": "lz4",
                "linger.ms": 5,
            },
            logger=_log,
        )
        self._bootstrap = bootstrap
        self.topics = topics_of(self._producer, bootstrap)
        try:
            self._producer.init_transactions(SERVICE_SECONDS)
        except KafkaException as error:
            raise refusal(error.args[0], bootstrap, transactional_id=TRANSACTIONAL_IDS[REPLAY]) or error from error
        self.sent_before = sent_before(bootstrap)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open_since is not None:  # left by an exception: nothing of the open transaction counts
            with contextlib.suppress(KafkaException):
                self._producer.abort_transaction(SERVICE_SECONDS)

    def send(self, found: Found, *, keep_time: bool) -> None:
        """Send one record with its entry; it counts once its transaction is committed.

        Raises:
            NotSent: the broker does not take it.
        """
        if self._open_since is None:
            self._producer.begin_transaction()
            self._open_since = time.monotonic()
        headers = [*found.headers, ("replayed-from", found.place.encode())]
        at = found.timestamp if keep_time else 0  # 0: now
        said = msgspec.json.encode({"at": datetime.now(UTC), "to": found.target})
        self._produce(found.place, found.target or "", found.value, found.key, headers, at)
        self._produce(found.place, REPLAYS.name, said, entry(found).encode(), [], 0)
        self.sent_before.add(entry(found))
        self._in_transaction += 1
        if self._in_transaction >= TRANSACTION_RECORDS:
            self.commit()
        else:
            self.pause(until=0)

    def _produce(
        self, place: str, topic: str, value: bytes | None, key: bytes | None, headers: list, timestamp: int
    ) -> None:
        while True:
            try:
                self._producer.produce(
                    topic,
                    value,
                    key,
                    headers=headers,
                    timestamp=timestamp,
                    on_delivery=lambda error, _: self._note(place, topic, error),
                )
            except BufferError:
                self._producer.poll(0.1)
                continue
            except KafkaException as error:
                raise NotSent(f"{place}: {error.args[0].str()}") from error
            return

    def _note(self, place: str, topic: str, error: KafkaError | None) -> None:
        if error is not None:
            self._failed.append(f"{place}: {refusal(error, self._bootstrap, topic) or error.str()}")

    def pause(self, until: float) -> None:
        """Wait until the monotonic clock shows ``until``; an open transaction does not wait with us for long.

        Raises:
            NotSent: as :meth:`commit`.
        """
        while True:
            if self._open_since is not None and time.monotonic() - self._open_since > TRANSACTION_S:
                self.commit()
            left = until - time.monotonic()
            if left <= 0:
                return
            self._producer.poll(min(left, 0.2))

    def commit(self) -> None:
        """Make what was sent a fact.

        Raises:
            NotSent: it did not come about; nothing of the open transaction was sent.
        """
        if self._open_since is None:
            return
        try:
            self._producer.commit_transaction(SERVICE_SECONDS)
        except KafkaException as error:
            raise NotSent("; ".join(self._failed[:3]) or error.args[0].str()) from error
        self.sent += self._in_transaction
        self._open_since, self._in_transaction = None, 0


def topics_of(producer: Producer, bootstrap: Brokers) -> dict[str, int]:
    """Return the broker's topics with their numbers of partitions.

    Raises:
        BrokerUnusable: no broker answers, or it has no topic of replays.
    """
    try:
        known = producer.list_topics(timeout=ANSWER_SECONDS).topics
    except KafkaException as error:
        raise BrokerUnusable(
            f"no Kafka broker answers at {bootstrap} ({error.args[0].str()}): "
            "start the stack with `make up`, or name another with --bootstrap or COUNTERSIGN_KAFKA"
        ) from error
    if REPLAYS.name not in known:
        raise BrokerUnusable(
            f"the broker at {bootstrap} has no topic {REPLAYS.name}, which keeps records from being sent again twice: "
            "`make up` or `python -m streams.admin create` makes it"
        )
    return {name: len(topic.partitions) for name, topic in known.items()}
