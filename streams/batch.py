"""What an agent gets from the batch transport: all records of one partition of one poll, and where its outputs go."""

from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol, cast

from confluent_kafka import Message

MAX_REASON = 1_000


class Changelogged(Protocol):
    """State of one partition whose changes belong into the batch's transaction."""

    changelog: str
    partition: int

    def changes(self) -> list[dict[str, Any]]:
        """Return the records that the changelog must get: the last value of every key changed since the last commit."""

    def commit(self) -> None:
        """Keep the changes: the transaction is through."""

    def rollback(self) -> None:
        """Forget the changes: the transaction was aborted."""


class Batch:
    """Records of one topic partition, in offset order, all processed in one Kafka transaction.

    Everything sent through the batch, the changes of its state and its input offsets are committed together or not at
    all.

    Attributes:
        topic: that the records came from.
        partition: of that topic.
        records: as librdkafka gave them (``value()``, ``key()``, ``offset()``).
        on_finished: told once the agent came through; a batch whose agent failed is never committed.
    """

    __slots__ = ("dead_letters", "on_finished", "outputs", "partition", "records", "state", "topic")

    def __init__(self, topic: str, partition: int, records: list[Message]) -> None:
        self.topic = topic
        self.partition = partition
        self.records = records
        self.outputs: dict[str, list[dict[str, Any]]] = {}
        self.dead_letters: list[tuple[Message, str]] = []
        self.state: Changelogged | None = None
        self.on_finished: Callable[[Batch], None] = lambda batch: None

    @property
    def first_offset(self) -> int:
        """Offset to go back to if the transaction is aborted."""
        return cast(int, self.records[0].offset())

    @property
    def next_offset(self) -> int:
        """Offset to go on from once the transaction is through."""
        return cast(int, self.records[-1].offset()) + 1

    def send(self, topic: str, key: str, value: bytes) -> None:
        """Add an output record; its partition follows from the key."""
        record = {"key": key.encode(), "value": value}
        outputs = self.outputs.get(topic)
        if outputs is None:
            self.outputs[topic] = [record]
        else:
            outputs.append(record)

    def refuse(self, record: Message, reason: str) -> None:
        """Send a record to ``dead-letters`` as it came, with the reason and its origin in the headers."""
        self.dead_letters.append((record, reason[:MAX_REASON]))


async def batches(stream: Any) -> AsyncIterator[Batch]:
    """Yield the batches of a Faust stream, and report each as finished once the loop is back for more.

    Faust acknowledges an event even if the agent raised while it had it in hand (faust-streaming/faust#315), so its
    acknowledgements are not used. To be dropped when an exception leaves the event unacknowledged.
    """
    async for batch in stream:
        yield batch
        batch.on_finished(batch)
