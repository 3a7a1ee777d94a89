"""A Faust transport on librdkafka that hands an agent one event per *partition batch*, exactly once.

URL scheme ``countersign://host:port``. An agent reads ``async for batch in batches(stream)``, folds the records, sends
through the batch, and nothing else: outputs, changelog and offsets of a whole poll go into one Kafka transaction when
all its batches are finished. What this transport does not have, it refuses: Faust tables, and sends outside a batch.

Faust's own offset bookkeeping and ``exactly_once`` are left out on purpose: they commit past messages in flight
(faust-streaming/faust#606), after a failed commit (#316) and past an agent's exception (#315). To be dropped when these
are fixed.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, cast

import confluent_kafka
import faust
from faust.transport import base
from faust.transport.drivers import TRANSPORTS
from faust.types import TP, ConsumerMessage, Message
from mode import Service

from order_fraud.topics import Topic
from streams.batch import Batch
from streams.exactly_once import Aborted, ExactlyOnce, Poll
from streams.histories import Histories
from streams.settings import Settings

SCHEME = "countersign"


class Consumer(base.Consumer):
    """Polls, hands out batches, commits: one task, so nothing is in flight when partitions move."""

    app: "BatchApp"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kafka")
        self._kafka = ExactlyOnce(self.app.settings)
        self._subscribed = asyncio.Event()
        self._ours: set[TP] = set()
        self._in_hand: set[Batch] = set()
        self._all_done = asyncio.Event()

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Fence off a predecessor of this worker and join the group."""
        await self._call(self._kafka.start, sorted(topics))
        self._subscribed.set()

    @Service.task
    async def _work(self) -> None:
        await self.wait(self._subscribed.wait())
        while not self.should_stop:
            poll: Poll = await self._call(self._kafka.poll)
            if poll.assigned is not None:
                await self._rebalance(poll)
            if poll.batches and await self._hand_out(poll.batches):
                with suppress(Aborted):  # the same records come again
                    await self._call(self._kafka.commit, poll.batches)

    async def _rebalance(self, poll: Poll) -> None:
        assigned = {TP(*place) for place in poll.assigned or ()}
        revoked = {TP(*place) for place in poll.revoked}
        self.app.on_rebalance_start()
        self.app.histories.drop(revoked)
        if revoked:
            await self.on_partitions_revoked(revoked)
        await self._call(self.app.histories.restore, assigned - (self._ours - revoked))
        self._ours = assigned
        await self.on_partitions_assigned(set(assigned))
        self.app.on_ready(assigned)

    async def _hand_out(self, batches: list[Batch]) -> bool:
        """Give each batch to its agent and wait until all are finished; False if the worker stops meanwhile."""
        self._all_done.clear()
        self._in_hand = set(batches)
        for batch in batches:
            batch.on_finished = self._finished
            if (await self.wait(self.callback(_message(batch)))).stopped:
                return False
        return not (await self.wait(self._all_done.wait())).stopped

    def _finished(self, batch: Batch) -> None:
        self._in_hand.discard(batch)
        if not self._in_hand:
            self._all_done.set()

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Do nothing: offsets go with each poll's transaction, never by timer."""
        return False

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        return False

    async def _drain_messages(self, fetcher: Any) -> None:
        """Wait: Faust starts its fetcher after the first assignment, which here comes out of polling itself."""
        await fetcher._stopped.wait()

    async def on_stop(self) -> None:
        """Leave the group."""
        await self._call(self._kafka.close)
        self._thread.shutdown(wait=False)

    def close(self) -> None:
        """Do nothing: :meth:`on_stop` closes, on the thread that owns the client."""

    async def _call[T](self, function: Callable[..., T], *arguments: Any) -> T:
        return await self.loop.run_in_executor(self._thread, function, *arguments)

    def assignment(self) -> set[TP]:
        """Return the partitions that are ours."""
        return set(self._ours)

    async def perform_seek(self) -> None:
        """Do nothing: librdkafka goes on from the committed offsets by itself."""

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Return nothing to seek: see :meth:`perform_seek`."""
        return {}

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the ends of Faust's table changelogs, of which there are none.

        Raises:
            NotImplementedError: a Faust table was declared.
        """
        return self._no_tables(partitions)

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the starts of Faust's table changelogs, of which there are none.

        Raises:
            NotImplementedError: a Faust table was declared.
        """
        return self._no_tables(partitions)

    @staticmethod
    def _no_tables(partitions: tuple[TP, ...]) -> Mapping[TP, int]:
        if partitions:
            raise NotImplementedError(
                f"the batch transport keeps no Faust tables ({partitions[0].topic}): use histories"
            )
        return {}

    def _not_here(self, *arguments: Any, **options: Any) -> Any:
        """Refuse what only Faust's tables and its own fetcher ask of a consumer.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("the batch transport polls, seeks and keeps state itself: see streams.exactly_once")

    _getmany = _seek = position = seek_wait = _not_here
    _to_message = _new_topicpartition = key_partition = topic_partitions = _not_here

    async def create_topic(self, topic: str, *arguments: Any, **options: Any) -> None:
        """Do nothing: topics come from the registry (python -m streams.admin create)."""

    def highwater(self, tp: TP) -> int:
        """Return 0: Faust's monitor asks, nothing of ours does."""
        return 0

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing: Faust's livelock detector watches offsets that this transport does not keep."""


class Producer(base.Producer):
    """Refuses: an output that is not part of a batch's transaction would break exactly-once."""

    async def send(self, topic: str, *arguments: Any, **options: Any) -> Any:
        """Refuse to send.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"send to {topic} through the batch in hand (batch.send), not through the app")

    send_and_wait = send

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


TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"


class BatchApp(faust.App):
    """A Faust app on the batch transport: its settings, and the state that goes with the partitions."""

    def __init__(self, settings: Settings, histories: Histories, **options: Any) -> None:
        self.settings = settings
        self.histories = histories
        self.on_ready: Callable[[set[TP]], None] = lambda assigned: None
        super().__init__(
            settings.group,
            broker=[f"{SCHEME}://{broker}" for broker in settings.bootstrap.split(",")],
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
            stream_wait_empty=False,
            **options,
        )

    def batch_agent(self, topic: Topic, name: str) -> Callable[[Any], Any]:
        """Return the decorator of an agent that reads :func:`streams.batch.batches` of a topic of the registry."""
        channel = self.topic(topic.name, key_type=bytes, value_type=None, value_serializer="raw", acks=False)
        return self.agent(channel, name=name)

    def _create_directories(self) -> None:
        """Make none: only Faust tables would keep files, wherever the worker happens to be started."""

    async def _on_agent_error(self, agent: Any, error: BaseException) -> None:
        """Take the worker down: nothing of the poll in hand was committed, so nothing is lost.

        A successor does it again. Faust itself would start the agent anew on the *next* event
        (faust-streaming/faust#315).
        """
        await self.consumer.crash(error)


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
