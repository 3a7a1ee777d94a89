"""The delivery service: releases on an explicit ``NoFraudDetected`` only, recalls what a correction asks for."""

from collections.abc import Callable
from typing import Any

from order_fraud.delivery import on_correction, on_verdict
from order_fraud.events import (
    AnyEvent,
    BadEvent,
    CorrectionRequested,
    DeliveryCancelled,
    DeliveryHeld,
    DeliveryReleased,
    NoFraudDetected,
    PossibleFraud,
    decode,
    encode,
)
from order_fraud.topics import DELIVERY_EVENTS, FRAUD_VERDICTS, RECONCILIATION_FINDINGS, Topic
from streams.batch import Batch, batches
from streams.transport import BatchApp

Answer = Callable[[AnyEvent], DeliveryReleased | DeliveryHeld | DeliveryCancelled | None]


def register(app: BatchApp) -> None:
    """Add the agent of the verdicts and the one of the corrections."""
    for topic, name, answer in (
        (FRAUD_VERDICTS, "delivery.verdicts", answer_verdict),
        (RECONCILIATION_FINDINGS, "delivery.corrections", answer_correction),
    ):
        app.batch_agent(topic, name)(_agent(topic, answer))


def _agent(topic: Topic, answer: Answer) -> Any:
    async def deliver(stream: Any) -> None:
        async for batch in batches(stream):
            answer_all(topic, batch, answer)

    return deliver


def answer_all(topic: Topic, batch: Batch, answer: Answer) -> None:
    """Answer every record of a batch; what cannot be used, or has no business on the topic, goes to dead letters."""
    for record in batch.records:
        try:
            event = decode(record.value())
            if type(event) not in topic.writers:
                raise BadEvent(f"{type(event).__name__} has no business on {topic.name}")
        except BadEvent as error:
            batch.refuse(record, str(error))
            continue
        delivery = answer(event)
        if delivery is not None:
            batch.send(DELIVERY_EVENTS.name, delivery.data.customer_id, encode(delivery))


def answer_verdict(event: AnyEvent) -> DeliveryReleased | DeliveryHeld | None:
    """Return the delivery event of a verdict."""
    return on_verdict(event) if isinstance(event, NoFraudDetected | PossibleFraud) else None


def answer_correction(event: AnyEvent) -> DeliveryCancelled | None:
    """Return the recall that a correction asks for; findings are for people."""
    return on_correction(event) if isinstance(event, CorrectionRequested) else None
