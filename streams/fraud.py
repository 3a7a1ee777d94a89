"""The fraud service: one agent per hop of the relay, from sign-ups, orders and word of what orders turned out to be, to
a verdict on each order.
"""

from typing import Any

from order_fraud.events import BadEvent, encode
from order_fraud.judge import Panel
from order_fraud.relay import ROUTE, Hop, receive, step
from streams.batch import NOW, Batch, batches
from streams.batch_app import BatchApp
from streams.policies import Judging
from streams.state import Spec, Table
from streams.state.codecs import HISTORIES

SERVICE = "fraud"

SPECS = tuple(Spec(hop.changelog.name, hop.reads.name, HISTORIES) for hop in ROUTE)
"""The histories of each hop, beside the topic that it reads."""


class Bench:
    """Who judges the batches of the transaction in hand: all of them alike, whatever is activated meanwhile."""

    def __init__(self, judging: Judging) -> None:
        self._judging = judging
        self.panel = judging()

    def take_seats(self) -> None:
        """A transaction begins: from here on those judge who were last said to."""
        self.panel = self._judging()


def register(app: BatchApp) -> None:
    """Add one agent per hop."""
    bench = Bench(app.judging)
    app.beginnings.append(bench.take_seats)
    for hop in ROUTE:
        app.batch_agent(hop.reads, f"{SERVICE}.{hop.entity}")(_agent(app, hop, bench))


def _agent(app: BatchApp, hop: Hop, bench: Bench) -> Any:
    async def relay(stream: Any) -> None:
        async for batch in batches(stream):
            pass_hop(hop, batch, app.state_tables.table(hop.changelog.name, batch.partition), bench.panel)

    return relay


def pass_hop(hop: Hop, batch: Batch, histories: Table[Any], panel: Panel) -> None:
    """Let every record of a batch pass one hop; what cannot be used goes to dead letters."""
    batch.keep(histories)
    send = batch.send
    for record in batch.records:
        kind, timestamp = record.timestamp()
        try:
            event = receive(hop, record.key(), record.value(), timestamp if kind else None)
            onward = step(hop, histories, event, panel)
        except BadEvent as error:
            batch.refuse(record, str(error), SERVICE)
            continue
        if onward is not None:
            send(onward.topic.name, onward.key, encode(onward.event), timestamp if kind else NOW)
