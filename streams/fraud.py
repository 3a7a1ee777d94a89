"""The fraud service: one agent per hop of the relay, from ``NewCustomer`` and ``NewOrder`` to a verdict."""

from typing import Any

from order_fraud.events import BadEvent, encode
from order_fraud.relay import ROUTE, Hop, receive, step
from order_fraud.scorecard import Scorecard
from order_fraud.scorecard_v1 import SCORECARD
from streams.batch import NOW, Batch, batches
from streams.batch_app import BatchApp
from streams.state import Spec, Table
from streams.state.codecs import HISTORIES

SERVICE = "fraud"

SPECS = tuple(Spec(hop.changelog.name, hop.reads.name, HISTORIES) for hop in ROUTE)
"""The histories of each hop, beside the topic that it reads."""


def register(app: BatchApp) -> None:
    """Add one agent per hop."""
    for hop in ROUTE:
        app.batch_agent(hop.reads, f"{SERVICE}.{hop.entity}")(_agent(app, hop))


def _agent(app: BatchApp, hop: Hop) -> Any:
    async def relay(stream: Any) -> None:
        async for batch in batches(stream):
            pass_hop(hop, batch, app.state_tables.table(hop.changelog.name, batch.partition), SCORECARD)

    return relay


def pass_hop(hop: Hop, batch: Batch, histories: Table[Any], scorecard: Scorecard) -> None:
    """Let every record of a batch pass one hop; what cannot be used goes to dead letters."""
    batch.keep(histories)
    send = batch.send
    for record in batch.records:
        kind, timestamp = record.timestamp()
        try:
            event = receive(hop, record.key(), record.value(), timestamp if kind else None)
            onward = step(hop, histories, event, scorecard)
        except BadEvent as error:
            batch.refuse(record, str(error), SERVICE)
            continue
        if onward is not None:
            send(onward.topic.name, onward.key, encode(onward.event), timestamp if kind else NOW)
