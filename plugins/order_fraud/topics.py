"""The registry of topics: each declared once, with its key, its events, their single writers and its readers.

Topic creation, Faust topics, producers, ``docs/events.md`` and ``docs/asyncapi.yaml`` come from here; no topic name is
written anywhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from order_fraud import events
from order_fraud.events import Event

DAY_MS = 24 * 60 * 60 * 1000
PARTITIONS = 4
"""Partitions of every topic that carries orders: the most stream workers that can share the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One Kafka topic.

    Attributes:
        name: as on the broker.
        key: what the record key is, in words; all records of one key keep their order.
        writers: the single service that may write each event type.
        readers: the services that read the topic.
        partitions: how many; only this number counts, a broker that differs is a start-up error.
        retention_ms: how long records stay; ``None`` means compacted for ever.
        description: what the topic is for, in one sentence.
        raw_writers: the services whose records on this topic are no events (dead letters, changelogs).
    """

    name: str
    key: str
    writers: Mapping[type[Event], str]
    readers: tuple[str, ...]
    description: str
    partitions: int = PARTITIONS
    retention_ms: int | None = 30 * DAY_MS
    raw_writers: tuple[str, ...] = ()

    @property
    def compacted(self) -> bool:
        """Whether the topic keeps the last record of each key for ever."""
        return self.retention_ms is None

    @property
    def config(self) -> dict[str, str]:
        """The broker's settings for this topic."""
        if self.retention_ms is None:
            return {"cleanup.policy": "compact"}
        return {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}


SHOP = "shop producer"
FRAUD = "fraud service"
DELIVERY = "delivery service"
RECONCILE = "reconcile_orders DAG"
LANDING = "land_events DAG"
SERVICES = (SHOP, FRAUD, DELIVERY, RECONCILE, LANDING)
"""All that read or write topics."""

_relayed: dict[type[Event], str] = {events.NewCustomer: FRAUD, events.NewOrder: FRAUD}

CUSTOMER_EVENTS = Topic(
    name="customer.events",
    key="customer_id",
    writers=MappingProxyType({events.NewCustomer: SHOP, events.NewOrder: SHOP}),
    readers=(FRAUD, LANDING),
    description="Everything that happens to one customer, in its order.",
)
RELAY_BY_DEVICE = Topic(
    name="relay.by-device",
    key="device_id",
    writers=MappingProxyType(_relayed),
    readers=(FRAUD, LANDING),
    description="The same events, stamped with the customer's signals, on their way to the device histories.",
)
RELAY_BY_IP = Topic(
    name="relay.by-ip",
    key="ip",
    writers=MappingProxyType(_relayed),
    readers=(FRAUD, LANDING),
    description="The same events, stamped with the device's signals too, on their way to the ip histories.",
)
FRAUD_VERDICTS = Topic(
    name="fraud.verdicts",
    key="customer_id",
    writers=MappingProxyType({events.PossibleFraud: FRAUD, events.NoFraudDetected: FRAUD}),
    readers=(DELIVERY, LANDING),
    description="One verdict per order.",
)
DELIVERY_EVENTS = Topic(
    name="delivery.events",
    key="customer_id",
    writers=MappingProxyType(
        {
            events.DeliveryReleased: DELIVERY,
            events.DeliveryHeld: DELIVERY,
            events.DeliveryCancelled: DELIVERY,
        }
    ),
    readers=(LANDING,),
    description="What the warehouse may do with each order.",
)
RECONCILIATION_FINDINGS = Topic(
    name="reconciliation.findings",
    key="order_id",
    writers=MappingProxyType({events.FindingRaised: RECONCILE, events.CorrectionRequested: RECONCILE}),
    readers=(SHOP, DELIVERY, RECONCILE),
    description="Findings of the batch half and the corrections that they ask for.",
)
DEAD_LETTERS = Topic(
    name="dead-letters",
    key="the original key",
    writers=MappingProxyType({}),
    readers=(),
    raw_writers=(FRAUD, DELIVERY),
    description="Records that could not be used, byte for byte as they came; reason, topic, partition and offset "
    "of origin stand in the headers.",
)
HISTORY_CUSTOMER = Topic(
    name="history.customer",
    key="customer_id",
    writers=MappingProxyType({}),
    readers=(FRAUD,),
    raw_writers=(FRAUD,),
    retention_ms=None,
    description="Changelog of the customer histories, partition for partition beside customer.events.",
)
HISTORY_DEVICE = Topic(
    name="history.device",
    key="device_id",
    writers=MappingProxyType({}),
    readers=(FRAUD,),
    raw_writers=(FRAUD,),
    retention_ms=None,
    description="Changelog of the device histories, partition for partition beside relay.by-device.",
)
HISTORY_IP = Topic(
    name="history.ip",
    key="ip",
    writers=MappingProxyType({}),
    readers=(FRAUD,),
    raw_writers=(FRAUD,),
    retention_ms=None,
    description="Changelog of the ip histories, partition for partition beside relay.by-ip.",
)

TOPICS: tuple[Topic, ...] = (
    CUSTOMER_EVENTS,
    RELAY_BY_DEVICE,
    RELAY_BY_IP,
    FRAUD_VERDICTS,
    DELIVERY_EVENTS,
    RECONCILIATION_FINDINGS,
    DEAD_LETTERS,
    HISTORY_CUSTOMER,
    HISTORY_DEVICE,
    HISTORY_IP,
)

ARCHIVED: tuple[Topic, ...] = (
    CUSTOMER_EVENTS,
    RELAY_BY_DEVICE,
    RELAY_BY_IP,
    FRAUD_VERDICTS,
    DELIVERY_EVENTS,
)
"""The topics that land_events copies into the lake, causes before their effects."""
