"""Where each input partition goes on, told by the log itself.

The group's coordinator says so, too, and is what refuses a worker that has been given up on. But its answer comes from
its memory, and a broker that was killed and is back at once may answer before it has read its log to the end: Kafka's
``CoordinatorRuntime`` takes the end of an earlier load, begun before the broker was registered anew, for the end of the
load under way (seen with 4.1.1; the code is the same up to 4.3.1). Offsets are then old ones, or missing altogether,
and orders would be decided twice. So every transaction writes the offsets here as well, as ordinary records: what a
worker reads back, read_committed, is as old as the state that it restores, and no older. To be dropped when a
coordinator answers nobody before it has read its log to the end.
"""

from collections.abc import Iterable
from typing import cast

from confluent_kafka import Message

from kafka_access import Brokers
from order_fraud.topics import STREAM_POSITIONS
from streams.batch import NOW, Batch, Send
from streams.state.restore import Place, replay, spans
from streams.state.spec import Unreadable


def position(group: str, batch: Batch) -> Send:
    """Return the record that says where a batch's partition goes on once the batch is committed."""
    place = batch.topic, batch.partition
    return STREAM_POSITIONS.name, str(batch.next_offset).encode(), _key(group, place), _home(place), NOW, {}


def read_positions(brokers: Brokers, group: str, places: Iterable[Place]) -> dict[Place, int]:
    """Return where partitions go on, as far as a transaction has ever said so.

    Waits for the transactions that are open on the positions of these partitions.

    Raises:
        TimeoutError: no progress; the message names the partitions.
        KafkaException: the broker refuses.
        Unreadable: a record is no position; the message names it and the remedy.
    """
    wanted = set(places)
    told = {(STREAM_POSITIONS.name, home): _Told() for home in {_home(place) for place in wanted}}
    replay(brokers, told, spans(brokers, told), lambda records, partitions_to_go: None)
    found = {}
    for place in wanted:
        record = told[STREAM_POSITIONS.name, _home(place)].last.get(_key(group, place))
        if record is not None:
            found[place] = _offset(record)
    return found


class _Told:
    """The last record of each key of one partition."""

    def __init__(self) -> None:
        self.last: dict[bytes | None, Message] = {}

    def load(self, records: Iterable[Message]) -> None:
        """Take records in offset order."""
        self.last.update((record.key(), record) for record in records)


def _key(group: str, place: Place) -> bytes:
    topic, partition = place
    return f"{group}/{topic}/{partition}".encode()


def _home(place: Place) -> int:
    return place[1] % STREAM_POSITIONS.partitions


def _offset(record: Message) -> int:
    value = record.value() or b""
    if not value.isdigit():
        raise Unreadable(
            f"{STREAM_POSITIONS.name}/{record.partition()}, offset {record.offset()}: {value[:40]!r} is no offset. "
            f"Nobody but the workers may write there; write a record with the key {cast(bytes, record.key())!r} and "
            "the offset that is to be read next"
        )
    return int(value)
