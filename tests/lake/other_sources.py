"""Rows of the carriers, the ERP system and the web analytics, as the sandbox is fed with them."""

from typing import Any

from tests.lake.test_landing_sources import DAY, START


def shipment(number: int, **changed: Any) -> dict[str, Any]:
    """The delivered parcel of order ``number``."""
    created = START + number * DAY // 4 + 3600
    tags = ("InfoReceived", "InTransit", "OutForDelivery", "Delivered")
    checkpoints = [{"at": created + place * 7200, "tag": tag, "place": "Reno"} for place, tag in enumerate(tags)]
    return {
        "shipment_id": f"parcel/{number}-1",
        "order_id": f"{number}-1",
        "tracking_number": f"1Z{number:016}",
        "carrier": "ups",
        "created": created,
        "updated": created + 4 * 7200,
        "receiver": f"Ada Planted{number}",
        "email": f"C{number}@example.test",
        "checkpoints": checkpoints,
    } | changed


def sales_order(number: int, **changed: Any) -> dict[str, Any]:
    """The sales order of order ``number``."""
    created = START + number * DAY // 4
    return {
        "number": f"{number + 1:010}",
        "order_id": f"{number}-1",
        "customer_id": str(number),
        "created": created,
        "updated": created,
        "amount": 1000 + number,
        "currency": "USD",
    } | changed


def visits(number: int, **changed: Any) -> dict[str, Any]:
    """Visits of one combination; four a day from 2016-01-01 on."""
    day, place = divmod(number, 4)
    month, day = divmod(day, 28)
    return {
        "date": f"2016{month + 1:02}{day + 1:02}",
        "channel": ("Direct", "Organic Search")[place % 2],
        "source": "(direct)",
        "landing_page": ("/", "/sale")[place // 2],
        "device": "mobile",
        "sessions": 100 + number,
        "engaged_sessions": 50,
        "users": 80,
        "conversions": 1,
    } | changed
