"""What the stream would have said, had everything come in in time.

A record bears the time at which its event came in, on every topic of its way (``streams.batch.Batch.send``). Of two
events of one entity, the one that came in later and is dated earlier is *late*, if it came in more than an allowance
after the other. The hop folded them as they came, which is right and reproducible. Here each entity that something
late belongs to is folded once more, by the kernel's own ``step``, with the late events where their dates put them and
all others as they were; what hops did side by side keeps its order, since nobody promised another one. An order whose
outcome comes out differently *would change*.

Usually nothing is late, and one look at customer.events says so. Only entities with something late are folded, and
only at hops whose signals some scorecard reads.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from lake.reconcile.panels import Panels
from lake.reconcile.parity import INPUT, Archive, Parity
from order_fraud import events, relay
from order_fraud.events import BadEvent, NewOrder, NoFraudDetected, PossibleFraud, Signals, Verdict
from order_fraud.relay import ROUTE, Hop, Shelf
from order_fraud.topics import CUSTOMER_EVENTS, FRAUD_VERDICTS

log = logging.getLogger(__name__)

_ARRIVALS = ("partition", "offset", "timestamp", "time", "event_id")
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ALSO_STAMPS = {"customer": "order"}
"""The signals of the order itself are stamped by the customer hop, which alone sees every order."""

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LateEvent:
    """An event that came in after an order although it is dated before it.

    Attributes:
        event_id: of the event; the order's own if the order itself was late.
        partition, offset: where it stands on customer.events.
        time: its date.
        came_in: when it came in.
        by: how long after the order; of the order itself, how long after what it should have come before.
    """

    event_id: str
    partition: int
    offset: int
    time: datetime
    came_in: datetime
    by: timedelta


@dataclass(frozen=True, slots=True)
class Changed:
    """An order whose outcome would be another.

    Attributes:
        was: the archived verdict.
        would: the verdict with everything in its place.
        late: what was late, the first to come in first.
    """

    order_id: str
    was: Verdict
    would: Verdict
    late: tuple[LateEvent, ...]


@dataclass(frozen=True, slots=True)
class _Entity:
    """The records of one entity at one hop, in offset order, and which of them are late.

    Attributes:
        hop: where.
        latest: the latest event time of the partition before each record, ms.
        allowance: see the module, ms.
        moved: indices of the late ones.
        before: of each late one (as in ``moved``), the index of the first record in time that it passed.
    """

    hop: Hop
    event_id: list[str]
    key: list[str]
    value: list[str]
    came_in: Integers
    time: Integers
    latest: Integers
    allowance: int
    moved: Integers
    before: Integers

    def sequence(self) -> list[int]:
        """Return all records with the late ones moved before what they passed, those by date."""
        index = np.arange(len(self.time))
        slot, in_time, date_ = index.copy(), np.ones(len(index), np.int64), np.zeros(len(index), np.int64)
        slot[self.moved], in_time[self.moved], date_[self.moved] = self.before, 0, self.time[self.moved]
        return [int(one) for one in np.lexsort((index, date_, in_time, slot))]

    def passed(self, late: Integers | int, other: Integers | int) -> NDArray[np.bool_]:
        """Whether ``late`` is dated before ``other`` and came in more than the allowance after it."""
        dated_before = self.time[late] < self.time[other]
        return np.asarray(dated_before & (self.came_in[other] < self.came_in[late] - self.allowance))

    def sees(self, orders: Integers) -> NDArray[np.bool_]:
        """Return which late records (columns, as in ``moved``) come before each order (rows) in its place."""
        late, order = self.moved[None, :], orders[:, None]
        return np.where(late < order, ~self.passed(order, late), self.passed(late, order)) & (late != order)

    def late_for(self, index: int) -> Iterator[tuple[int, int]]:
        """Yield each late record that changes sides with an order, and by how many ms it was late for it."""
        seen = self.sees(np.array([index]))[0]
        for late, before, sees in zip(self.moved.tolist(), self.before.tolist(), seen.tolist(), strict=True):
            if late == index:
                yield late, int(self.came_in[late] - self.came_in[before])
            elif late > index and sees:
                yield late, int(self.came_in[late] - self.came_in[index])


def would_change(
    archive: Archive, parity: Parity, panels: Panels, first: date, last: date, allowance: timedelta
) -> tuple[Changed, ...]:
    """Return the orders of the days whose outcome would be another, had everything come in in time, by order id.

    Args:
        archive: reads the archived topics.
        parity: what re-folding brought to light: an order that does not come out again is not asked about here.
        panels: who judged each order.
        first, last: business days, both included.
        allowance: see the module.
    """
    if _late(archive(CUSTOMER_EVENTS.name, ("timestamp", "time")), allowance).is_empty():
        return ()
    late = _late(archive(CUSTOMER_EVENTS.name, _ARRIVALS), allowance)
    log.info("%d events came in late; folding what they belong to once more", late.height)
    effects: dict[str, list[tuple[_Entity, int, Signals, Signals]]] = {}
    read = _signals_read(panels)
    for hop in ROUTE:
        if not {hop.entity, _ALSO_STAMPS.get(hop.entity, hop.entity)} & read:
            continue
        for entity in _entities(hop, archive, parity, late, allowance):
            for index, was, would in _signals(entity, first, last, panels):
                effects.setdefault(entity.event_id[index].partition("/")[2], []).append((entity, index, was, would))
    disputed = {one.subject for one in parity.disagreements} | set(panels.unpublished)
    asked = sorted(effects.keys() - disputed)
    orders, verdicts = _orders(archive, asked), _verdicts(archive, asked)
    found: list[Changed] = []
    for order_id in asked:
        if order_id not in orders or order_id not in verdicts:
            continue
        was, would = verdicts[order_id], _judged(orders[order_id], verdicts[order_id], effects[order_id], panels)
        if would is not None and would.outcome != was.outcome:
            found.append(Changed(order_id, was, would, tuple(_named(effects[order_id], late))))
    log.info("%d orders were judged without something late; %d outcomes would be others", len(asked), len(found))
    return tuple(found)


def _late(arrivals: pl.DataFrame, allowance: timedelta) -> pl.DataFrame:
    """Return the records that are dated before one that came in more than the allowance before them."""
    by_arrival = arrivals.sort("timestamp")
    so_far = by_arrival.select("timestamp", latest=pl.col("time").cum_max())
    return (
        by_arrival.with_columns(since=pl.col("timestamp") - allowance)
        .join_asof(so_far, left_on="since", right_on="timestamp", strategy="backward", allow_exact_matches=False)
        .filter(pl.col("latest") > pl.col("time"))
        .select(arrivals.columns)
    )


def _signals_read(panels: Panels) -> set[str]:
    """Return the entities of which any scorecard that was ever published reads a signal."""
    names: set[str] = set()
    for scorecard in panels.known.scorecards.values():
        names.update(line.signal for line in scorecard.lines)
        names.update(condition.signal for rule in scorecard.rules for condition in rule.when)
    return {name.partition(".")[0] for name in names}


def _entities(
    hop: Hop, archive: Archive, parity: Parity, late: pl.DataFrame, allowance: timedelta
) -> Iterator[_Entity]:
    """Yield every entity of a hop with a record that was late among its own."""
    refused = [(one.partition, one.offset) for one in parity.refused if one.topic == hop.reads.name]
    aside = pl.DataFrame(refused, schema={"partition": pl.Int32, "offset": pl.Int64}, orient="row")
    columns = (*INPUT[:2], "timestamp", "time", *(name for name in INPUT[3:] if name != "subject"))
    rows = archive(hop.reads.name, columns).join(aside, on=["partition", "offset"], how="anti")
    rows = rows.sort("partition", "offset").with_columns(
        pl.col("timestamp", "time").dt.epoch("ms"),
        latest=pl.col("time").dt.epoch("ms").cum_max().shift(1, fill_value=0).over("partition"),
    )
    own = rows.join(late, on="event_id", how="semi").select("partition", "key").unique()
    touched = rows.join(own, on=["partition", "key"], how="semi", maintain_order="left")
    suspects = touched["event_id"].is_in(late["event_id"].implode())
    touched = touched.with_columns(suspect=suspects)
    for _, part in touched.group_by("partition", "key", maintain_order=True):
        came_in, time = part["timestamp"].to_numpy(), part["time"].to_numpy()
        moved, before = _moved(came_in, time, np.flatnonzero(part["suspect"].to_numpy()), allowance // _MILLISECOND)
        if not moved.size:
            continue
        yield _Entity(
            hop=hop,
            event_id=part["event_id"].to_list(),
            key=part["key"].to_list(),
            value=part["value"].to_list(),
            came_in=came_in,
            time=time,
            latest=part["latest"].to_numpy(),
            allowance=allowance // _MILLISECOND,
            moved=moved,
            before=before,
        )


def _moved(came_in: Integers, time: Integers, suspects: Integers, allowance: int) -> tuple[Integers, Integers]:
    """Return the late records among the suspects, and before which record of those in time each belongs."""

    def passed(late: int) -> NDArray[np.bool_]:
        return np.asarray((time[:late] > time[late]) & (came_in[:late] < came_in[late] - allowance))

    moved = [int(one) for one in suspects if passed(int(one)).any()]
    in_time = np.ones(len(time), np.bool_)
    in_time[moved] = False
    # What a late one should have come before may be late itself, but then something in time came before both.
    before = [int(np.argmax(passed(one) & in_time[:one])) for one in moved]
    return np.array(moved, np.int64), np.array(before, np.int64)


def _signals(entity: _Entity, first: date, last: date, panels: Panels) -> Iterator[tuple[int, Signals, Signals]]:
    """Yield each order of the days that is late or was passed, with the signals that its hop stamped and those in time.

    What an order sees follows pair by pair: a late record by its date, all others by their offset. Orders in time that
    see the same late records share one fold; a late order has one of its own.
    """
    start, end = (_ms(day) for day in (first, last + timedelta(days=1)))
    of_days = (entity.time >= start) & (entity.time < end)
    orders = np.array([i for i in np.flatnonzero(of_days) if entity.event_id[i].startswith("order/")], np.int64)
    folds = list(_views(entity, orders))
    wanted = {index for group, _ in folds for index in group}
    if not wanted:
        return
    was = dict(_fold(entity, range(len(entity.event_id)), entity.latest, wanted, panels))
    in_place, late = entity.sequence(), set(entity.moved.tolist())
    latest = entity.latest.copy()
    latest[entity.moved] = entity.latest[entity.before]
    for group, unseen in folds:
        sequence = [index for index in in_place if index not in unseen]
        if group <= late:  # it is alone, and comes after all that it sees
            sequence = [index for index in sequence if index not in group] + list(group)
        for index, right in _fold(entity, sequence, latest, group, panels):
            if index in was and was[index] != right:
                yield index, was[index], right


def _views(entity: _Entity, orders: Integers) -> Iterator[tuple[set[int], set[int]]]:
    """Yield orders that see the same, and which records these do not see; only those that see other things now."""
    late = set(entity.moved.tolist())
    in_time = np.array([index for index in orders.tolist() if index not in late], np.int64)
    groups: dict[bytes, tuple[set[int], set[int]]] = {}
    for chunk in np.array_split(in_time, max(1, len(in_time) // 4096)):
        sees = entity.sees(chunk)
        concerned = (sees & (entity.moved[None, :] > chunk[:, None])).any(axis=1)
        for index, seen in zip(chunk[concerned].tolist(), sees[concerned], strict=True):
            group, _ = groups.setdefault(np.packbits(seen).tobytes(), (set(), set(entity.moved[~seen].tolist())))
            group.add(index)
    yield from groups.values()
    everything = np.arange(len(entity.time))
    for index in sorted(late.intersection(orders.tolist())):
        unseen = set(everything[:index][entity.passed(index, everything[:index])].tolist())
        unseen |= set(entity.moved[~entity.sees(np.array([index]))[0]].tolist()) - {index}
        unseen |= set(everything[index + 1 :].tolist()) - late
        yield {index}, unseen


def _fold(
    entity: _Entity, sequence: Iterable[int], latest: Integers, wanted: set[int], panels: Panels
) -> Iterator[tuple[int, Signals]]:
    """Fold an entity's records in a sequence, and yield what the hop stamps on the orders wanted."""
    histories, left = Shelf(), len(wanted)
    for index in sequence:
        histories.latest = int(latest[index])
        try:
            event = relay.receive(entity.hop, entity.key[index].encode(), entity.value[index].encode())
            if isinstance(event, NewOrder):
                event.data.signals.clear()  # only this hop's are looked at
            relay.step(entity.hop, histories, event, panels.known.panel)
        except BadEvent:
            continue  # refused then, refused now
        if index in wanted and isinstance(event, NewOrder):
            yield index, event.data.signals
            left -= 1
            if not left:
                return


def _judged(
    order: NewOrder, was: Verdict, effects: Sequence[tuple[_Entity, int, Signals, Signals]], panels: Panels
) -> Verdict | None:
    """Return the verdict with the other signals; None if the signals as they came are not those of the verdict."""
    signals = dict(was.signals)
    for _, _, stamped, _ in effects:
        if any(signals.get(name) != value for name, value in stamped.items()):
            return None
        for name in stamped:
            del signals[name]
    for _, _, _, right in effects:
        signals.update(right)
    data = msgspec.structs.replace(order.data, signals=signals)
    event = msgspec.structs.replace(order, data=data)
    time = (order.time - _EPOCH) // _MILLISECOND
    return relay.verdict(event, data, time, panels(order.data.order_id)).data


def _named(effects: Sequence[tuple[_Entity, int, Signals, Signals]], late: pl.DataFrame) -> Iterator[LateEvent]:
    """Yield what was late for an order, each event once, the first to come in first."""
    found: dict[tuple[str, int], int] = {}
    for entity, index, _, _ in effects:
        for one, by in entity.late_for(index):
            found.setdefault((entity.event_id[one], int(entity.came_in[one])), by)
    names = [event_id for event_id, _ in found]
    rows = late.filter(pl.col("event_id").is_in(names)).sort("timestamp", "partition", "offset")
    for row in rows.unique("event_id", keep="first", maintain_order=True).iter_rows(named=True):
        by = next(by for (event_id, _), by in found.items() if event_id == row["event_id"])
        place = row["partition"], row["offset"]
        yield LateEvent(row["event_id"], *place, row["time"], row["timestamp"], by * _MILLISECOND)


def _orders(archive: Archive, order_ids: Sequence[str]) -> Mapping[str, NewOrder]:
    ids = [f"order/{order_id}" for order_id in order_ids]
    rows = archive(CUSTOMER_EVENTS.name, ("event_id", "partition", "offset", "value"))
    found: dict[str, NewOrder] = {}
    for value in rows.filter(pl.col("event_id").is_in(ids)).sort("partition", "offset")["value"]:
        event = events.decode(value.encode())
        if isinstance(event, NewOrder):
            found.setdefault(event.data.order_id, event)
    return found


def _verdicts(archive: Archive, order_ids: Sequence[str]) -> Mapping[str, Verdict]:
    rows = archive(FRAUD_VERDICTS.name, ("subject", "partition", "offset", "value"))
    found: dict[str, Verdict] = {}
    for value in rows.filter(pl.col("subject").is_in(order_ids)).sort("partition", "offset")["value"]:
        event = events.decode(value.encode())
        if isinstance(event, PossibleFraud | NoFraudDetected):
            found.setdefault(event.data.order_id, event.data)
    return found


def _ms(day: date) -> int:
    return (datetime(day.year, day.month, day.day, tzinfo=UTC) - _EPOCH) // _MILLISECOND
