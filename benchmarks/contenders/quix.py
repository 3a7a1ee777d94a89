"""Quix Streams as its documentation has it, tuned: one application, a dataframe per hop, state with a changelog.

What was chosen, and why, stands in docs/performance.md; each setting here says it in short. The histories are stored
as bytes, since Quix would otherwise turn every value into JSON.
"""

import argparse
import os
from pathlib import Path
from typing import Any

from quixstreams import Application, State, message_context
from quixstreams.models import Serializer

from order_fraud.events import encode
from order_fraud.history import History, pack, unpack
from order_fraud.relay import ROUTE, Hop, Onward, receive, step
from order_fraud.topics import FRAUD_VERDICTS
from scorecards import PANEL

HISTORY = b"h"
COMMIT_EVERY = int(os.environ.get("BENCH_QUIX_COMMIT_EVERY", "10000"))
COMMIT_INTERVAL = float(os.environ.get("BENCH_QUIX_COMMIT_INTERVAL", "0.5"))


class Shelf:
    """The kernel's histories of one hop and partition on top of the state that Quix gives with each record."""

    __slots__ = ("latest", "state")

    def __init__(self) -> None:
        self.latest = 0
        self.state: State = None  # set before each step

    def get(self, _entity_id: str) -> History | None:
        """Return what is remembered: Quix prefixes the state with the record's key, which is the entity's id."""
        found = self.state.get_bytes(HISTORY)
        return None if found is None else unpack(found)

    def __setitem__(self, _entity_id: str, history: History) -> None:
        self.state.set_bytes(HISTORY, pack(history))


class EventOf(Serializer):
    """Writes the event that goes on."""

    def __call__(self, value: Onward, ctx: Any) -> bytes:
        """Encode it as every contender does."""
        return encode(value.event)


def run(bootstrap: str, guarantee: str, folder: Path) -> None:
    """Work until killed."""
    app = Application(
        broker_address=bootstrap,
        consumer_group="bench-quix",
        auto_offset_reset="earliest",
        processing_guarantee=guarantee,
        # Each hop's output can be read once it is committed.
        commit_every=COMMIT_EVERY,
        commit_interval=COMMIT_INTERVAL,
        consumer_poll_timeout=0.01,  # the default of 1 s would hold back the last commit
        consumer_extra_config={"fetch.wait.max.ms": 10, "fetch.message.max.bytes": 8_000_000},
        producer_extra_config={
            "linger.ms": 5,
            "batch.size": 900_000,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 1_048_576,
        },
        state_dir=folder,
        loglevel="WARNING",
    )
    names = [hop.reads.name for hop in ROUTE] + [FRAUD_VERDICTS.name]
    topics = {
        name: app.topic(
            name,
            key_deserializer="bytes",
            key_serializer="bytes",
            value_deserializer="bytes",
            value_serializer=EventOf(),
        )
        for name in names
    }
    for hop in ROUTE:
        frame = app.dataframe(topics[hop.reads.name])
        frame = frame.apply(_hop(hop), stateful=True, metadata=True, expand=True)
        frame.to_topic(lambda onward, *_: topics[onward.topic.name], key=lambda onward: onward.key.encode())
    app.run()


def _hop(hop: Hop) -> Any:
    shelves: dict[int, Shelf] = {}

    def pass_hop(value: bytes, key: bytes, timestamp: int, _headers: Any, state: State) -> tuple[Onward, ...]:
        partition = message_context().partition
        shelf = shelves.get(partition)
        if shelf is None:
            shelf = shelves[partition] = Shelf()
        shelf.state = state
        onward = step(hop, shelf, receive(hop, key, value, timestamp), PANEL)
        return () if onward is None else (onward,)

    return pass_hop


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", required=True)
    folder = Path(os.environ["BENCH_FOLDER"]) / f"quix-{parser.parse_args().index}"
    run(os.environ["COUNTERSIGN_KAFKA"], os.environ["BENCH_GUARANTEE"], folder)
