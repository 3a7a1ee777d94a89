"""How long after a kill all partitions are worked on again, seen from outside: by the group's committed offsets."""

import threading
import time
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from order_fraud.topics import CUSTOMER_EVENTS

ASK_EVERY_S = 0.2
TIMEOUT_S = 2.0


@dataclass
class _Watch:
    kind: str
    since: float
    first: dict[int, int] = field(default_factory=dict)
    moved: set[int] = field(default_factory=set)


class Takeovers:
    """Asks for the committed offsets of the topic that always has something to commit, in a thread of its own.

    Not with the admin client: when the broker falls while it asks, librdkafka 2.15 now and then ends the whole process
    (assertion in ``rd_kafka_enq_once_del_source_return``).

    Attributes:
        seconds: by kind of fault, from each kill until every partition had moved on. Kills during which the broker
            fell as well are left out; other workers' faults are not.
    """

    def __init__(self, bootstrap: str, group: str) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._watches: list[_Watch] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._settings: dict[str, Any] = {"bootstrap.servers": bootstrap, "group.id": group, "log_level": 0}
        self._thread = threading.Thread(target=self._ask, name="takeovers", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2 * TIMEOUT_S)

    def killed(self, kind: str) -> None:
        """A worker has just been killed."""
        with self._lock:
            self._watches.append(_Watch(kind, time.monotonic()))

    def spoilt(self) -> None:
        """The broker falls: what is being watched says nothing about workers any more."""
        with self._lock:
            self._watches.clear()

    def _ask(self) -> None:
        wanted = [TopicPartition(CUSTOMER_EVENTS.name, partition) for partition in range(CUSTOMER_EVENTS.partitions)]
        consumer = Consumer(self._settings)  # never joins the group
        while not self._stop.wait(ASK_EVERY_S):
            asked = time.monotonic()
            try:
                self.take(asked, {place.partition: place.offset for place in consumer.committed(wanted, TIMEOUT_S)})
            except KafkaException:  # no broker, or it does not know the group yet: the next answer will do
                continue
        consumer.close()

    def take(self, asked: float, offsets: dict[int, int]) -> None:
        """Take an answer to a question of that moment: committed offset by partition."""
        with self._lock:
            for watch in self._watches:
                if asked < watch.since:
                    continue
                for partition, offset in offsets.items():
                    # The first answer may still hold a commit from before the kill: progress is what comes after it.
                    if offset > watch.first.setdefault(partition, offset):
                        watch.moved.add(partition)
                if watch.moved >= offsets.keys():
                    self.seconds.setdefault(watch.kind, []).append(round(time.monotonic() - watch.since, 2))
            self._watches = [watch for watch in self._watches if not watch.moved >= offsets.keys()]

    def summary(self) -> dict[str, dict[str, float]]:
        """Median, longest and number by kind of fault."""
        return {
            kind: {"median": median(values), "max": max(values), "measured": len(values)}
            for kind, values in sorted(self.seconds.items())
        }
