"""The delivery service: releases on an explicit ``NoFraudDetected`` only, recalls what a correction or a settlement
asks for.

It also watches over the orders that have no verdict yet (:mod:`streams.watchdog`).
"""

from collections.abc import Callable, Iterator
from typing import Any

from confluent_kafka import Message

from order_fraud import watch
from order_fraud.delivery import on_correction, on_settlement, on_verdict
from order_fraud.events import (
    AnyEvent,
    BadEvent,
    CorrectionRequested,
    DeliveryCancelled,
    DeliveryHeld,
    DeliveryReleased,
    DeliveryStopRequested,
    DeliveryStopWithdrawn,
    NoFraudDetected,
    PossibleFraud,
    decode,
    encode,
)
from order_fraud.topics import (
    CUSTOMER_EVENTS,
    DEAD_LETTERS,
    DELIVERY_EVENTS,
    DELIVERY_WATCH,
    FRAUD_VERDICTS,
    RECONCILIATION_FINDINGS,
    Topic,
)
from streams import watchdog
from streams.batch import Batch, batches
from streams.batch_app import BatchApp
from streams.state import Spec, Table

SERVICE = "delivery"

SPECS: tuple[Spec, ...] = (watchdog.SPEC,)

Work = Callable[[Batch, Table[watch.Entry]], None]
"""What an agent does with a batch; the table has the orders that wait for a verdict on the batch's partition."""


def register(app: BatchApp) -> None:
    """Add the agents of verdicts, corrections, orders and dead letters, and the watchdog."""

    def waiting(partition: int) -> Table[watch.Entry]:
        return app.state_tables.table(DELIVERY_WATCH.name, partition)

    for topic, name, work in (
        (FRAUD_VERDICTS, "verdicts", answer_verdicts),
        (RECONCILIATION_FINDINGS, "corrections", answer_corrections),
        (CUSTOMER_EVENTS, "watch", watchdog.note_orders),
        (DEAD_LETTERS, "refusals", watchdog.note_refusals),
    ):
        app.batch_agent(topic, f"{SERVICE}.{name}")(_agent(work, waiting))
    app.ticks.append(watchdog.Watchdog(app.settings.overdue_s, waiting, app.empty_batch).tick)


def _agent(work: Work, waiting: Callable[[int], Table[watch.Entry]]) -> Any:
    async def deliver(stream: Any) -> None:
        async for batch in batches(stream):
            work(batch, waiting(batch.partition))

    return deliver


def answer_verdicts(batch: Batch, waiting: Table[watch.Entry]) -> None:
    """Release or hold the parcels; their orders wait for no verdict any more."""
    batch.keep(waiting)
    now = watchdog.now_ms()
    for record, event in usable(FRAUD_VERDICTS, batch):
        if isinstance(event, NoFraudDetected | PossibleFraud):
            came_in = record.timestamp()[1]
            watch.answered(waiting, event.subject, came_in, now)
            _send(batch, on_verdict(event), came_in)


def answer_corrections(batch: Batch, _waiting: Table[watch.Entry]) -> None:
    """Recall the parcels that corrections and settlements ask for; findings are for people."""
    for record, event in usable(RECONCILIATION_FINDINGS, batch):
        if isinstance(event, DeliveryStopRequested | DeliveryStopWithdrawn):
            _send(batch, on_settlement(event), record.timestamp()[1])
        elif isinstance(event, CorrectionRequested) and (recall := on_correction(event)) is not None:
            _send(batch, recall, record.timestamp()[1])


def _send(batch: Batch, event: DeliveryReleased | DeliveryHeld | DeliveryCancelled, timestamp: int) -> None:
    batch.send(DELIVERY_EVENTS.name, event.data.customer_id, encode(event), timestamp)


def usable(topic: Topic, batch: Batch) -> Iterator[tuple[Message, AnyEvent]]:
    """Yield the events of a batch; what is none, or has no business on the topic, goes to dead letters."""
    for record in batch.records:
        try:
            event = decode(record.value())
            if type(event) not in topic.writers:
                raise BadEvent(f"{type(event).__name__} has no business on {topic.name}")
        except BadEvent as error:
            batch.refuse(record, str(error), SERVICE)
            continue
        yield record, event
