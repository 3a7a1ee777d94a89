"""What it means when Kafka refuses, in one line that names who was refused what, where, and the remedy."""

import time
from collections.abc import Callable

from confluent_kafka import KafkaError

from kafka_access.configuration import access_to
from kafka_access.settings import Brokers, variable

PATIENCE_S = 30.0
"""A client that is running is refused for so long before that is taken for an answer: passwords are changed, and a
broker that starts may not know them yet."""
QUIET_S = 20.0
"""So long without another refusal, and the client is in again: librdkafka knocks every ten seconds at the latest."""

_NOT_LET_IN = (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED)
_REMEDY = "python -m streams.acls --help says which rights each service needs, and gives them"


class Refused(RuntimeError):
    """Kafka does not let this client in, or not do what it wants; repeating it mends nothing."""


def refusal(
    error: KafkaError, brokers: Brokers, topic: str = "", group: str = "", transactional_id: str = "", action: str = ""
) -> Refused | None:
    """Return what an error of Kafka's means if it is a refusal, None if it is anything else.

    Args:
        error: of any kind.
        brokers: who said so.
        topic, group, transactional_id: what was used, as far as known: errors seldom name it.
        action: what was to be done, where the right is one on the cluster.
    """
    if error.code() in _NOT_LET_IN:
        return not_let_in(brokers, error.str())
    return missing_right(error, brokers, topic, group, transactional_id, action)


def missing_right(
    error: KafkaError, brokers: Brokers, topic: str = "", group: str = "", transactional_id: str = "", action: str = ""
) -> Refused | None:
    """Return what an error means if it is a right that is missing, as :func:`refusal` does.

    For those who were let in before: one that is running may find the door closed for a moment (:class:`Patience`).
    """
    used = {
        KafkaError.TOPIC_AUTHORIZATION_FAILED: ("topic", topic),
        KafkaError.GROUP_AUTHORIZATION_FAILED: ("consumer group", group),
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: ("transactional id", transactional_id),
    }
    if error.code() == KafkaError.CLUSTER_AUTHORIZATION_FAILED:
        return _may_not(brokers, action or f"do this ({error.str()})")
    if error.code() not in used:
        return None
    kind, name = used[error.code()]
    return _may_not(brokers, f"use {kind} {name} ({error.str()})" if name else f"use a {kind} ({error.str()})")


def without_right(brokers: Brokers, operation: str, topic: str) -> Refused:
    """Return the refusal of one operation on a topic."""
    return _may_not(brokers, f"{_WORDS.get(operation, operation)} topic {topic}")


_WORDS = {"write": "write to", "describe_configs": "look at the settings of"}


def _may_not(brokers: Brokers, what: str) -> Refused:
    access = access_to(brokers)
    return Refused(f"Kafka at {access} does not let {access.principal} {what}: {_REMEDY}")


def not_let_in(brokers: Brokers, said: str) -> Refused:
    """Return the refusal of a client whose identity the broker does not accept."""
    access = access_to(brokers)
    remedy = {
        "scram": f"check {variable('user')} and {variable('password')}",
        "iam": f"check the policy of that identity (kafka-cluster:Connect) and {variable('region')}",
    }.get(access.security, f"check {variable('security')}")
    return Refused(f"Kafka at {access} does not let {access.principal} in ({_short(said)}): {remedy}")


def _short(said: str) -> str:
    """Return what the broker said, without librdkafka's account of the connection around it."""
    return said.rsplit("SASL authentication error: ", 1)[-1].split(" (after ")[0]


class Patience:
    """Tells a client that is refused for good from one that is refused for a moment. Give it every error."""

    def __init__(self, brokers: Brokers, clock: Callable[[], float] = time.monotonic) -> None:
        self._brokers = brokers
        self._clock = clock
        self._first = self._last = 0.0

    def hear(self, error: KafkaError) -> Refused | None:
        """Take note of an error; return the refusal that has lasted for too long, if it is one."""
        if error.code() not in _NOT_LET_IN:
            return None
        now = self._clock()
        if not self._first or now - self._last > QUIET_S:
            self._first = now
        self._last = now
        return not_let_in(self._brokers, error.str()) if now - self._first >= PATIENCE_S else None
