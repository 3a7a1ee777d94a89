"""Counts what the streams said, from outside: reads the verdict and delivery topics read_committed, id by id."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from kafka_access import Brokers, client
from order_fraud.events import DeliveryHeld, DeliveryReleased, NoFraudDetected, PossibleFraud, Verdict, decode
from order_fraud.topics import DELIVERY_EVENTS, FRAUD_VERDICTS, Topic

QUIET_S = 20.0
"""Without a new verdict for so long, an order without one will not get one."""


@dataclass
class Tally:
    """What was read so far, by order id."""

    verdicts: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    suspects: set[str] = field(default_factory=set)
    cleared: set[str] = field(default_factory=set)
    released: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    customers: dict[str, str] = field(default_factory=dict)
    said: dict[str, Verdict] = field(default_factory=dict)
    came_in: dict[str, int] = field(default_factory=dict)
    """When each order came in, ms since 1970: its verdict's record bears that time."""

    def take(self, value: bytes | None, stamp: int) -> None:
        """Count one record; ``stamp`` is its time, ms since 1970."""
        event = decode(value)
        order_id = event.subject
        if isinstance(event, NoFraudDetected | PossibleFraud):
            self.verdicts[order_id] += 1
            self.outcomes[type(event).__name__] += 1
            self.customers[order_id] = event.data.customer_id
            self.said[order_id], self.came_in[order_id] = event.data, stamp
            (self.suspects if isinstance(event, PossibleFraud) else self.cleared).add(order_id)
        elif isinstance(event, DeliveryReleased):
            self.released[order_id] += 1
        elif isinstance(event, DeliveryHeld):
            self.held[order_id] += 1

    @property
    def released_without_clearance(self) -> int:
        """Orders that were released although no ``NoFraudDetected`` says so."""
        return len(set(self.released) - self.cleared)


def follow(
    bootstrap: Brokers,
    orders: Iterable[str],
    watch: Callable[[], None],
    progress: Callable[[int], None],
    quiet_s: float = QUIET_S,
) -> Tally:
    """Read both topics from their start until every order has a verdict and a delivery event, or nothing more comes.

    Args:
        bootstrap: the broker.
        orders: ids of the orders that were sent.
        watch: called while waiting; raises if waiting has become pointless.
        progress: told how many of the orders have a verdict.
        quiet_s: after so many seconds without a record nothing more is waited for.

    Raises:
        KafkaException: the broker refuses.
    """
    wanted = set(orders)
    tally = Tally()
    consumer = Consumer(
        client(bootstrap)
        | {
            "group.id": "countersign-demo",  # required by librdkafka, never joined
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    try:
        consumer.assign([place for topic in (FRAUD_VERDICTS, DELIVERY_EVENTS) for place in _places(topic)])
        last = time.monotonic()
        done = False
        while not done and time.monotonic() - last < quiet_s:
            watch()
            messages = consumer.consume(10_000, 0.5)
            for message in messages:
                if (error := message.error()) is not None:
                    raise KafkaException(error)
                tally.take(message.value(), message.timestamp()[1])
            if messages:
                last = time.monotonic()
                progress(len(wanted & tally.verdicts.keys()))
            # Ended only on a silent poll: a second verdict, or an event too many, would come right behind.
            done = (
                not messages and wanted <= tally.verdicts.keys() and wanted <= tally.released.keys() | tally.held.keys()
            )
    finally:
        consumer.close()
    return tally


def _places(topic: Topic) -> list[TopicPartition]:
    return [TopicPartition(topic.name, partition, OFFSET_BEGINNING) for partition in range(topic.partitions)]
