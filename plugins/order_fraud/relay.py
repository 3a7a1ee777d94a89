"""The order's way: customer -> device -> ip -> card -> e-mail domain -> address -> verdict, one code for every hop.

Each hop owns the histories of its entity, stamps its signals on the order and passes it on. The hop after which no
entity is left judges. Sign-ups, and word of what an order turned out to be, travel the same way, change histories, and
end after their last entity.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn, Protocol

import msgspec

from order_fraud import topics
from order_fraud.events import (
    AnyEvent,
    BadEvent,
    ChargebackOpened,
    Customer,
    Feedback,
    FraudCleared,
    FraudConfirmed,
    NewCustomer,
    NewOrder,
    NoFraudDetected,
    Order,
    PossibleFraud,
    SealedNewOrder,
    Shadow,
    Signals,
    Verdict,
    decode,
)
from order_fraud.history import DAY_MS, EXPIRY_MS, History, advance, learn
from order_fraud.judge import Judge, Panel
from order_fraud.topics import Topic

Relayed = NewCustomer | NewOrder | FraudConfirmed | FraudCleared | ChargebackOpened
"""What travels the relay."""

SOURCE = "/fraud"
AHEAD_MS = DAY_MS
"""How far an event may be dated after its Kafka record: clocks differ, but not by a day. One dated years ahead would
freeze its entity's counters and age everybody else's."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.toordinal()
_MILLISECOND = timedelta(milliseconds=1)


class Unusable(BadEvent):
    """A well-formed event that a hop refuses; the message says why."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One station of the relay.

    Attributes:
        entity: whose histories it owns: ``customer``, ``device``, ``ip`` …
        reads: the one topic that it reads; its offset order is all that the hop knows.
        changelog: where its histories are kept, partition for partition beside ``reads``.
        key_of: the entity's id in an event's data, None where the event has no such entity.
        later: the stations after it; an event goes to the first of them whose entity it has.
        first: whether events enter the relay here.
    """

    entity: str
    reads: Topic
    changelog: Topic
    key_of: Callable[[Relayed], str | None]
    later: "tuple[Hop, ...]" = ()
    first: bool = False


def _address(event: Relayed) -> str | None:
    data = event.data
    return None if type(data) is Customer else data.address


def _card(event: Relayed) -> str | None:
    data = event.data
    return None if type(data) is Customer else data.card


_ADDRESS = Hop("address", topics.RELAY_BY_ADDRESS, topics.HISTORY_ADDRESS, _address)
_EMAIL = Hop(
    "email_domain",
    topics.RELAY_BY_EMAIL_DOMAIN,
    topics.HISTORY_EMAIL_DOMAIN,
    lambda event: event.data.email_domain,
    (_ADDRESS,),
)
_CARD = Hop("card", topics.RELAY_BY_CARD, topics.HISTORY_CARD, _card, (_EMAIL, _ADDRESS))
_IP = Hop("ip", topics.RELAY_BY_IP, topics.HISTORY_IP, lambda event: event.data.ip, (_CARD, _EMAIL, _ADDRESS))
_DEVICE = Hop(
    "device",
    topics.RELAY_BY_DEVICE,
    topics.HISTORY_DEVICE,
    lambda event: event.data.device_id,
    (_IP, _CARD, _EMAIL, _ADDRESS),
)
_CUSTOMER = Hop(
    "customer",
    topics.CUSTOMER_EVENTS,
    topics.HISTORY_CUSTOMER,
    lambda event: event.data.customer_id,
    (_DEVICE, _IP, _CARD, _EMAIL, _ADDRESS),
    first=True,
)

ROUTE: tuple[Hop, ...] = (_CUSTOMER, _DEVICE, _IP, _CARD, _EMAIL, _ADDRESS)
"""The hops in their order. Every event starts at the first; a hop whose entity an event lacks is left out."""


class Histories(Protocol):
    """The histories of one hop and partition by entity id: a :class:`Shelf`, or anything that keeps them as well.

    Attributes:
        latest: the latest event time that the hop has accepted on this partition, ms; :func:`step` moves it on.
    """

    latest: int

    def get(self, entity_id: str, /) -> History | None:
        """Return what is remembered of an entity, None if nothing is."""

    def __setitem__(self, entity_id: str, history: History, /) -> None: ...


class Shelf(dict[str, History]):
    """Histories in memory, for one hop and partition."""

    latest = 0


class Onward(msgspec.Struct, frozen=True, gc=False):
    """What a hop passes on, and to whom."""

    topic: Topic
    key: str
    event: Relayed | PossibleFraud | NoFraudDetected


def receive(
    hop: Hop,
    key: bytes | None,
    value: bytes | None,
    appended: int | None = None,
    decode: Callable[[bytes | None], AnyEvent] = decode,
) -> Relayed:
    """Return the event that a record of the hop's topic holds.

    Args:
        hop: the station.
        key: the record's.
        value: the record's.
        appended: the record's time stamp, ms since 1970, None if it has none.
        decode: opens the value: :func:`order_fraud.events.decode`, or ``decode_sealed`` where that is enough.

    Raises:
        BadEvent: the value is no event (see :func:`order_fraud.events.decode`).
        Unusable: the event has no business on this topic, its id or subject does not say what its data says, its key
            is not the id of the hop's entity, or it is dated more than ``AHEAD_MS`` after its record.
    """
    relayed: Relayed = decode(value)  # type: ignore[assignment]  # unless it is refused right away
    kind = _KINDS.get(type(relayed))
    if kind is None:
        raise Unusable(f"{type(relayed).__name__} has no business on {hop.reads.name}")
    prefix, field = kind
    name = getattr(relayed.data, field)
    if relayed.subject != name or relayed.id != prefix + name:
        _refuse_two_names(relayed, prefix, name)
    entity_id = hop.key_of(relayed)
    if entity_id is None:
        raise Unusable(f"{relayed.id} has no {hop.entity} and was sent to {hop.reads.name} all the same")
    if key is None or key != entity_id.encode():
        shown = "no key" if key is None else f"key {key.decode(errors='replace')!r}"
        raise Unusable(f"{relayed.id} has {shown} instead of its {hop.reads.key}")
    # Only what is dated on a day that begins later than AHEAD_MS less a day after the record can be too late, and needs
    # a closer look: the number of the day costs a fifth of the exact time.
    if appended is not None and (relayed.time.toordinal() - _EPOCH_DAY) * DAY_MS > appended + AHEAD_MS - DAY_MS:
        _refuse_future(relayed, appended)
    return relayed


_KINDS: dict[type, tuple[str, str]] = {
    NewOrder: ("order/", "order_id"),
    SealedNewOrder: ("order/", "order_id"),
    NewCustomer: ("customer/", "customer_id"),
    FraudConfirmed: ("fraud-confirmed/", "order_id"),
    FraudCleared: ("fraud-cleared/", "order_id"),
    ChargebackOpened: ("chargeback/", "order_id"),
}
"""How the id of a relayed event begins, and which field of its data ends it."""


def _refuse_two_names(event: Relayed, prefix: str, name: str) -> NoReturn:
    """Repeats are known by order id, answers are matched by event id: an event must not have two names."""
    said = f"{event.id} is about {'customer' if prefix == 'customer/' else 'order'} {name!r}"
    if event.subject != name:
        raise Unusable(f"{said}, but its subject is {event.subject!r} - at `$.subject`")
    raise Unusable(f"{said}, so its id must be {prefix}{name} - at `$.id`")


def _refuse_future(event: Relayed, appended: int) -> None:
    """Refuse what would freeze its entities' counters, and make all others look forgotten."""
    if event.time.timestamp() * 1000 <= appended + AHEAD_MS:
        return
    try:
        sent = (_EPOCH + appended * _MILLISECOND).isoformat()
    except OverflowError:  # a record bears any time stamp that its sender likes, the year -5 included
        sent = f"{appended} ms after 1970"
    raise Unusable(
        f"{event.id} is dated {event.time.isoformat()}, more than a day after its record of {sent}: is the "
        "sender's clock or time zone wrong? - at `$.time`"
    )


def step(hop: Hop, histories: Histories, event: Relayed, panel: Panel) -> Onward | None:
    """Let one event pass one hop.

    Args:
        hop: the station.
        histories: its histories by entity id; the event's entity is advanced in place.
        event: taken over: the hop stamps its signals on the event itself.
        panel: judges the order if no hop is left.

    Returns:
        What goes on, or None for what is no order after its last hop.

    Raises:
        Unusable: an order or a sign-up that this customer's history has seen before. Histories stay as they were.
    """
    entity_id = hop.key_of(event)
    if entity_id is None:
        raise Unusable(f"{event.id} has no {hop.entity}")
    since = event.time - _EPOCH
    time = since.days * DAY_MS + since.seconds * 1000 + since.microseconds // 1000  # a division of timedeltas is slow
    latest = histories.latest
    if time > latest:
        latest = time
    history = histories.get(entity_id)
    if history is not None:
        if latest - history.seen_at > EXPIRY_MS:
            history = None
        elif hop.first:
            _refuse_repeat(history, event)
    histories.latest = latest
    data = event.data
    if type(data) is Feedback:  # isinstance takes 80 ns to say no to a msgspec.Struct
        histories[entity_id] = learn(history, time, data.order_id, type(event) is not FraudCleared, latest)
        return _onward(hop, event, time, panel)
    signals = None
    if type(data) is Order:
        signals = data.signals
        if hop.first:
            signals.clear()  # whatever the sender wrote there: signals are ours alone
    histories[entity_id], _ = advance(hop.entity, history, time, data, latest, signals)
    return _onward(hop, event, time, panel)


def milliseconds(time: datetime) -> int:
    """Return an event time as the kernel counts it: whole ms since 1970."""
    since = time - _EPOCH
    return since.days * DAY_MS + since.seconds * 1000 + since.microseconds // 1000


def fold(hop: Hop, histories: Histories, event: NewOrder, time: int) -> Signals:
    """Advance the history of an order's entity in place, and return the order's signals at this hop.

    It is :func:`step` without what comes after it, for an order whose signals stay as they came (see
    :func:`order_fraud.events.decode_sealed`). :func:`step` does not call it: what every record of the stream passes is
    written out there in one piece. ``tests/unit/test_kernel_sealed.py`` holds both to the same answers.

    Args:
        hop: the station.
        histories: its histories by entity id.
        event: left as it is.
        time: of the event, ms since 1970.

    Raises:
        Unusable: as :func:`step`.
    """
    entity_id = hop.key_of(event)
    if entity_id is None:
        raise Unusable(f"{event.id} has no {hop.entity}")
    latest = max(time, histories.latest)
    history = histories.get(entity_id)
    if history is not None:
        if latest - history.seen_at > EXPIRY_MS:
            history = None
        elif hop.first:
            _refuse_repeat(history, event)
    histories.latest = latest
    histories[entity_id], signals = advance(hop.entity, history, time, event.data, latest)
    return signals


def after(hop: Hop, event: Relayed) -> Hop | None:
    """Return the station to which an event goes on; None if there is none, so that an order is judged."""
    for later in hop.later:
        if later.key_of(event) is not None:
            return later
    return None


def _onward(hop: Hop, event: Relayed, time: int, panel: Panel) -> Onward | None:
    for later in hop.later:
        key = later.key_of(event)
        if key is not None:
            return Onward(later.reads, key, event)
    if type(event) is NewOrder:
        return Onward(topics.FRAUD_VERDICTS, event.data.customer_id, verdict(event, event.data, time, panel))
    return None


def _refuse_repeat(history: History, event: Relayed) -> None:
    if type(event) is NewOrder or type(event) is SealedNewOrder:
        if event.data.order_id in history.recent:
            raise Unusable(f"{event.id} is a repeat: this customer's history has that order already")
    elif type(event) is NewCustomer and history.signed_up is not None:
        raise Unusable(f"{event.id} is a repeat: this customer has signed up already")


def verdict(event: NewOrder, order: Order, time: int, panel: Panel) -> PossibleFraud | NoFraudDetected:
    """Return the verdict on an order from the signals stamped on it; its ``time`` is the order's (``time`` in ms)."""
    judge = panel.active
    judgement = judge(order, time)
    kind = NoFraudDetected if judgement.outcome == "clear" else PossibleFraud
    return kind(
        id=f"verdict/{order.order_id}",
        source=SOURCE,
        subject=order.order_id,
        time=event.time,
        data=Verdict(
            order_id=order.order_id,
            customer_id=order.customer_id,
            amount=order.amount,
            currency=order.currency,
            score=judgement.score,
            reasons=judgement.reasons,
            signals=order.signals,
            scorecard_version=judge.version,
            outcome=judgement.outcome,
            priority=judgement.priority,
            shadows=tuple([_on_trial(shadow, order, time) for shadow in panel.shadows]) if panel.shadows else (),
        ),
    )


def _on_trial(judge: Judge, order: Order, time: int) -> Shadow:
    judgement = judge(order, time)
    return Shadow(scorecard_version=judge.version, outcome=judgement.outcome, score=judgement.score)
