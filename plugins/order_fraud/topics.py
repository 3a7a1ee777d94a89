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

MAX_MESSAGE_BYTES = 1024 * 1024
"""The longest record batch that a topic takes, as the producer compressed it."""


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
        max_message_bytes: the longest record batch that the broker takes, as it comes over the wire.
        raw_writers: the services whose records on this topic are no events (dead letters, changelogs).
        settings: further settings of the broker for this topic.
    """

    name: str
    key: str
    writers: Mapping[type[Event], str]
    readers: tuple[str, ...]
    description: str
    partitions: int = PARTITIONS
    retention_ms: int | None = 30 * DAY_MS
    max_message_bytes: int = MAX_MESSAGE_BYTES
    raw_writers: tuple[str, ...] = ()
    settings: Mapping[str, str] = MappingProxyType({})

    @property
    def compacted(self) -> bool:
        """Whether the topic keeps the last record of each key for ever."""
        return self.retention_ms is None

    @property
    def config(self) -> dict[str, str]:
        """The broker's settings for this topic."""
        limit = {"max.message.bytes": str(self.max_message_bytes)}
        if self.retention_ms is None:
            return COMPACTED | limit | dict(self.settings)
        return {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)} | limit | dict(self.settings)


COMPACTED = {
    "cleanup.policy": "compact",
    # The newest segment is never compacted, and is a week or a gigabyte of changes unless told otherwise ...
    "segment.ms": str(60 * 60 * 1000),
    # ... and the others not before half of what they hold is outdated: a restore reads all of that.
    "min.cleanable.dirty.ratio": "0.1",
    # A deletion is told of for this long: files of a worker that was away for less can be brought up to date.
    "delete.retention.ms": str(7 * DAY_MS),
}
"""The broker's settings for a compacted topic."""

SHOP = "shop producer"
FRAUD = "fraud service"
DELIVERY = "delivery service"
RECONCILE = "reconcile_orders DAG"
SETTLE = "settle_fraud DAG"
LANDING = "land_events DAG"
HINTS = "reconcile_on_hint DAG"
REPLAY = "replay producer"
REVIEW = "review desk"
PAYMENTS = "payments webhook"
POLICY = "policy publisher"
SERVICES = (SHOP, REVIEW, PAYMENTS, POLICY, FRAUD, DELIVERY, RECONCILE, SETTLE, LANDING, HINTS, REPLAY)
"""All that read or write topics."""

_came_in: dict[type[Event], str] = {
    events.NewCustomer: SHOP,
    events.NewOrder: SHOP,
    events.FraudConfirmed: REVIEW,
    events.FraudCleared: REVIEW,
    events.ChargebackOpened: PAYMENTS,
}
_relayed: dict[type[Event], str] = dict.fromkeys(_came_in, FRAUD)

CUSTOMER_EVENTS = Topic(
    name="customer.events",
    key="customer_id",
    writers=MappingProxyType(_came_in),
    readers=(FRAUD, DELIVERY, LANDING),
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
RELAY_BY_CARD = Topic(
    name="relay.by-card",
    key="card",
    writers=MappingProxyType(_relayed),
    readers=(FRAUD, LANDING),
    description="The same events, stamped with the ip's signals too, on their way to the card histories.",
)
RELAY_BY_EMAIL_DOMAIN = Topic(
    name="relay.by-email-domain",
    key="email_domain",
    writers=MappingProxyType(_relayed),
    readers=(FRAUD, LANDING),
    description="The same events, stamped with the card's signals too, on their way to the e-mail domain histories.",
)
RELAY_BY_ADDRESS = Topic(
    name="relay.by-address",
    key="address",
    writers=MappingProxyType(_relayed),
    readers=(FRAUD, LANDING),
    description="The same events, stamped with the e-mail domain's signals too, on their way to the address histories.",
)
FRAUD_VERDICTS = Topic(
    name="fraud.verdicts",
    key="customer_id",
    writers=MappingProxyType({events.PossibleFraud: FRAUD, events.NoFraudDetected: FRAUD}),
    readers=(DELIVERY, LANDING, HINTS),
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
            events.VerdictOverdue: DELIVERY,
        }
    ),
    readers=(LANDING,),
    description="What the warehouse may do with each order, and which orders wait for a verdict for too long.",
)
RECONCILIATION_FINDINGS = Topic(
    name="reconciliation.findings",
    key="order_id",
    writers=MappingProxyType(
        {
            events.FindingRaised: RECONCILE,
            events.CorrectionRequested: RECONCILE,
            events.DeliveryStopRequested: SETTLE,
            events.DeliveryStopWithdrawn: SETTLE,
        }
    ),
    readers=(SHOP, DELIVERY, RECONCILE, SETTLE, HINTS),
    description="Findings of the batch half, the corrections that they ask for, and the parcels of frauds to stop.",
)
DEAD_LETTERS = Topic(
    name="dead-letters",
    key="the original key",
    writers=MappingProxyType({}),
    readers=(DELIVERY, REPLAY),
    raw_writers=(FRAUD, DELIVERY),
    max_message_bytes=2 * MAX_MESSAGE_BYTES,  # the longest record there may be, and its headers
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
HISTORY_CARD = Topic(
    name="history.card",
    key="card",
    writers=MappingProxyType({}),
    readers=(FRAUD,),
    raw_writers=(FRAUD,),
    retention_ms=None,
    description="Changelog of the card histories, partition for partition beside relay.by-card.",
)
HISTORY_EMAIL_DOMAIN = Topic(
    name="history.email-domain",
    key="email_domain",
    writers=MappingProxyType({}),
    readers=(FRAUD,),
    raw_writers=(FRAUD,),
    retention_ms=None,
    description="Changelog of the email domain histories, partition for partition beside relay.by-email-domain.",
)
HISTORY_ADDRESS = Topic(
    name="history.address",
    key="address",
    writers=MappingProxyType({}),
    readers=(FRAUD,),
    raw_writers=(FRAUD,),
    retention_ms=None,
    description="Changelog of the address histories, partition for partition beside relay.by-address.",
)
FRAUD_POLICIES = Topic(
    name="fraud.policies",
    key="policy/<version>, or active",
    writers=MappingProxyType({events.PolicyPublished: POLICY, events.PolicyActivated: POLICY}),
    readers=(FRAUD, LANDING, POLICY),
    partitions=1,
    retention_ms=None,
    description="Every scorecard ever published, and which of them judge now.",
)
DELIVERY_WATCH = Topic(
    name="delivery.watch",
    key="order/<order_id>, and the watch's own marks",
    writers=MappingProxyType({}),
    readers=(DELIVERY,),
    raw_writers=(DELIVERY,),
    retention_ms=None,
    description="Changelog of the orders that wait for a verdict, partition for partition beside customer.events.",
)
STREAM_POSITIONS = Topic(
    name="stream.positions",
    key="<consumer group>/<input topic>/<partition>",
    writers=MappingProxyType({}),
    readers=(FRAUD, DELIVERY),
    raw_writers=(FRAUD, DELIVERY),
    retention_ms=None,
    # A record and a mark per partition and commit, of which a worker that starts wants the last ones only.
    settings=MappingProxyType({"segment.bytes": str(1024 * 1024), "delete.retention.ms": str(60 * 1000)}),
    description="Where each input partition goes on, written in the transaction that got it there.",
)
REPLAYS = Topic(
    name="replays",
    key="place of the record that was sent again, and the topic that it was sent to",
    writers=MappingProxyType({}),
    readers=(REPLAY,),
    raw_writers=(REPLAY,),
    partitions=1,
    retention_ms=None,
    description="What was sent again, so that nothing is sent again twice by accident.",
)

TOPICS: tuple[Topic, ...] = (
    CUSTOMER_EVENTS,
    RELAY_BY_DEVICE,
    RELAY_BY_IP,
    RELAY_BY_CARD,
    RELAY_BY_EMAIL_DOMAIN,
    RELAY_BY_ADDRESS,
    FRAUD_VERDICTS,
    DELIVERY_EVENTS,
    RECONCILIATION_FINDINGS,
    DEAD_LETTERS,
    HISTORY_CUSTOMER,
    HISTORY_DEVICE,
    HISTORY_IP,
    HISTORY_CARD,
    HISTORY_EMAIL_DOMAIN,
    HISTORY_ADDRESS,
    FRAUD_POLICIES,
    DELIVERY_WATCH,
    STREAM_POSITIONS,
    REPLAYS,
)

ARCHIVED: tuple[Topic, ...] = (
    FRAUD_POLICIES,
    CUSTOMER_EVENTS,
    RELAY_BY_DEVICE,
    RELAY_BY_IP,
    RELAY_BY_CARD,
    RELAY_BY_EMAIL_DOMAIN,
    RELAY_BY_ADDRESS,
    FRAUD_VERDICTS,
    DELIVERY_EVENTS,
)
"""The topics that land_events copies into the lake, causes before their effects. A scorecard is a cause of
verdicts, and nothing that is archived is a cause of it."""
