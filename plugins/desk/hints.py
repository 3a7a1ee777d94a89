"""A burst on a topic as a hint to Airflow: the trigger that an asset's watcher runs in the triggerer.

It only hints. It reads from the topic's present end, keeps no offsets and counts in memory, so a restart may miss a
burst; and whoever is woken by it reads a window of its own, from a watermark of its own. What nobody hinted at is seen
by the run that time brings.
"""

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

log = logging.getLogger(__name__)

POLL_S = 1.0
AT_ONCE = 5_000
AGAIN_S = 10.0
"""A broker that cannot be reached is asked again after so long."""


class Burst:
    """Counts what comes in, and says when it was enough; then it is silent for a while, however much goes on coming."""

    def __init__(self, at_least: int, within_s: float, pause_s: float) -> None:
        """Say what a burst is.

        Args:
            at_least: so many within the time.
            within_s: the time, seconds.
            pause_s: seconds after a burst in which there is no other.
        """
        self._at_least, self._within_s, self._pause_s = at_least, within_s, pause_s
        self._came: deque[tuple[float, int]] = deque()
        self._silent_until = float("-inf")

    def add(self, count: int, now: float) -> int:
        """Count what has come in by ``now``, and return how many a burst has, 0 if there is none."""
        if count:
            self._came.append((now, count))
        while self._came and self._came[0][0] <= now - self._within_s:
            self._came.popleft()
        total = sum(number for _, number in self._came)
        if total < self._at_least or now < self._silent_until:
            return 0
        self._came.clear()
        self._silent_until = now + self._pause_s
        return total


class TopicBurst(BaseEventTrigger):
    """Fires when so many records of some kinds come in on a topic within a time."""

    def __init__(
        self, topic: str, words: Sequence[str], at_least: int = 1, within_s: float = 60.0, pause_s: float = 900.0
    ) -> None:
        """Say what to look for.

        Args:
            topic: its name.
            words: a record counts if it holds one of these, as its JSON has them: ``"type":"PossibleFraud"``.
            at_least, within_s, pause_s: see :class:`Burst`.
        """
        super().__init__()
        self.topic, self.words = topic, list(words)
        self.at_least, self.within_s, self.pause_s = at_least, within_s, pause_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer makes the trigger from."""
        names = ("topic", "words", "at_least", "within_s", "pause_s")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each burst, for as long as the triggerer lives."""
        burst = Burst(self.at_least, self.within_s, self.pause_s)
        wanted = [word.encode() for word in self.words]
        # A thread of its own: a consumer must not be closed while another thread reads, which a cancelled one does.
        thread, reader = ThreadPoolExecutor(1, "hints"), None
        call = partial(asyncio.get_running_loop().run_in_executor, thread)
        try:
            while (reader := await call(self._reader)) is None:
                await asyncio.sleep(AGAIN_S)
            while True:
                records = await call(reader.consume, AT_ONCE, POLL_S)
                values = [one.value() or b"" for one in records if one.error() is None]
                came = sum(any(word in value for word in wanted) for value in values)
                if many := burst.add(came, monotonic()):
                    log.info("%s: %d records in %.0f s", self.topic, many, self.within_s)
                    yield TriggerEvent({"topic": self.topic, "records": many, "within_s": self.within_s})
        finally:
            if reader is not None:
                thread.submit(reader.close)
            thread.shutdown(wait=False)

    def _reader(self) -> Any:
        """Return a consumer at the end of every partition of the topic, None if the broker cannot be reached."""
        from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

        from kafka_access import BadAccess, access, client
        from order_fraud.rights import READING_GROUPS
        from order_fraud.topics import HINTS

        try:
            # From the environment alone: a connection could only be asked for in the triggerer's own event loop.
            known = access(os.environ)
        except BadAccess as error:
            log.warning("no hints from %s, looked again in %.0f s: %s", self.topic, AGAIN_S, error)
            return None
        consumer = Consumer(
            {
                **client(known),
                "group.id": READING_GROUPS[HINTS],  # required by the client; nothing is committed under it
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )
        try:
            partitions = consumer.list_topics(self.topic, timeout=10).topics[self.topic].partitions
            consumer.assign([TopicPartition(self.topic, number, OFFSET_END) for number in partitions])
        except KafkaException as error:
            log.warning("%s cannot be read, asked again in %.0f s: %s", self.topic, AGAIN_S, error)
            consumer.close()
            return None
        if not partitions:
            log.warning("there is no topic %s, asked again in %.0f s", self.topic, AGAIN_S)
            consumer.close()
            return None
        return consumer
