"""What an agent gets from the batch transport: all records of one partition of one poll, and where its outputs go."""

from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol, cast

from confluent_kafka import Message

MAX_REASON = 1_000

NOW = 0
"""Time stamp of a record to be sent that gets the present one."""

Output = tuple[bytes, bytes, int]
"""Value, key and time stamp (ms) of a record to be sent."""

Send = tuple[str, bytes | None, bytes | None, int, int, dict[str, str | bytes | None]]
"""Topic, value, key, partition (-1: by the key), time stamp (ms, 0: now) and headers of a record to be sent."""


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

    Everything sent through the batch, the changes of the state that it keeps and its input offsets are committed
    together or not at all.

    Attributes:
        topic: that the records came from.
        partition: of that topic.
        records: as librdkafka gave them (``value()``, ``key()``, ``offset()``); none if the batch was made to send
            something that no record has caused.
        next_offset: offset to go on from once the transaction is through.
        outputs: what was sent, by topic.
        sends: what agents that read record by record sent: topic, value, key, partition, time stamp, headers.
        dead_letters: records refused, each with the service and the reason.
        states: what changes with the batch.
        readers: agents that read the topic; the batch is finished when all of them came through.
        on_finished: told when it is; a batch of which an agent failed is never committed.
    """

    __slots__ = (
        "dead_letters",
        "next_offset",
        "on_finished",
        "outputs",
        "partition",
        "readers",
        "records",
        "sends",
        "states",
        "topic",
    )

    def __init__(
        self, topic: str, partition: int, records: list[Message], next_offset: int | None = None, readers: int = 1
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.records = records
        self.next_offset = cast(int, records[-1].offset()) + 1 if next_offset is None else next_offset
        self.outputs: dict[str, list[Output]] = {}
        self.sends: list[Send] = []
        self.dead_letters: list[tuple[Message, str, str]] = []
        self.states: list[Changelogged] = []
        self.readers = readers
        self.on_finished: Callable[[Batch], None] = lambda batch: None

    @property
    def first_offset(self) -> int:
        """Offset to go back to if the transaction is aborted."""
        return cast(int, self.records[0].offset()) if self.records else self.next_offset

    def send(self, topic: str, key: str, value: bytes, timestamp: int) -> None:
        """Add an output record; its partition follows from the key.

        ``timestamp`` is that of the record which it answers, ms: so a verdict tells when its order came in, and how
        long it took. (Faust's own ``forward`` drops it, faust-streaming/faust#427.)
        """
        outputs = self.outputs.get(topic)
        if outputs is None:
            self.outputs[topic] = [(value, key.encode(), timestamp)]
        else:
            outputs.append((value, key.encode(), timestamp))

    def keep(self, state: Changelogged) -> None:
        """Let a table's changes be committed with the batch."""
        if state not in self.states:
            self.states.append(state)

    def refuse(self, record: Message, reason: str, service: str) -> None:
        """Send a record to ``dead-letters`` as it came; reason, service and its origin stand in the headers."""
        self.dead_letters.append((record, reason[:MAX_REASON], service))

    def came_through(self) -> None:
        """Hear that one of the agents is done with the batch."""
        self.readers -= 1
        if self.readers == 0:
            self.on_finished(self)


async def batches(stream: Any) -> AsyncIterator[Batch]:
    """Yield the batches of a Faust stream, and report each as finished once the loop is back for more.

    Faust acknowledges an event even if the agent raised while it had it in hand (faust-streaming/faust#315), so its
    acknowledgements are not used. To be dropped when an exception leaves the event unacknowledged.
    """
    async for batch in stream:
        yield batch
        batch.came_through()
