"""The delivery service's watchdog: says ``VerdictOverdue`` of orders that have been without a verdict for too long.

The thinking is in :mod:`order_fraud.watch`; here are the clock, the table (changelog ``delivery.watch``) and the three
topics it reads. They have the same number of partitions and the same key, and the group assigns by range, so the worker
that has a partition of one has that of all three.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Message

from order_fraud import watch
from order_fraud.events import VerdictOverdue, encode
from order_fraud.topics import CUSTOMER_EVENTS, DEAD_LETTERS, DELIVERY_EVENTS, DELIVERY_WATCH, FRAUD_VERDICTS
from streams.batch import Batch
from streams.state import Codec, Spec, Table

Place = tuple[str, int]
SPEC = Spec(DELIVERY_WATCH.name, CUSTOMER_EVENTS.name, Codec(watch.pack, watch.unpack))
TOPICS = (CUSTOMER_EVENTS.name, FRAUD_VERDICTS.name, DEAD_LETTERS.name)


def now_ms() -> int:
    """Return the worker's clock."""
    return time.time_ns() // 1_000_000


def note_orders(batch: Batch, entries: Table[watch.Entry]) -> None:
    """Take note of the orders that came in."""
    batch.keep(entries)
    records = ((one.key(), one.value(), one.offset() or 0, one.timestamp()[1]) for one in batch.records)
    watch.came_in(entries, records, now_ms())


def note_refusals(batch: Batch, entries: Table[watch.Entry]) -> None:
    """Take note of the records of customer.events that were set aside.

    What is no such dead letter is passed over: setting it aside would make another dead letter, and so on for ever.
    """
    batch.keep(entries)
    now = now_ms()
    for record in batch.records:
        said = _said(record)
        origin = said.get("topic"), said.get("partition")
        if origin == (CUSTOMER_EVENTS.name, str(batch.partition)) and (offset := said.get("offset", "")).isdecimal():
            watch.refused(entries, record.value(), int(offset), said.get("reason", ""), now)


def _said(letter: Message) -> dict[str, str]:
    headers: Any = letter.headers() or ()
    return {name: (value or b"").decode(errors="replace") for name, value in headers}


@dataclass
class _Partition:
    """How far one partition of the three topics has been read.

    Attributes:
        entries: its table; another one after the partition has been away.
        mark: a moment, and where the three topics ended then.
        read_to: all that was there at that moment has been read.
        since: the first moment at which there was such a moment.
        next_at: no order can be overdue before; left alone when something changed, lest it be aborted.
    """

    entries: Table[watch.Entry]
    mark: tuple[int, Mapping[str, int]] | None = None
    read_to: int = 0
    since: int = 0
    next_at: int = 0

    def move(self, now: int, positions: Mapping[str, tuple[int, int]]) -> None:
        """See how far the reading has come: what stood there at the last mark is read if we are beyond it.

        Being beyond all that is there *now* is too much to ask for: under load, something always has just been written.
        """
        if self.mark is None or all(positions[topic][0] >= end for topic, end in self.mark[1].items()):
            if self.mark is not None:
                self.read_to = self.mark[0]
                self.since = self.since or now
            self.mark = now, {topic: end for topic, (_, end) in positions.items()}


class Watchdog:
    """Looks about once a second whether an order is overdue.

    Args:
        overdue_s: how long an order may be without a verdict.
        table: gives the table of a partition that is ours.
        empty_batch: makes a batch that no record has caused.
    """

    def __init__(
        self,
        overdue_s: float,
        table: Callable[[int], Table[watch.Entry]],
        empty_batch: Callable[[str, int], Batch],
    ) -> None:
        self._overdue_s = overdue_s
        self._table = table
        self._empty_batch = empty_batch
        self._partitions: dict[int, _Partition] = {}

    def tick(self, now: int, positions: Mapping[Place, tuple[int, int]]) -> list[Batch]:
        """Return the batches in which overdue orders are reported, to be committed like any other."""
        ours = [n for n in range(CUSTOMER_EVENTS.partitions) if all((topic, n) in positions for topic in TOPICS)]
        self._partitions = {n: self._partition(n) for n in ours}
        batches = []
        for n, partition in self._partitions.items():
            partition.move(now, {topic: positions[topic, n] for topic in TOPICS})
            if partition.since and partition.read_to >= partition.next_at:
                batches += self._look(n, partition, now)
        return batches

    def _partition(self, number: int) -> _Partition:
        entries = self._table(number)
        known = self._partitions.get(number)
        return known if known is not None and known.entries is entries else _Partition(entries)

    def _look(self, number: int, partition: _Partition, now: int) -> list[Batch]:
        entries = partition.entries
        found = watch.look(entries, number, partition.read_to, partition.since, self._overdue_s)
        if not found.changed:
            partition.next_at = found.next_at
            return []
        batch = self._empty_batch(CUSTOMER_EVENTS.name, number)
        batch.keep(entries)
        for alarm in found.overdue:
            batch.send(DELIVERY_EVENTS.name, _key(alarm), encode(alarm), now)
        return [batch]


def _key(alarm: VerdictOverdue) -> str:
    return alarm.data.customer_id or alarm.data.order_id
