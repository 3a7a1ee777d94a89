"""A parcel as AfterShip writes it."""

import hashlib
from datetime import UTC, datetime
from typing import Any

from sandbox.records import Checkpoint, Shipment

WORDS = {
    "InfoReceived": ("InfoReceived_001", "Info Received"),
    "InTransit": ("InTransit_001", "In Transit"),
    "OutForDelivery": ("OutForDelivery_001", "Out for Delivery"),
    "AttemptFail": ("AttemptFail_001", "Failed Attempt"),
    "Delivered": ("Delivered_001", "Delivered"),
    "Exception": ("Exception_011", "Returned to sender"),
}
"""The tags of a parcel on its way, each with its subtag and what people read."""
NOTHING_YET = "Pending"


def tracking_id(shipment: Shipment) -> str:
    """The id of a tracking: 32 characters, made from ours."""
    return hashlib.sha256(f"tracking/{shipment.shipment_id}".encode()).hexdigest()[:32]


def tag(shipment: Shipment) -> str:
    """Where the parcel is: what its newest checkpoint says."""
    return shipment.checkpoints[-1].tag if shipment.checkpoints else NOTHING_YET


def returned(shipment: Shipment) -> bool:
    """Whether it is on its way back, or is back."""
    return tag(shipment) == "Exception"


def moment(seconds: int) -> str:
    """A time as the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def as_tracking(shipment: Shipment, fields: frozenset[str] | None = None) -> dict[str, Any]:
    """The tracking of a parcel; ``fields`` leaves out those that can be chosen and were not."""
    delivered = next((one.at for one in shipment.checkpoints if one.tag == "Delivered"), None)
    picked_up = next((one.at for one in shipment.checkpoints if one.tag == "InTransit"), None)
    chosen: dict[str, Any] = {
        "title": shipment.order_id,
        "order_id": shipment.order_id,
        "tag": tag(shipment),
        "checkpoints": [_checkpoint(shipment, one) for one in shipment.checkpoints],
    }
    if fields is not None:
        chosen = {name: value for name, value in chosen.items() if name in fields}
    return {
        "id": tracking_id(shipment),
        "legacy_id": tracking_id(shipment)[:24],
        "created_at": moment(shipment.created),
        "updated_at": moment(shipment.updated),
        "tracking_number": shipment.tracking_number,
        "slug": shipment.carrier,
        "active": delivered is None and not returned(shipment),
        "source": "api",
        "subtag": WORDS[tag(shipment)][0] if shipment.checkpoints else "Pending_001",
        "return_to_sender": returned(shipment),
        "shipment_package_count": 1,
        "shipment_pickup_date": None if picked_up is None else moment(picked_up),
        "shipment_delivery_date": None if delivered is None else moment(delivered),
        "customers": [{"role": "receiver", "name": shipment.receiver, "email": shipment.email, "phone_number": None}],
    } | chosen


def _checkpoint(shipment: Shipment, one: Checkpoint) -> dict[str, Any]:
    subtag, message = WORDS[one.tag]
    parts = f"{shipment.shipment_id}/{one.at}/{one.tag}/{one.place}"
    return {
        "created_at": moment(one.at + 60),
        "slug": shipment.carrier,
        "checkpoint_time": moment(one.at),
        "location": one.place,
        "city": one.place,
        "country_region": "USA",
        "country_region_name": "United States",
        "message": one.message or message,
        "tag": one.tag,
        "subtag": subtag,
        "subtag_message": message,
        "raw_tag": None,
        "hash": hashlib.sha256(parts.encode()).hexdigest()[:32],
    }
