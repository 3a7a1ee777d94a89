"""Faust as its documentation has it: an agent per hop, a table with its changelog, one send per order.

At-least-once: its exactly-once is left out because it commits past messages in flight (faust-streaming/faust#606).
"""

import argparse
import logging
import os
from typing import Any

import faust

from order_fraud.events import encode
from order_fraud.history import History, pack, unpack
from order_fraud.relay import ROUTE, Hop, receive, step
from order_fraud.topics import FRAUD_VERDICTS
from scorecards import PANEL


class Shelf:
    """The kernel's histories of one hop and partition: a Faust table knows the partition of the event in hand."""

    __slots__ = ("latest", "table")

    def __init__(self, table: Any) -> None:
        """Nothing is known yet."""
        self.latest = 0
        self.table = table

    def get(self, entity_id: str) -> History | None:
        """Return what is remembered."""
        found = self.table.get(entity_id)
        return None if found is None else unpack(found)

    def __setitem__(self, entity_id: str, history: History) -> None:
        self.table[entity_id] = pack(history)


def create_app(bootstrap: str) -> faust.App:
    """Return the app with its three agents."""
    app = faust.App(
        "bench-faust",
        broker=f"kafka://{bootstrap}",
        store="memory://",
        topic_partitions=FRAUD_VERDICTS.partitions,
        topic_replication_factor=1,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        broker_max_poll_records=10_000,
        stream_wait_empty=False,
        producer_linger=0.005,
        producer_max_batch_size=900_000,
        web_enabled=False,
    )
    topics = {
        name: app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        for name in (*(hop.reads.name for hop in ROUTE), FRAUD_VERDICTS.name)
    }
    for hop in ROUTE:
        table = app.Table(f"history-{hop.entity}", key_type=str, value_type=bytes)
        app.agent(topics[hop.reads.name], name=f"bench.{hop.entity}")(_agent(hop, table, topics))
    return app


def _agent(hop: Hop, table: Any, topics: dict[str, Any]) -> Any:
    async def relay(stream: Any) -> None:
        shelves: dict[int, Shelf] = {}
        async for event in stream.events():
            message = event.message
            shelf = shelves.get(message.partition) or shelves.setdefault(message.partition, Shelf(table))
            timestamp = int(message.timestamp * 1000)
            onward = step(hop, shelf, receive(hop, event.key, event.value, timestamp), PANEL)
            if onward is not None:
                await topics[onward.topic.name].send(
                    key=onward.key.encode(), value=encode(onward.event), timestamp=message.timestamp
                )

    return relay


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", required=True)
    parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    app = create_app(os.environ["COUNTERSIGN_KAFKA"])
    faust.Worker(app, loglevel="warning", redirect_stdouts=False).execute_from_commandline()
