"""What each service may do on Kafka, and no more: the registry of topics, said as rights.

The single writer of a topic is the only one with the right to write to it. ACLs, IAM policies, the start-up checks of
the services and ``docs/msk.md`` come from here (``python -m streams.acls``).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from order_fraud.topics import (
    CUSTOMER_EVENTS,
    DELIVERY,
    FRAUD,
    HINTS,
    LANDING,
    PAYMENTS,
    POLICY,
    RECONCILE,
    REPLAY,
    REVIEW,
    SETTLE,
    SHOP,
    TOPICS,
    Topic,
)

Kind = Literal["topic", "group", "transactional_id"]
Operation = Literal["read", "write", "describe", "describe_configs"]

GROUP = "countersign"
"""Consumer group of the workers unless they are told another; also the first part of their transactional ids."""

TRANSACTIONAL_IDS: Mapping[str, str] = MappingProxyType(
    {POLICY: "policy-publisher", RECONCILE: "reconcile-orders", SETTLE: "settle-fraud", REPLAY: "countersign-replay"}
)
"""The lasting transactional id of each service that writes in transactions and is no stream worker."""

READING_GROUPS: Mapping[str, str] = MappingProxyType(
    {
        SHOP: "countersign-restream",
        REPLAY: "countersign-replay",
        POLICY: "land_events",
        RECONCILE: "land_events",
        SETTLE: "land_events",
        LANDING: "land_events",
        HINTS: "countersign-hints",
    }
)
"""The group.id of those who assign partitions by hand: librdkafka wants one and asks for its coordinator, and nobody
joins."""

POLICY_FEED_GROUP = "countersign-policies"
RESTORE_GROUP = "countersign-restore"


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """What may be done with one thing.

    Attributes:
        kind: of the thing.
        name: of the thing, or how its name begins.
        operations: that are allowed, sorted.
        prefixed: whether ``name`` is only the beginning.
    """

    kind: Kind
    name: str
    operations: tuple[Operation, ...]
    prefixed: bool = False


ROLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "shop": (SHOP,),
        "feedback": (REVIEW, PAYMENTS),
        "worker": (FRAUD, DELIVERY),
        "landing": (LANDING,),
        "hints": (HINTS,),
        "reconcile": (RECONCILE,),
        "settle": (SETTLE,),
        "policies": (POLICY,),
        "replay": (REPLAY,),
    }
)
"""Who has a name of his own on Kafka, and which services that is: a stream worker runs two in one process, and
producers.feedback speaks for the review desk and the payment provider."""

RARE_ROLES: Mapping[str, tuple[str, ...]] = MappingProxyType({"fraud": (FRAUD,), "delivery": (DELIVERY,)})
"""Workers that run one service each (``COUNTERSIGN_SERVICES``), each under a group of its own."""


def rights(services: Iterable[str], group: str = GROUP) -> list[Right]:
    """Return the rights of services of the registry, those of all of them together.

    Args:
        services: names of the registry (``order_fraud.topics.SERVICES``).
        group: of the stream workers.
    """
    found: dict[tuple[Kind, str, bool], set[Operation]] = defaultdict(set)
    for service in services:
        for topic in TOPICS:
            if operations := _on(topic, service):
                found["topic", topic.name, False] |= operations
        if service in (FRAUD, DELIVERY):
            found["group", group, False].add("read")
            found["group", RESTORE_GROUP, False].add("describe")
            found["transactional_id", f"{group}/", True].add("write")
        if service == FRAUD:
            found["group", POLICY_FEED_GROUP, False].add("describe")
        if service in READING_GROUPS:
            found["group", READING_GROUPS[service], False].add("describe")
        if service in TRANSACTIONAL_IDS:
            found["transactional_id", TRANSACTIONAL_IDS[service], False].add("write")
    return sorted(Right(*thing[:2], tuple(sorted(operations)), thing[2]) for thing, operations in found.items())


def topics(services: Iterable[str]) -> dict[str, tuple[Operation, ...]]:
    """Return what services do with each topic, by its name: what a start-up check asks for."""
    return {right.name: right.operations for right in rights(services) if right.kind == "topic"}


def _on(topic: Topic, service: str) -> set[Operation]:
    operations: set[Operation] = set()
    if service in topic.readers:
        operations.add("read")
    if service in topic.writers.values() or service in topic.raw_writers:
        operations.add("write")
    if service == REPLAY and topic is CUSTOMER_EVENTS:
        # Dead letters of the other topics are the exception, and to write there is to speak in another service's name:
        # whoever has to, is given that right for as long as it takes.
        operations.add("write")
    if operations and topic.compacted and topic.raw_writers in ((FRAUD,), (DELIVERY,)):
        operations.add("describe_configs")  # files of RocksDB go by delete.retention.ms of the changelog
    return operations
