"""The fraud service: one agent per hop of the relay, from ``NewCustomer`` and ``NewOrder`` to a verdict."""

from typing import Any

from order_fraud.events import BadEvent, encode
from order_fraud.relay import ROUTE, Hop, receive, step
from order_fraud.scorecard import Scorecard
from order_fraud.scorecard_v1 import SCORECARD
from streams.batch import Batch, batches
from streams.histories import HistoryTable
from streams.transport import BatchApp


def register(app: BatchApp) -> None:
    """Add one agent per hop."""
    for hop in ROUTE:
        app.batch_agent(hop.reads, f"fraud.{hop.entity}")(_agent(app, hop))


def _agent(app: BatchApp, hop: Hop) -> Any:
    async def relay(stream: Any) -> None:
        async for batch in batches(stream):
            pass_hop(hop, batch, app.histories.table(batch.topic, batch.partition), SCORECARD)

    return relay


def pass_hop(hop: Hop, batch: Batch, histories: HistoryTable, scorecard: Scorecard) -> None:
    """Let every record of a batch pass one hop; what cannot be used goes to dead letters."""
    batch.state = histories
    send = batch.send
    for record in batch.records:
        try:
            onward = step(hop, histories, receive(hop, record.key(), record.value()), scorecard)
        except BadEvent as error:
            batch.refuse(record, str(error))
            continue
        if onward is not None:
            send(onward.topic.name, onward.key, encode(onward.event))
