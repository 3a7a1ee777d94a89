"""From Kafka records to columns: decode, check, mask, encode again. No network here."""

import hashlib
from typing import Protocol

import msgspec
import pyarrow as pa

from lake.landing.quarantine import Rejected
from lake.masking import Masker
from lake.redaction import redacted, without_quotes
from order_fraud import events
from order_fraud.events import AnyEvent, BadEvent, PolicyPublished
from order_fraud.topics import Topic

_PERSONAL = ("ip", "card", "email_domain", "by")
"""Fields of events that hold personal data, or would if their sender did not keep to the contract."""


class Record(Protocol):
    """What a Kafka client hands over (the part of ``confluent_kafka.Message`` that is used)."""

    def partition(self) -> int: ...
    def offset(self) -> int: ...
    def timestamp(self) -> tuple[int, int]: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...


class Batch:
    """Collects the records of one topic column by column, and those that cannot be used beside them."""

    def __init__(self, topic: Topic, mask: Masker) -> None:
        self._topic = topic
        self._mask = mask
        self._types = tuple(topic.writers)
        self._keyed_by = topic.key
        self._columns: tuple[list, ...] = tuple([] for _ in range(9))
        self.rejected: list[Rejected] = []

    def __len__(self) -> int:
        return len(self._columns[0])

    def add(self, record: Record) -> None:
        """Take one record: as a row if it holds an event of this topic, else as a rejected one."""
        value = record.value()
        try:
            event = events.decode(value)
            if not isinstance(event, self._types):
                raise BadEvent(f"{type(event).__name__} has no business on {self._topic.name}")
        except BadEvent as error:
            self.rejected.append(self._reject(record, value or b"", str(error)))
            return
        partition, offset, timestamp, key, kind, event_id, subject, time, body = self._columns
        partition.append(record.partition())
        offset.append(record.offset())
        timestamp.append(record.timestamp()[1])
        key.append(self._key(record.key()))
        kind.append(type(event).__name__)
        event_id.append(event.id)
        subject.append(event.subject)
        time.append(event.time)
        body.append(self._masked(event))

    def _key(self, key: bytes | None) -> str | None:
        if key is None:
            return None
        text = key.decode(errors="replace")
        return self._mask.entity(self._keyed_by, text)

    def _masked(self, event: AnyEvent) -> bytes:
        """The canonical JSON of the event, its ips masked; the bytes that came may be written in another way.

        Whatever has an ip is masked, be it an order, a sign-up or word of what an order was; so are the ips on the
        lists of a scorecard: masked orders must meet masked lists, or they would be judged in another way. Cards
        and addresses land as they are, because senders give fingerprints of them and never the thing itself; where
        that can be seen not to be so, they are masked as well (:meth:`lake.masking.Masker.entity`).
        """
        # The event was decoded here and is seen by nobody else; two copies of it would cost more than all the rest.
        data = event.data
        if isinstance(event, PolicyPublished):
            msgspec.structs.force_setattr(event, "data", self._mask.scorecard(event.data))
        else:
            for name in _PERSONAL:
                value = getattr(data, name, None)
                if value is not None and (masked := self._mask.entity(name, value)) is not value:
                    msgspec.structs.force_setattr(data, name, masked)
        return events.encode(event)

    def _reject(self, record: Record, value: bytes, reason: str) -> Rejected:
        where = f"{self._topic.name}/{record.partition()}/{record.offset()}"
        kept = {"length": len(value), "sha256": hashlib.sha256(value).hexdigest()}
        return Rejected(
            row_id=where,
            day=None,
            reason=redacted(without_quotes(reason)),  # it may quote the record, and the record may hold anything
            expectation="is an event of its topic",
            origin=where,
            row=msgspec.json.encode(kept).decode(),
        )

    def to_arrow(self, schema: pa.Schema) -> pa.Table:
        """Return the rows under the schema of the table that archives the topic, in the order of their offsets."""
        partition, offset, timestamp, key, kind, event_id, subject, time, body = self._columns
        at = pa.array(time, pa.timestamp("us", "UTC"))
        columns = {
            "partition": pa.array(partition, pa.int32()),
            "offset": pa.array(offset, pa.int64()),
            "timestamp": pa.array(timestamp, pa.timestamp("ms", "UTC")),
            "key": key,
            "type": kind,
            "event_id": event_id,
            "subject": subject,
            "time": at,
            "day": at.cast(pa.date32()),
            "value": pa.array(body, pa.binary()).cast(pa.string()),
        }
        arrays = [_as(columns[field.name], field.type) for field in schema]
        return pa.Table.from_arrays(arrays, schema=schema).sort_by(
            [("partition", "ascending"), ("offset", "ascending")]
        )


def _as(values: list | pa.Array, kind: pa.DataType) -> pa.Array:
    return values.cast(kind) if isinstance(values, pa.Array) else pa.array(values, kind)
