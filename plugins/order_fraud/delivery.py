"""What the warehouse may do: it ships on an explicit ``NoFraudDetected`` and never takes silence for a yes."""

from order_fraud.events import (
    CorrectionRequested,
    Delivery,
    DeliveryCancelled,
    DeliveryHeld,
    DeliveryReleased,
    DeliveryStopRequested,
    DeliveryStopWithdrawn,
    NoFraudDetected,
    PossibleFraud,
)

SOURCE = "/delivery"


def on_verdict(verdict: PossibleFraud | NoFraudDetected) -> DeliveryReleased | DeliveryHeld:
    """Return what a verdict means for the parcel; ``time`` is the verdict's."""
    outcome, word = (DeliveryReleased, "released") if isinstance(verdict, NoFraudDetected) else (DeliveryHeld, "held")
    order_id = verdict.data.order_id
    return outcome(
        id=f"delivery/{order_id}/{word}",
        source=SOURCE,
        subject=order_id,
        time=verdict.time,
        data=Delivery(order_id=order_id, customer_id=verdict.data.customer_id, cause=verdict.id),
    )


def on_correction(correction: CorrectionRequested) -> DeliveryCancelled | None:
    """Return the recall of a parcel if the correction asks for it, None if it is meant for another service."""
    if correction.data.remedy != "cancel-delivery":
        return None
    order_id = correction.data.order_id
    return DeliveryCancelled(
        id=f"delivery/{order_id}/cancelled",
        source=SOURCE,
        subject=order_id,
        time=correction.time,
        data=Delivery(order_id=order_id, customer_id=correction.data.customer_id or order_id, cause=correction.id),
    )


def on_settlement(stop: DeliveryStopRequested | DeliveryStopWithdrawn) -> DeliveryCancelled | DeliveryHeld:
    """Return what the settlement of a fraud means for the parcel.

    A stop that is withdrawn does not release anything: the parcel waits, since only a ``NoFraudDetected`` lets one go.
    """
    outcome = DeliveryCancelled if isinstance(stop, DeliveryStopRequested) else DeliveryHeld
    return outcome(
        id=f"delivery/{stop.id}",
        source=SOURCE,
        subject=stop.data.order_id,
        time=stop.time,
        data=Delivery(order_id=stop.data.order_id, customer_id=stop.data.customer_id, cause=stop.id),
    )
