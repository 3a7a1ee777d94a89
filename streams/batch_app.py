"""A Faust app on the batch transport: its settings, the state that goes with the partitions, and who watches."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, cast

import faust
from faust.types import TP

from order_fraud.topics import Topic
from streams import transport
from streams.batch import Batch
from streams.observer import Observer, Place
from streams.policies import Judging, bundled
from streams.settings import Settings
from streams.state import Tables

Tick = Callable[[int, Mapping[Place, tuple[int, int]]], list[Batch]]
"""Called about once a second between polls with the time (ms) and, for each partition that is ours and was fetched from
already, the offset that comes next and the end of its log, equal if all was read. What it returns is committed in a
transaction."""


class BatchApp(faust.App):
    """One worker.

    Attributes:
        settings: from outside.
        state_tables: state of the partitions that are ours.
        observer: hears of everything that happens.
        judging: says who judges from now on.
        beginnings: called before each transaction, on the event loop.
        ticks: who acts as time passes, without a record (see :data:`Tick`).
        readers: how many agents read each topic.
        flow_resumed: set while Faust takes records: not between a rebalance and the end of its recovery.
        on_ready: called when newly assigned partitions have their state.
    """

    def __init__(
        self, settings: Settings, tables: Tables, observer: Observer, judging: Judging = bundled, **options: Any
    ) -> None:
        self.settings = settings
        self.state_tables = tables
        self.observer = observer
        self.judging = judging
        self.beginnings: list[Callable[[], None]] = []
        self.ticks: list[Tick] = []
        self.readers: Counter[str] = Counter()
        self.flow_resumed = asyncio.Event()
        self.on_ready: Callable[[set[TP]], None] = lambda assigned: None
        super().__init__(
            settings.group,
            broker=[f"{transport.SCHEME}://{broker}" for broker in settings.kafka.brokers.split(",")],
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
            stream_wait_empty=False,
            **options,
        )

    def batch_agent(self, topic: Topic, name: str) -> Callable[[Any], Any]:
        """Return the decorator of an agent that reads :func:`streams.batch.batches` of a topic of the registry."""
        self.readers[topic.name] += 1
        channel = self.topic(topic.name, key_type=bytes, value_type=None, value_serializer="raw", acks=False)
        return self.agent(channel, name=name)

    def empty_batch(self, topic: str, partition: int) -> Batch:
        """Return a batch without records, to send what no record has caused (see ``ticks``)."""
        return self._batch_consumer.empty_batch(topic, partition)

    @property
    def _batch_consumer(self) -> transport.Consumer:
        return cast(transport.Consumer, self.consumer)

    def on_rebalance_end(self) -> None:
        """Hear from Faust that recovery is over and the agents' queues are open."""
        super().on_rebalance_end()
        self.flow_resumed.set()

    async def _stop_consumer(self) -> None:
        """Finish the batch in hand first: Faust would stop agents in the middle of it."""
        if self._consumer is not None:
            await self._batch_consumer.finish()
        await super()._stop_consumer()

    def _create_directories(self) -> None:
        """Make none: only Faust tables would keep files, wherever the worker happens to be started."""

    async def _on_agent_error(self, agent: Any, error: BaseException) -> None:
        """Take the worker down: nothing of the poll in hand was committed, so nothing is lost.

        A successor does it again. Faust itself would start the agent anew on the *next* event
        (faust-streaming/faust#315).
        """
        await self.consumer.crash(error)
