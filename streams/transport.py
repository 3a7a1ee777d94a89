"""A Faust transport on librdkafka that hands an agent one event per *partition batch*, exactly once.

URL scheme ``countersign://host:port``. An agent reads ``async for batch in batches(stream)``, folds the records, sends
through the batch, and nothing else: outputs, changelogs and offsets of a whole poll go into one Kafka transaction.
Agents on other topics get records one by one, as ever, within the same transactions (:mod:`streams.ordinary`). What
this transport does not have, it refuses: Faust tables, and sends while nothing is in hand.

Faust's own offset bookkeeping and ``exactly_once`` are left out on purpose: they commit past messages in flight
(faust-streaming/faust#606), after a failed commit (#316) and past an agent's exception (#315). To be dropped when these
are fixed.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import confluent_kafka
from faust.transport import base
from faust.types import TP, ConsumerMessage, Message, RecordMetadata
from mode import Service

from streams.at_least_once import AtLeastOnce
from streams.batch import Batch
from streams.exactly_once import Aborted, ExactlyOnce
from streams.ordinary import Single, send
from streams.polling import Poll, Poller
from streams.without_faust_offsets import WithoutFaustOffsets

if TYPE_CHECKING:
    from streams.batch_app import BatchApp

SCHEME = "countersign"
"""Faust finds it by the entry point of that name in the group ``faust.transports`` (pyproject.toml)."""

TICK_S = 1.0
FINISH_S = 20.0
"""How long a worker that is told to stop may take to finish the poll in hand; what is not finished by then is aborted
and done by its successor."""


class AgentFailed(RuntimeError):
    """Nothing of the poll in hand may be committed."""


class Consumer(WithoutFaustOffsets):
    """Polls, hands out batches, commits: one task, so nothing is in flight when partitions move."""

    app: "BatchApp"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        settings = self.app.settings
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kafka")
        self._poller = Poller(settings)
        guarantee = ExactlyOnce if settings.guarantee == "exactly-once" else AtLeastOnce
        self._committing = guarantee(settings, self._poller)
        self._subscribed = asyncio.Event()
        self._finishing = False
        self._in_hand: Batch | None = None
        self._finished = asyncio.Event()
        self._ours: set[TP] = set()
        self._next_tick = 0.0

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Fence off a predecessor of this worker and join the group."""
        await self._call(self._committing.start)
        await self._call(self._poller.start, sorted(topics))
        self._subscribed.set()

    @Service.task
    async def _work(self) -> None:
        await self.wait(self._subscribed.wait())
        while not self._is_over():
            poll: Poll = await self._call(self._poller.poll)
            if poll.assigned is not None:
                await self._rebalance(poll)
            # Since the poll it may be over, or partitions may have moved once more: what was polled comes again.
            if poll.batches and not self._is_over() and not self._poller.moved:
                await self._pass_on(poll.batches)
            if self.loop.time() >= self._next_tick and not self._poller.moved:
                await self._tick()
        self._finished.set()

    def _is_over(self) -> bool:
        return bool(self.should_stop or self._finishing)

    async def _pass_on(self, batches: list[Batch]) -> None:
        """Let the agents do their work and make it a fact, or none of it."""
        observer = self.app.observer
        for begin in self.app.beginnings:
            begin()
        observer.polled(batches)
        try:
            await self._call(self._committing.begin, batches)
            for batch in batches:
                if batch.records:
                    await self._hand_out(batch)
                await self._call(self._committing.add, batch)
            started = self.loop.time()
            await self._call(self._committing.commit)
        except Aborted:  # the same records come again
            observer.aborted(batches)
        else:
            observer.committed(batches, self.loop.time() - started)

    async def _hand_out(self, batch: Batch) -> None:
        """Give a batch to its agents and wait until they came through. One that fails ends this worker."""
        if batch.topic not in self.app.readers:
            return await self._hand_out_one_by_one(batch)
        finished = asyncio.Event()
        batch.readers = self.app.readers[batch.topic]
        batch.on_finished = lambda _: finished.set()
        await self.callback(_message(batch))
        await finished.wait()

    async def _hand_out_one_by_one(self, batch: Batch) -> None:
        place = TP(batch.topic, batch.partition)
        self._in_hand = batch
        for record in batch.records:
            done = asyncio.Event()
            await self.callback(Single(record, place, self.app.consumer_generation_id, done.set))
            await done.wait()
        self._in_hand = None
        # Faust notes what to commit, which is not for it to do here.
        self._acked.pop(place, None)
        self._acked_index.pop(place, None)
        if self.crashed:  # Faust acknowledges a record on which an agent raised (faust-streaming/faust#315)
            raise AgentFailed(f"an agent failed on {batch.topic}, partition {batch.partition}")

    def send(self, *record: Any) -> RecordMetadata:
        """Put a record of an agent that reads one by one into the transaction of what it has in hand.

        Raises:
            NotImplementedError: nothing is in hand.
        """
        if self._in_hand is None:
            raise NotImplementedError(
                f"send to {record[0]} while an agent has a record in hand, or through its batch (batch.send): what is "
                "sent at other times would not be part of a transaction"
            )
        return send(self._in_hand, *record)

    async def _tick(self) -> None:
        """Tell where we are, and let those work who wait for time to pass and not for a record."""
        self._next_tick = self.loop.time() + TICK_S
        positions = await self._call(self._poller.positions)
        self.app.observer.lag(positions)
        now = int(time.time() * 1000)
        batches = [batch for tick in self.app.ticks for batch in tick(now, positions)]
        if batches:
            await self._pass_on(batches)

    async def _rebalance(self, poll: Poll) -> None:
        assigned = {TP(*place) for place in poll.assigned or ()}
        revoked = {TP(*place) for place in poll.revoked}
        self.app.on_rebalance_start()
        await self._call(self.app.state_tables.drop, revoked)
        self.app.observer.assigned(assigned)
        if revoked:
            await self.on_partitions_revoked(revoked)
        await self._call(self._restore, assigned - (self._ours - revoked))
        self._ours = assigned
        self.app.flow_resumed.clear()
        await self.on_partitions_assigned(set(assigned))
        # Faust's recovery goes on in a task of its own, with nothing to recover, and empties the agents' queues when it
        # is done: a batch handed out before would never be seen again. To be dropped when mode-streaming's
        # FlowControlEvent.resume clears no queues.
        await self.wait(self.app.flow_resumed.wait())
        self.app.observer.ready()
        self.app.on_ready(assigned)

    def _restore(self, partitions: set[TP]) -> None:
        self._poller.hold()
        self.app.state_tables.restore(partitions, self._poller.keep_alive)
        self._poller.go_on()

    def empty_batch(self, topic: str, partition: int) -> Batch:
        """Return a batch for what no record has caused."""
        return self._poller.empty_batch((topic, partition))

    async def finish(self) -> None:
        """Commit the poll in hand and take no other."""
        self._finishing = True
        if self._subscribed.is_set() and not self.crashed:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._finished.wait(), FINISH_S)

    async def on_stop(self) -> None:
        """Leave the group."""
        await self._call(self._committing.close)
        await self._call(self._poller.close)
        await self._call(self.app.state_tables.close)
        self._thread.shutdown(wait=False)

    def close(self) -> None:
        """Do nothing: :meth:`on_stop` closes, on the thread that owns the client."""

    async def _call[T](self, function: Callable[..., T], *arguments: Any) -> T:
        return await self.loop.run_in_executor(self._thread, function, *arguments)

    def assignment(self) -> set[TP]:
        """Return the partitions that are ours."""
        return set(self._ours)


class Producer(base.Producer):
    """Sends within the transaction of the record in hand, and refuses what would be part of none."""

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> Any:
        """Send with the transaction in hand; the answer does not know the offset, which is not given out before.

        Raises:
            NotImplementedError: nothing is in hand.
        """
        consumer = cast(Consumer, self.transport.app.consumer)
        answer: asyncio.Future[RecordMetadata] = self.loop.create_future()
        answer.set_result(consumer.send(topic, key, value, partition, timestamp, headers))
        return answer

    async def send_and_wait(self, *record: Any, **options: Any) -> Any:
        """Send; there is nothing to wait for, see :meth:`send`."""
        return await (await self.send(*record, **options))

    async def flush(self) -> None:
        """Do nothing: nothing is ever buffered here."""

    async def create_topic(self, topic: str, *arguments: Any, **options: Any) -> None:
        """Do nothing: topics come from the registry (python -m streams.admin create)."""


class Transport(base.Transport):
    """``countersign://``: partition batches, exactly once."""

    Consumer = Consumer
    Producer = Producer
    default_port = 9092
    driver_version = f"confluent-kafka={confluent_kafka.version()}"


def _message(batch: Batch) -> Message:
    return ConsumerMessage(
        batch.topic,
        batch.partition,
        batch.next_offset - 1,
        0.0,
        0,
        [],
        None,
        cast(bytes, batch),  # Faust passes on what the raw serializer is given
        None,
        0,
        0,
        TP(batch.topic, batch.partition),
        generation_id=0,
    )
