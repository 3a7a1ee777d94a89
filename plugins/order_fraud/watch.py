"""The watch over orders that wait for a verdict: what is remembered of one partition, and what is overdue.

Three topics tell it what happens, and in whatever order they are read, the memory ends up the same:

=================  ==================================================================================
customer.events    an order came in: it waits
fraud.verdicts     it is answered: forgotten
dead-letters       its record was refused: it goes on waiting, for a reason that is now known; unless
                   the record was a *repeat* of an order that had come in before: then it never waited
=================  ==================================================================================

A record that is refused counts all the same: nobody will judge it, and that is what the watch is to find. A repeat
does not, and only the fraud service can tell one from an order: the watch forgets an order as soon as it is answered.

Entries are kept by name: ``order/<order_id>`` of an order; ``record/<offset>`` of a repeat whose refusal was read
before itself; ``read``, how far customer.events was read. Nothing here reads a clock; times are given, ms since 1970.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

import msgspec

from order_fraud.delivery import SOURCE
from order_fraud.events import EARLIEST, LATEST, NewOrder, Overdue, VerdictOverdue
from order_fraud.topics import CUSTOMER_EVENTS

FORGET_MS = CUSTOMER_EVENTS.retention_ms or 0
"""A reported order that still waits is forgotten when nobody could send its record again any more."""

MAX_REASON = 300
_QUOTED = re.compile("'.*'", re.DOTALL)
_MAX_ID = 200
_READ = "read"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A record may bear any time stamp that its sender liked; an event may not.
_EARLIEST_MS, _LATEST_MS = (int((limit - _EPOCH).total_seconds()) * 1000 for limit in (EARLIEST, LATEST))


class Waiting(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """An order without a verdict.

    Attributes:
        offset: of its first record on customer.events.
        since: that record's time stamp.
        read: the worker's clock when it read the record.
        time: the order's time as its sender wrote it.
        key: the record's; it should be the customer's id.
        refused: why the record was refused, empty if it was not, or not yet.
        reported: whether VerdictOverdue has been said.
    """

    offset: int
    since: int
    read: int
    time: str
    key: bytes | None
    refused: str = ""
    reported: bool = False


class Answered(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """An answer that was read (at ``read`` on the worker's clock) before what it answers."""

    read: int


class Read(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3):
    """How far customer.events was read: ``offset`` of the last record, and how many ``record/`` entries there are."""

    offset: int
    early: int = 0


Entry = Waiting | Answered | Read


class Entries(Protocol):
    """The memory of one partition: a dict, or anything that keeps entries as well."""

    def get(self, name: str, /) -> Entry | None:
        """Return what is remembered under a name."""

    def __setitem__(self, name: str, entry: Entry, /) -> None: ...

    def __delitem__(self, name: str, /) -> None: ...

    def items(self) -> Iterable[tuple[str, Entry]]:
        """Return all that is remembered."""


Record = tuple[bytes | None, bytes | None, int, int]
"""Key, value, offset and time stamp (ms) of a Kafka record."""


class Look(NamedTuple):
    """What looking at the waiting orders brought: alarms, when the next look can bring more, and if entries changed."""

    overdue: list[VerdictOverdue]
    next_at: int
    changed: bool


class _Light(msgspec.Struct, gc=False):
    """As much of an event as the watch needs; it runs over every order, so it reads nothing else."""

    type: str
    subject: str
    time: Any = None  # a wrong one must not hide the order


_light = msgspec.json.Decoder(_Light).decode
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Entry] = msgspec.msgpack.Decoder(Entry)
_ORDER = NewOrder.__name__


def pack(entry: Entry) -> bytes:
    """Return an entry as the changelog keeps it."""
    return _encoder.encode(entry)


def unpack(value: bytes) -> Entry:
    """Return the entry that :func:`pack` wrote.

    Raises:
        msgspec.DecodeError: ``value`` is something else.
    """
    return _decoder.decode(value)


def came_in(entries: Entries, records: Iterable[Record], now: int) -> None:
    """Take note of records of customer.events, in the order of their offsets; what names no order is passed over.

    Args:
        entries: of the records' partition.
        records: key, value, offset and time stamp (ms) of each.
        now: the worker's clock.
    """
    get = entries.get
    read = get(_READ)
    offset, early = (read.offset, read.early) if type(read) is Read else (-1, 0)
    for key, value, offset, since in records:
        order = _order(value)
        if order is None:
            continue
        if early and get(repeated := f"record/{offset}") is not None:
            del entries[repeated]
            early -= 1
            continue
        name = "order/" + order.subject
        if get(name) is None:
            time = order.time
            entries[name] = Waiting(offset, since, now, time if type(time) is str else "", key)
    entries[_READ] = Read(offset, early)


def answered(entries: Entries, order_id: str, since: int, now: int) -> None:
    """Take note of a verdict.

    Args:
        entries: of the verdict's partition.
        order_id: what it is about.
        since: its record's time stamp, which the hops pass on from the order's own record.
        now: the worker's clock.
    """
    name = f"order/{order_id}"
    known = entries.get(name)
    if type(known) is Waiting and known.since == since:
        del entries[name]
    elif type(known) is not Answered:  # to a record that was not read yet: the order's first, or its repaired one
        entries[name] = Answered(now)


def refused(entries: Entries, value: bytes | None, offset: int, reason: str, now: int) -> None:
    """Take note that a record of customer.events was set aside.

    Args:
        entries: of the partition that the record stood on.
        value: of the record.
        offset: of the record.
        reason: that the fraud service gave.
        now: the worker's clock.
    """
    order = _order(value)
    if order is None:
        return
    is_repeat = reason == repeat(order.subject)
    read = entries.get(_READ)
    last, early = (read.offset, read.early) if type(read) is Read else (-1, 0)
    if offset > last:
        if is_repeat:
            entries[f"record/{offset}"] = Answered(now)
            entries[_READ] = Read(last, early + 1)
        return
    name = f"order/{order.subject}"
    known = entries.get(name)
    if type(known) is not Waiting or known.offset != offset:
        return
    if is_repeat:
        del entries[name]
    elif not known.refused:
        # A reason may quote the record, and the record may hold anything: an event travels further than a dead letter.
        entries[name] = msgspec.structs.replace(known, refused=_QUOTED.sub("'…'", reason)[:MAX_REASON])


def repeat(order_id: str) -> str:
    """Return the reason with which the fraud service refuses an order that it has had before, whole and exact.

    An id may hold any words, so no part of a reason would do.
    """
    return f"order/{order_id} is a repeat: this customer's history has that order already"


def look(entries: Entries, partition: int, now: int, since: int, longer_than_s: float) -> Look:
    """Return what is overdue, and take note that it was said.

    Call it only when nothing of the three topics is unread on this partition: then no answer is on its way to us.

    Args:
        entries: of the partition.
        partition: its number, for the alarm's words.
        now: the worker's clock.
        since: the moment at which this worker had read all three topics to their end. Waiting counts from it, or from
            the moment at which the order was read, whichever is later: the time in which the worker was down or behind
            is no order's fault.
        longer_than_s: how long an order may wait.
    """
    patience = int(longer_than_s * 1000)
    next_at = now + patience
    overdue = []
    changed = False
    for name, entry in list(entries.items()):
        if type(entry) is Read:
            continue
        limit = FORGET_MS if type(entry) is Waiting and entry.reported else patience
        until = max(entry.read, since) + limit  # type: ignore[union-attr]  # Read was left out above
        if now <= until:
            next_at = min(next_at, until + 1)
            continue
        changed = True
        if type(entry) is Waiting and not entry.reported:
            overdue.append(_overdue(name.removeprefix("order/"), entry, partition, longer_than_s))
            entries[name] = msgspec.structs.replace(entry, reported=True)
        else:  # reported long ago, or an answer read before its order, which must have been read by now
            del entries[name]
            read = entries.get(_READ)
            if type(read) is Read and name.startswith("record/"):
                entries[_READ] = Read(read.offset, read.early - 1)
    return Look(overdue, next_at, changed)


def _overdue(order_id: str, order: Waiting, partition: int, longer_than_s: float) -> VerdictOverdue:
    since = _EPOCH + timedelta(milliseconds=min(max(order.since, _EARLIEST_MS), _LATEST_MS - 1))
    return VerdictOverdue(
        id=f"delivery/{order_id}/overdue",
        source=SOURCE,
        subject=order_id,
        time=_time(order.time) or since,
        data=Overdue(
            order_id=order_id,
            customer_id=_id_of(order.key),
            record=f"{CUSTOMER_EVENTS.name}, partition {partition}, offset {order.offset}",
            since=since,
            longer_than_s=longer_than_s,
            refused=order.refused or None,
        ),
    )


def _order(value: bytes | None) -> _Light | None:
    if not value:
        return None
    try:
        event = _light(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if event.type != _ORDER or not 1 <= len(event.subject) <= _MAX_ID:
        return None
    return event


def _id_of(key: bytes | None) -> str | None:
    try:
        text = (key or b"").decode()
    except UnicodeDecodeError:
        return None
    return text if 1 <= len(text) <= _MAX_ID else None


def _time(text: str) -> datetime | None:
    """Return the order's time if it is one that an event may have."""
    try:
        time = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return None
    return time if time.tzinfo is UTC and EARLIEST <= time < LATEST else None
