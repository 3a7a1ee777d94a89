"""Agents that read records one by one, as Faust has them: on the same transport, in the same transactions.

A topic that was not declared by :meth:`streams.batch_app.BatchApp.batch_agent` gives an event per record, in offset
order, each only after the agent is done with the one before. What the agent sends meanwhile goes with the batch in
hand.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from confluent_kafka import Message as KafkaRecord
from faust.types import TP, ConsumerMessage, RecordMetadata

from streams.batch import NOW, Batch


class Single(ConsumerMessage):
    """A Faust message that says when the agents are done with it.

    Faust's compiled streams count acknowledgements in the message and never call the consumer, so the flag that they
    set is the one place to hear of the last.
    """

    def __init__(self, record: KafkaRecord, place: TP, generation: int, on_acked: Callable[[], None]) -> None:
        self._acked = False
        self._on_acked = on_acked
        kind, stamp = record.timestamp()
        super().__init__(
            place.topic,
            place.partition,
            cast(int, record.offset()),
            stamp / 1000,
            kind,
            cast(Any, record.headers() or []),
            record.key(),
            record.value(),
            None,
            None,
            None,
            place,
            generation_id=generation,
        )

    @property
    def acked(self) -> bool:
        """Whether all agents are done with it."""
        return self._acked

    @acked.setter
    def acked(self, value: bool) -> None:
        if value and not self._acked:
            self._acked = True
            self._on_acked()


def send(
    batch: Batch,
    topic: str,
    key: bytes | None,
    value: bytes | None,
    partition: int | None,
    timestamp: float | None,
    headers: Any,
) -> RecordMetadata:
    """Put what an ordinary agent sends into the batch in hand; where it will stand is not known yet."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    stamp = NOW if timestamp is None else int(timestamp * 1000)
    batch.sends.append((topic, value, key, -1 if partition is None else partition, stamp, dict(pairs)))
    place = TP(topic, -1 if partition is None else partition)
    return RecordMetadata(topic, place.partition, place, -1, timestamp, None)
