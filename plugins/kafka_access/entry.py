"""Asked before the work begins: does Kafka let us in, and may we do what we are about to do?

librdkafka itself knocks at a closed door for ever, and says so in its log only.
"""

import time
from collections.abc import Collection, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient  # type: ignore[attr-defined]

from kafka_access.configuration import access_to, client
from kafka_access.refusals import Refused, not_let_in, refusal, without_right
from kafka_access.settings import Brokers
from kafka_access.tokens import NoToken, token

TIMEOUT_S = 10.0
_ASK_S = 0.3


class NoAnswer(KafkaException):
    """No broker answers; the message says where, and what librdkafka last had to say."""

    def __init__(self, brokers: Brokers, said: str) -> None:
        super().__init__(KafkaError(KafkaError._TRANSPORT, f"no answer from Kafka at {brokers}: {said}"))


def enter(
    brokers: Brokers, needed: Mapping[str, Collection[str]] | None = None, timeout_s: float = TIMEOUT_S
) -> AdminClient:
    """Return a client that has been let in, and that may do what is needed.

    Args:
        brokers: where to knock.
        needed: operations (``read``, ``write``, ``describe_configs``) by topic. A topic that is missing is not looked
            at: to say so is for those who know what makes it.
        timeout_s: how long to wait for brokers that do not answer.

    Raises:
        Refused: wrong user or password, no token, or a right is missing; the message names it.
        NoAnswer: no broker answers in time.
    """
    access = access_to(brokers)
    if access.security == "iam":  # confluent-kafka's own word for it would not say why
        try:
            token(access)
        except NoToken as error:
            raise Refused(str(error)) from error
    heard: list[KafkaError] = []
    settings = client(access) | {"log_level": 0, "error_cb": heard.append, "socket.timeout.ms": int(timeout_s * 1000)}
    admin = AdminClient(settings)
    _wait_until_in(admin, brokers, heard, timeout_s)
    if needed:
        _see_rights(admin, brokers, needed, timeout_s)
    return admin


def _wait_until_in(admin: AdminClient, brokers: Brokers, heard: list[KafkaError], timeout_s: float) -> None:
    until = time.monotonic() + timeout_s
    while True:
        try:
            admin.list_topics(timeout=min(_ASK_S, timeout_s))
        except KafkaException as error:
            admin.poll(0)  # what it heard meanwhile
            for each in (*heard, error.args[0]):
                if each.code() in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED):
                    raise not_let_in(brokers, each.str()) from error
            if time.monotonic() > until:
                raise NoAnswer(brokers, _telling(heard, error.args[0]).str()) from error
        else:
            return


def _telling(heard: list[KafkaError], last: KafkaError) -> KafkaError:
    """Return the error that says most: that all brokers are down is what the others come to."""
    causes = [each for each in heard if each.code() != KafkaError._ALL_BROKERS_DOWN]
    return causes[-1] if causes else last


def _see_rights(admin: AdminClient, brokers: Brokers, needed: Mapping[str, Collection[str]], timeout_s: float) -> None:
    asked: Any = admin.describe_topics(
        TopicCollection(sorted(needed)), include_authorized_operations=True, request_timeout=timeout_s
    )
    for topic, answer in asked.items():
        try:
            allowed = answer.result().authorized_operations
        except KafkaException as error:
            if refused := refusal(error.args[0], brokers, topic):
                raise refused from error
            if error.args[0].code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
                continue
            raise
        for operation in sorted(needed[topic]):
            # Brokers that say nothing of rights are believed to have no objection; they can still refuse.
            if allowed is not None and AclOperation[operation.upper()] not in allowed:
                raise without_right(brokers, operation, topic)
