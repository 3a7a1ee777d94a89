"""Parcels as the delivery events make them."""

from datetime import UTC, datetime, timedelta

import pytest

from order_fraud.events import Delivery, DeliveryCancelled, DeliveryHeld, DeliveryReleased
from sandbox.carrier.trackings import as_tracking
from sandbox.parcels import DAY, HOUR, Told, shipments

AT = datetime(2015, 3, 1, 12, tzinfo=UTC)
STAMP = int(datetime(2026, 11, 27, tzinfo=UTC).timestamp())
LATER = STAMP + DAY


def told(kind: type[DeliveryReleased | DeliveryHeld | DeliveryCancelled], number: int, after_s: int = 0) -> Told:
    order_id = f"{number}-1"
    data = Delivery(order_id=order_id, customer_id=str(number), cause="verdict")
    event = kind(id=f"delivery/{order_id}/{kind.__name__}", source="/delivery", subject=order_id, time=AT, data=data)
    return Told(event, STAMP + after_s)


def tags(*events: Told, now: int = LATER) -> dict[str, list[str]]:
    return {one.order_id: [each.tag for each in one.checkpoints] for one in shipments(events, now)}


def test_what_is_released_is_delivered_and_what_is_held_has_no_parcel() -> None:
    whole = ["InfoReceived", "InTransit", "OutForDelivery", "Delivered"]
    assert tags(told(DeliveryReleased, 1), told(DeliveryHeld, 2), told(DeliveryReleased, 3)) == {
        "1-1": whole,
        "3-1": whole,
    }


def test_a_cancelled_parcel_comes_back_and_is_newer_than_before() -> None:
    before, after = told(DeliveryReleased, 1), told(DeliveryCancelled, 1, after_s=60)
    (first,), (second,) = (list(shipments(events, LATER)) for events in ([before], [before, after]))
    assert second.checkpoints[-1].tag == "Exception"
    assert as_tracking(second)["return_to_sender"]
    assert as_tracking(second)["shipment_delivery_date"] is None
    assert (first.shipment_id, first.created, first.tracking_number) == (
        second.shipment_id,
        second.created,
        second.tracking_number,
    )
    assert first.updated < second.updated, "a landing that asks for what is new would pass it over"


def test_an_order_that_is_released_once_more_is_delivered_after_all() -> None:
    events = [told(DeliveryReleased, 1), told(DeliveryCancelled, 1), told(DeliveryReleased, 1)]
    assert tags(*events)["1-1"][-1] == "Delivered"


def test_what_was_cancelled_before_it_was_released_has_no_parcel() -> None:
    assert tags(told(DeliveryCancelled, 1)) == {}


@pytest.mark.parametrize("number", range(20))
def test_the_same_events_give_the_same_parcel_in_the_order_of_time(number: int) -> None:
    (one,), (same,) = (list(shipments([told(DeliveryReleased, number)], now)) for now in (LATER, LATER + DAY))
    assert one == same
    times = [each.at for each in one.checkpoints]
    assert times == sorted(times)
    assert one.created == AT.timestamp() + HOUR <= one.updated
    assert timedelta(days=1) <= timedelta(seconds=times[-1] - one.created) <= timedelta(days=5)


def test_nothing_has_happened_later_than_now() -> None:
    (one,) = shipments([told(DeliveryReleased, 1)], int(AT.timestamp()) + HOUR)
    assert [each.tag for each in one.checkpoints] == ["InfoReceived"]
    assert tags(told(DeliveryReleased, 1), now=int(AT.timestamp()))["1-1"] == []
