"""What is late at one hop: which records, of which entities, and what their orders' signals would be in time.

See :mod:`lake.reconcile.late` for what late means.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lake.reconcile.panels import Panels
from lake.reconcile.parity import Archive, Parity
from order_fraud import relay
from order_fraud.events import BadEvent, NewOrder, Signals
from order_fraud.relay import Hop, Shelf

MILLISECOND = timedelta(milliseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Entity:
    """The records of one entity at one hop, in offset order, and which of them are late.

    Attributes:
        hop: where.
        came_in: when each came in, ms.
        time: the date of each, ms.
        rank: where each belongs by its date, see :func:`_rank`.
        latest: the latest event time of the partition before each record, ms.
        allowance: how much later than another a record may come in without being late, ms.
        moved: indices of the late ones.
        before: of each late one (as in ``moved``), the index of the first record in time that it passed.
    """

    hop: Hop
    event_id: list[str]
    key: list[str]
    value: list[str]
    came_in: Integers
    time: Integers
    rank: Integers
    latest: Integers
    allowance: int
    moved: Integers
    before: Integers

    def sequence(self) -> list[int]:
        """Return all records with the late ones moved before what they passed, those by date."""
        index = np.arange(len(self.time))
        slot, in_time, date_ = index.copy(), np.ones(len(index), np.int64), np.zeros(len(index), np.int64)
        slot[self.moved], in_time[self.moved], date_[self.moved] = self.before, 0, self.rank[self.moved]
        return [int(one) for one in np.lexsort((index, date_, in_time, slot))]

    def passed(self, late: Integers | int, other: Integers | int) -> NDArray[np.bool_]:
        """Whether ``late`` belongs before ``other`` and came in more than the allowance after it."""
        belongs_before = self.rank[late] < self.rank[other]
        return np.asarray(belongs_before & (self.came_in[other] < self.came_in[late] - self.allowance))

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


def _rank(of_sign_up: pl.Expr) -> pl.Expr:
    """Return where records belong by their date; of the same instant, a sign-up comes before what it makes possible."""
    return pl.col("time").dt.epoch("ms") * 2 + (~of_sign_up).cast(pl.Int64)


def late_records(arrivals: pl.DataFrame, allowance: timedelta) -> pl.DataFrame:
    """Return the records that belong before one that came in more than the allowance before them.

    Args:
        arrivals: columns timestamp, time, type, and any others.
        allowance: how much later than another a record may come in without being late.
    """
    by_arrival = arrivals.sort("timestamp").with_columns(rank=_rank(pl.col("type") == "NewCustomer"))
    so_far = by_arrival.select("timestamp", latest=pl.col("rank").cum_max())
    return (
        by_arrival.with_columns(since=pl.col("timestamp") - allowance)
        .join_asof(so_far, left_on="since", right_on="timestamp", strategy="backward", allow_exact_matches=False)
        .filter(pl.col("latest") > pl.col("rank"))
        .select(arrivals.columns)
    )


Values = Callable[[str, pl.DataFrame], pl.DataFrame]
"""Reads the values of some records of a topic: (topic name, columns partition and offset) -> these and ``value``."""


def entities(
    hop: Hop, archive: Archive, values: Values, parity: Parity, late: pl.DataFrame, allowance: timedelta
) -> Iterator[Entity]:
    """Yield every entity of a hop with a record that was late among its own.

    Of the topic, only narrow columns are read as a whole; values only of these entities' records.
    """
    refused = [(one.partition, one.offset) for one in parity.refused if one.topic == hop.reads.name]
    aside = pl.DataFrame(refused, schema={"partition": pl.Int32, "offset": pl.Int64}, orient="row")
    columns = ("partition", "offset", "timestamp", "time", "key", "event_id")
    rows = archive(hop.reads.name, columns).join(aside, on=["partition", "offset"], how="anti")
    rows = rows.sort("partition", "offset").with_columns(
        pl.col("timestamp", "time").dt.epoch("ms"),
        rank=_rank(pl.col("event_id").str.starts_with("customer/")),
        latest=pl.col("time").dt.epoch("ms").cum_max().shift(1, fill_value=0).over("partition"),
    )
    own = rows.join(late, on="event_id", how="semi").select("partition", "key").unique()
    touched = rows.join(own, on=["partition", "key"], how="semi", maintain_order="left")
    suspects = touched["event_id"].is_in(late["event_id"].implode())
    touched = touched.with_columns(suspect=suspects)
    concerned: list[tuple[pl.DataFrame, Integers, Integers]] = []
    for _, part in touched.group_by("partition", "key", maintain_order=True):
        came_in, rank = part["timestamp"].to_numpy(), part["rank"].to_numpy()
        moved, before = _moved(came_in, rank, np.flatnonzero(part["suspect"].to_numpy()), allowance // MILLISECOND)
        if moved.size:
            concerned.append((part, moved, before))
    del rows, touched
    if not concerned:
        return
    opened = values(hop.reads.name, pl.concat(part.select("partition", "offset") for part, _, _ in concerned))
    for part, moved, before in concerned:
        whole = part.join(opened, on=["partition", "offset"], how="left", maintain_order="left")
        yield Entity(
            hop=hop,
            event_id=part["event_id"].to_list(),
            key=part["key"].to_list(),
            value=whole["value"].to_list(),
            came_in=part["timestamp"].to_numpy(),
            time=part["time"].to_numpy(),
            rank=part["rank"].to_numpy(),
            latest=part["latest"].to_numpy(),
            allowance=allowance // MILLISECOND,
            moved=moved,
            before=before,
        )


def _moved(came_in: Integers, rank: Integers, suspects: Integers, allowance: int) -> tuple[Integers, Integers]:
    """Return the late records among the suspects, and before which record of those in time each belongs."""

    def passed(late: int) -> NDArray[np.bool_]:
        return np.asarray((rank[:late] > rank[late]) & (came_in[:late] < came_in[late] - allowance))

    moved = [int(one) for one in suspects if passed(int(one)).any()]
    in_time = np.ones(len(rank), np.bool_)
    in_time[moved] = False
    # What a late one should have come before may be late itself, but then something in time came before both.
    before = [int(np.argmax(passed(one) & in_time[:one])) for one in moved]
    return np.array(moved, np.int64), np.array(before, np.int64)


def stamped(entity: Entity, first: date, last: date, panels: Panels) -> Iterator[tuple[int, Signals, Signals]]:
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


def _views(entity: Entity, orders: Integers) -> Iterator[tuple[set[int], set[int]]]:
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
    entity: Entity, sequence: Iterable[int], latest: Integers, wanted: set[int], panels: Panels
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


def _ms(day: date) -> int:
    return (datetime(day.year, day.month, day.day, tzinfo=UTC) - EPOCH) // MILLISECOND
