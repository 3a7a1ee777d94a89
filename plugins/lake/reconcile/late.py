"""What the stream would have said, had everything come in in time.

A record bears the time at which its event came in, on every topic of its way (``streams.batch.Batch.send``). Of two
events of one entity, the one that came in later and is dated earlier is *late*, if it came in more than an allowance
after the other; of the same instant, a sign-up belongs before an order, as the shop sends them. The hop folded them as
they came, which is right and reproducible. Here each entity that something late belongs to is folded once more, by the
kernel's own ``step``, with the late events where their dates put them and all others as they were; what hops did side
by side keeps its order, since nobody promised another one. An order whose outcome comes out differently *would change*.

Usually nothing is late, and one look at customer.events says so. Only entities with something late are folded, and
only at hops whose signals some scorecard reads.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import msgspec
import polars as pl

from lake.reconcile.late_entities import EPOCH, MILLISECOND, Entity, Values, entities, late_records, stamped
from lake.reconcile.panels import Panels
from lake.reconcile.parity import Archive, Parity
from order_fraud import events, relay
from order_fraud.events import NewOrder, NoFraudDetected, PossibleFraud, Signals, Verdict
from order_fraud.relay import ROUTE
from order_fraud.topics import CUSTOMER_EVENTS, FRAUD_VERDICTS

log = logging.getLogger(__name__)

_ARRIVALS = ("partition", "offset", "timestamp", "time", "type", "event_id")
_ALSO_STAMPS = {"customer": "order"}
"""The signals of the order itself are stamped by the customer hop, which alone sees every order."""


Effect = tuple[Entity, int, Signals, Signals]
"""An entity, the index of an order among its records, the signals that its hop stamped on it, and those in time."""


@dataclass(frozen=True, slots=True)
class LateEvent:
    """An event that came in after an order although it belongs before it.

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


def would_change(
    archive: Archive,
    parity: Parity,
    panels: Panels,
    first: date,
    last: date,
    allowance: timedelta,
    values: Values | None = None,
) -> tuple[Changed, ...]:
    """Return the orders of the days whose outcome would be another, had everything come in in time, by order id.

    Args:
        archive: reads the archived topics.
        parity: what re-folding brought to light: an order that does not come out again is not asked about here.
        panels: who judged each order.
        first, last: business days, both included.
        allowance: see the module.
        values: reads the values of some records; without it, those of a whole topic are read for them.
    """
    values = values or _picked(archive)
    if late_records(archive(CUSTOMER_EVENTS.name, ("timestamp", "time", "type")), allowance).is_empty():
        return ()
    late = late_records(archive(CUSTOMER_EVENTS.name, _ARRIVALS), allowance)
    log.info("%d events came in late; folding what they belong to once more", late.height)
    effects: dict[str, list[Effect]] = {}
    read = _signals_read(panels)
    for hop in ROUTE:
        if not {hop.entity, _ALSO_STAMPS.get(hop.entity, hop.entity)} & read:
            continue
        for entity in entities(hop, archive, values, parity, late, allowance):
            for index, was, would in stamped(entity, first, last, panels):
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


def _picked(archive: Archive) -> Values:
    columns = ("partition", "offset", "value")
    return lambda topic, places: archive(topic, columns).join(places, on=columns[:2], how="semi")


def _signals_read(panels: Panels) -> set[str]:
    """Return the entities of which any scorecard that was ever published reads a signal."""
    names: set[str] = set()
    for scorecard in panels.known.scorecards.values():
        names.update(line.signal for line in scorecard.lines)
        names.update(condition.signal for rule in scorecard.rules for condition in rule.when)
    return {name.partition(".")[0] for name in names}


def _judged(order: NewOrder, was: Verdict, effects: Sequence[Effect], panels: Panels) -> Verdict | None:
    """Return the verdict with the other signals; None if the signals as they came are not those of the verdict."""
    signals = dict(was.signals)
    for _, _, as_it_came, _ in effects:
        if any(signals.get(name) != value for name, value in as_it_came.items()):
            return None
        for name in as_it_came:
            del signals[name]
    for _, _, _, right in effects:
        signals.update(right)
    data = msgspec.structs.replace(order.data, signals=signals)
    event = msgspec.structs.replace(order, data=data)
    time = (order.time - EPOCH) // MILLISECOND
    return relay.verdict(event, data, time, panels(order.data.order_id)).data


def _named(effects: Sequence[Effect], late: pl.DataFrame) -> Iterator[LateEvent]:
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
        yield LateEvent(row["event_id"], *place, row["time"], row["timestamp"], by * MILLISECOND)


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
