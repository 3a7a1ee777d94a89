"""Lands one Kafka topic: everything committed since the last landing, up to the end given or the one it has now.

1. Load the table; its newest landing snapshot says the next offset of every partition.
2. Ask the broker how far each partition reaches: its retained start and its last stable offset. That is the bound.
3. Refuse a gap: data lost to retention, or another topic under the old name.
4. Read the range with read_committed, without a consumer group; decode, mask.
5. Set aside what is no event (idempotent), then append rows and offsets in one commit.

A crash anywhere before the commit leaves nothing but quarantine rows, which the next run recognises. Two landings of
the same topic at once cannot double rows: the commit of the slower one fails (:class:`lake.landing.progress.Conflict`).
"""

import logging
from collections.abc import Mapping
from time import monotonic

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from kafka_access import Brokers
from lake import tables
from lake.errors import Hopeless
from lake.landing import broker
from lake.landing.broker import Bounds
from lake.landing.progress import OFFSET, RUN_ID, TOPIC_ID, Landed, committing, latest
from lake.landing.quarantine import set_aside
from lake.landing.records import Batch
from lake.masking import Masker
from order_fraud.topics import Topic

log = logging.getLogger(__name__)

ROWS_PER_COMMIT = 250_000
"""Bounds the memory of a landing (about 1 kB a row) and the work that a crash can cost."""
CONSUME = 5_000
STALL_S = 60.0
"""Without any record for so long, though the broker has promised some, the landing gives up."""
PROGRESS_S = 5.0


class OffsetGap(Hopeless):
    """The table's next offset is not in the topic any more, so that landing would leave a hole or mix two topics."""


class LandingStalled(RuntimeError):
    """The broker has records in the range asked for, but does not hand them out."""


def land_topic(
    catalog: Catalog,
    topic: Topic,
    bootstrap: Brokers,
    mask: Masker,
    run_id: str,
    until: Mapping[int, int] | None = None,
) -> Landed:
    """Land ``topic`` up to its present end, or up to the offsets of ``until`` (per partition, exclusive) if earlier.

    Raises:
        OffsetGap: records between the table and the topic are gone, or the topic was made anew.
        Conflict: another landing of this topic committed meanwhile; running again is safe.
        LandingStalled: the broker stopped answering within the range.
    """
    begun = monotonic()
    spec = tables.records(topic)
    table = tables.ensure(catalog, spec)
    topic_id, partitions = broker.identity(bootstrap, topic)
    _same_topic(table, topic, topic_id)
    with broker.reader(bootstrap) as consumer:
        bounds = broker.bounds(consumer, topic, partitions)
        position = start(table, topic, bounds)
        bounds = _capped(bounds, position, until or {})
        rows = quarantined = 0
        while any(position[partition] < bounds[partition].end for partition in position):
            batch = Batch(topic, mask)
            position = _read(consumer, topic, position, bounds, batch)
            quarantined += set_aside(catalog, spec, batch.rejected, run_id)
            _append(table, batch, position, topic_id, run_id)
            rows += len(batch)
            log.info("%s: %d rows landed after %.1f s", topic.name, rows, monotonic() - begun)
        if table.current_snapshot() is None:  # an empty topic, landed for the first time: say that it was looked at
            _append(table, Batch(topic, mask), position, topic_id, run_id)
    return Landed(spec.name, rows, quarantined, round(monotonic() - begun, 3))


def _capped(bounds: dict[int, Bounds], position: Mapping[int, int], until: Mapping[int, int]) -> dict[int, Bounds]:
    """Return bounds that end at ``until``, but never before what has landed already."""
    return {
        partition: Bounds(bound.start, max(position[partition], min(bound.end, until.get(partition, bound.end))))
        for partition, bound in bounds.items()
    }


def _same_topic(table: Table, topic: Topic, topic_id: str) -> None:
    known = latest(table, TOPIC_ID).get("")
    if known not in (None, topic_id):
        raise OffsetGap(
            f"topic {topic.name} was deleted and made again since the last landing (its id was {known}, is "
            f"{topic_id}), "
            f"so the offsets in {'.'.join(table.name())} mean nothing in it. Drop or rename that table to land the "
            f"new topic"
        )


def start(table: Table, topic: Topic, bounds: dict[int, Bounds]) -> dict[int, int]:
    """Return the offset at which the landing goes on, per partition; a new table starts with what the topic still has.

    Raises:
        OffsetGap: as its docstring says.
    """
    known = {int(partition): int(offset) for partition, offset in latest(table, OFFSET).items()}
    if gone := known.keys() - bounds.keys():
        raise OffsetGap(f"topic {topic.name} has lost the partitions {sorted(gone)} since the last landing")
    begin = {}
    for partition, bound in bounds.items():
        offset = known.get(partition)
        if offset is None:
            if bound.start:
                log.warning(
                    "%s/%d starts at offset %d: what was before is not retained", topic.name, partition, bound.start
                )
            offset = bound.start
        elif offset < bound.start:
            raise OffsetGap(
                f"topic {topic.name}, partition {partition}: the broker's retention has removed the offsets "
                f"{offset} to "
                f"{bound.start - 1} before they landed. Land more often than retention.ms, restore the records, or "
                f"accept "
                f"the hole by setting {OFFSET}{partition} in a new snapshot of {'.'.join(table.name())}"
            )
        elif offset > bound.end:
            raise OffsetGap(
                f"topic {topic.name}, partition {partition}: {'.'.join(table.name())} has landed up to offset "
                f"{offset}, but "
                f"the partition ends at {bound.end}: the broker lost records, or this is another broker. Check "
                "COUNTERSIGN_KAFKA and COUNTERSIGN_CATALOG belong together"
            )
        begin[partition] = offset
    return begin


def _read(
    consumer: Consumer, topic: Topic, position: dict[int, int], bounds: dict[int, Bounds], batch: Batch
) -> dict[int, int]:
    """Fill ``batch`` from ``position`` on, and return the next offset of every partition."""
    reached = dict(position)
    open_ = {partition for partition, offset in position.items() if offset < bounds[partition].end}
    consumer.assign([TopicPartition(topic.name, partition, position[partition]) for partition in sorted(open_)])
    heard = reported = monotonic()
    while open_ and len(batch) + len(batch.rejected) < ROWS_PER_COMMIT:
        messages = consumer.consume(CONSUME, timeout=1.0)
        now = monotonic()
        if messages:
            heard = now
        elif now - heard > STALL_S:
            raise LandingStalled(
                f"topic {topic.name}: no record for {STALL_S:.0f} s, though partitions {sorted(open_)} end at "
                f"{[bounds[partition].end for partition in sorted(open_)]}: see the broker's log"
            )
        for message in messages:
            _take(message, bounds, reached, open_, batch)
        if now - reported > PROGRESS_S:
            reported = now
            log.info("%s: %d records read, %d partitions to go", topic.name, len(batch), len(open_))
    consumer.unassign()
    return reached


def _take(message: Message, bounds: dict[int, Bounds], reached: dict[int, int], open_: set[int], batch: Batch) -> None:
    partition, offset = message.partition(), message.offset()
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    if partition not in open_:
        return
    end = bounds[partition].end
    if error is None and offset < end:
        batch.add(message)
        reached[partition] = offset + 1
    if offset >= end - (error is None):
        # The end is reached, or passed over transaction markers: all before the bound has been seen.
        reached[partition] = end
        open_.discard(partition)


def _append(table: Table, batch: Batch, reached: dict[int, int], topic_id: str, run_id: str) -> None:
    properties = {f"{OFFSET}{partition}": str(offset) for partition, offset in reached.items()}
    with committing(table):
        table.append(batch.to_arrow(table.schema().as_arrow()), {**properties, TOPIC_ID: topic_id, RUN_ID: run_id})
