"""The records of ``fraud.policies`` as they come, and the certainty that none stays away unnoticed.

librdkafka says nothing when a topic that it reads is deleted or made anew, and its fetches from one broker may hang
while all others answer (confluentinc/librdkafka#4836). The worker would judge by old scorecards for ever and call
itself well. So the broker is asked now and then where the topic ends, and what lies before that end has to come.
"""

import logging
import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from kafka_access import client, missing_right
from order_fraud.rights import POLICY_FEED_GROUP
from order_fraud.topics import FRAUD_POLICIES
from streams.passing import passes
from streams.settings import Settings

log = logging.getLogger(__name__)

PLACE = (FRAUD_POLICIES.name, 0)
POLL_S = 0.5
"""How long a poll waits for a record, so how long it takes at most to hear that the worker ends."""
ASK_S = 5.0
ANSWER_S = 5.0
LOST_S = 30.0
"""For so long, what is there may fail to come: brokers are restarted, and say odd things while they are."""
_GONE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)


class FeedLost(RuntimeError):
    """Changes would not be heard of any more; the message says why."""


class Feed:
    """Reads on from an offset. All methods block and must be called from one thread."""

    def __init__(self, settings: Settings, offset: int) -> None:
        self._brokers = settings.kafka
        self._reached = offset
        self._ask_at = time.monotonic() + ASK_S
        self._wrong_since: float | None = None
        self._consumer = Consumer(_config(settings))
        self._consumer.assign([TopicPartition(*PLACE, offset)])

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()

    def poll(self) -> Message | None:
        """Return the next record, or None after a moment without any.

        Raises:
            FeedLost: the topic is gone, was made anew, or has records that do not come.
            Refused: the topic may not be read.
            KafkaException: another error that does not pass by itself.
        """
        record = self._consumer.poll(POLL_S)
        if record is None:
            self._ask()
            return None
        error, offset = record.error(), record.offset() or 0
        if error is None:
            self._reached = offset + 1
            return record
        if error.code() == KafkaError._PARTITION_EOF:
            self._reached = max(self._reached, offset)  # the marks of transactions before it are given to nobody
        elif error.code() not in _GONE and not passes(error):
            raise missing_right(error, self._brokers, FRAUD_POLICIES.name, POLICY_FEED_GROUP) or KafkaException(error)
        return None

    def _ask(self) -> None:
        now = time.monotonic()
        if now < self._ask_at:
            return
        self._ask_at = now + ASK_S
        try:
            # That of the last stable record, as the consumer reads committed: an open transaction is not waited for.
            end = self._consumer.get_watermark_offsets(TopicPartition(*PLACE), timeout=ANSWER_S)[1]
        except KafkaException as error:
            if error.args[0].code() in _GONE:
                self._note(now, "it is not there: was it deleted?")
            else:  # no broker answers: nothing can be judged either, and /health says so
                self._wrong_since = None  # and nothing could come; it has its time anew when one answers
            return
        if end < self._reached:
            self._note(
                now, f"it ends at offset {end} but was read up to {self._reached}: was it deleted and made anew?"
            )
        elif end > self._reached:
            self._note(now, f"it ends at offset {end}, and nothing comes from {self._reached} on")
        else:
            self._wrong_since = None

    def _note(self, now: float, words: str) -> None:
        if self._wrong_since is None:
            self._wrong_since = now  # no word yet: a record may be on its way
            return
        log.warning("%s: %s", FRAUD_POLICIES.name, words)
        if now - self._wrong_since > LOST_S:
            raise FeedLost(f"{FRAUD_POLICIES.name}: {words}")


def _say_nothing(error: KafkaError) -> None:
    """The worker's other clients tell of an outage already."""


def _config(settings: Settings) -> dict[str, Any]:
    return client(settings.kafka) | {
        "client.id": f"{settings.instance}/policies",
        "group.id": POLICY_FEED_GROUP,  # required by librdkafka, never joined: the partition is assigned by hand
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",  # all over again does no harm: what is known already changes nothing
        "log_level": 0,
        "error_cb": _say_nothing,
    }
