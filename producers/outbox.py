"""The one way by which producers send: idempotent, every delivery report counted, a full queue waited out."""

import argparse
import logging
import os
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from kafka_access import Access, BadAccess, Brokers, NoAnswer, Refused, access, client, enter, refusal
from order_fraud import events
from order_fraud.events import Event
from order_fraud.topics import Topic

NOT_LET_IN = 6
"""Exit code of all producers whom Kafka refuses: user, password or rights."""

ANSWER_SECONDS = 5.0
"""How long a broker may take to answer the first question."""

DELIVERY_SECONDS = 60
"""A record that is not acknowledged by then counts as failed."""

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())
_log.propagate = False  # librdkafka's own lines repeat what we say once, and clearer


class BrokerUnusable(Exception):
    """No broker answers, or the topic is not there as declared; the message names address, topic and remedy."""


def bootstrap_from_environment() -> str:
    """The broker's address from ``COUNTERSIGN_KAFKA``, or the local stack's."""
    return os.environ.get("COUNTERSIGN_KAFKA") or Access().brokers


def brokers(text: str) -> Access:
    """An argument that is the brokers' address; what lets us in comes from the environment.

    Raises:
        argparse.ArgumentTypeError: those variables are wrong; the message names the one, and the remedy.
    """
    try:
        return replace(access(os.environ), brokers=text)
    except BadAccess as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def let_in(bootstrap: Brokers, needed: Mapping[str, Collection[str]]) -> AdminClient:
    """Return a client that has been let in and may do what is needed, see :func:`kafka_access.enter`.

    Raises:
        BrokerUnusable: no broker answers.
        Refused: user, password or rights.
    """
    try:
        return enter(bootstrap, needed, ANSWER_SECONDS)
    except NoAnswer as error:
        raise BrokerUnusable(
            f"no Kafka broker answers at {bootstrap} ({error.args[0].str()}): "
            "start the stack with `make up`, or name another with --bootstrap or COUNTERSIGN_KAFKA"
        ) from error


class Outbox:
    """Sends events to one topic and keeps count.

    Attributes:
        sent: records handed to the client; once closed, ``sent == acknowledged.total() + failed``.
        acknowledged: records that the broker has confirmed, by event type.
        failures: what went wrong, and how often.
    """

    def __init__(self, topic: Topic, bootstrap: Brokers, client_id: str) -> None:
        """Connect and check the topic.

        Raises:
            BrokerUnusable: no broker answers, or the topic is missing or has another number of partitions.
            Refused: Kafka does not let us in, or not write to the topic.
        """
        self.sent = 0
        self.acknowledged: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self._topic, self._bootstrap = topic.name, bootstrap
        self._refused: Refused | None = None
        _check(topic, bootstrap)
        self._producer = Producer(
            client(bootstrap)
            | {
                "error_cb": self._hear,
                "client.id": client_id,
                # librdkafka's own default is crc32; the stream side hashes as the Java client does.
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "message.timeout.ms": DELIVERY_SECONDS * 1000,
                "compression.type": "lz4",
            },
            logger=_log,
        )

    @property
    def failed(self) -> int:
        """Records that were not delivered."""
        return self.failures.total()

    def send(self, key: str, event: Event, stamp: int | None = None) -> None:
        """Queue one event; waits while the queue is full. ``stamp``: the record's time, ms since 1970, else now."""
        value = events.encode(event)
        report = partial(self._report, type(event).__name__)
        self.sent += 1
        while True:
            try:
                self._producer.produce(self._topic, value, key, on_delivery=report, timestamp=stamp or 0)
            except BufferError:
                self._producer.poll(0.1)
                continue
            except KafkaException as error:  # a fatal state of the idempotent producer: nothing more can be sent
                self.failures[error.args[0].str()] += 1
            break
        self._producer.poll(0)

    def wait(self, until: float) -> None:
        """Serve delivery reports until the monotonic clock shows ``until``."""
        while (left := until - time.monotonic()) > 0:
            self._producer.poll(left)

    def close(self) -> None:
        """Wait until every record is acknowledged or has failed."""
        while self._producer.flush(1.0):
            pass

    def _report(self, event_type: str, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self.acknowledged[event_type] += 1
        else:
            why = refusal(error, self._bootstrap, self._topic)
            if error.code() == KafkaError._MSG_TIMED_OUT:
                why = self._refused  # if that is what it has waited for
            self.failures[str(why) if why else error.str()] += 1

    def _hear(self, error: KafkaError) -> None:
        self._refused = refusal(error, self._bootstrap) or self._refused


def _check(topic: Topic, bootstrap: Brokers) -> None:
    try:
        known = let_in(bootstrap, {topic.name: ("write",)}).list_topics(timeout=ANSWER_SECONDS).topics
    except KafkaException as error:
        raise BrokerUnusable(f"the broker at {bootstrap}: {error.args[0].str()}") from error
    if topic.name not in known:
        raise BrokerUnusable(
            f"the broker at {bootstrap} has no topic {topic.name}: `make up` creates the topics that are declared"
        )
    partitions = len(known[topic.name].partitions)
    if partitions != topic.partitions:
        raise BrokerUnusable(
            f"topic {topic.name} at {bootstrap} has {partitions} partitions, declared are {topic.partitions}: "
            "delete it and let `make up` create it anew"
        )
