"""The order's way: customer -> device -> ip -> verdict, one code for every hop.

Each hop owns the histories of its entity, stamps its signals on the order and passes it on. The hop after which no
entity is left judges. A sign-up travels the same way, changes histories, and ends after its last entity.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from order_fraud import topics
from order_fraud.events import (
    AnyEvent,
    BadEvent,
    Event,
    NewCustomer,
    NewOrder,
    NoFraudDetected,
    Order,
    PossibleFraud,
    Verdict,
    decode,
)
from order_fraud.history import History, Sighting, advance
from order_fraud.scorecard import Scorecard, judge
from order_fraud.topics import Topic

SOURCE = "/fraud"
_RELAYED = (NewOrder, NewCustomer)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Unusable(BadEvent):
    """A well-formed event that a hop refuses; the message says why."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One station of the relay.

    Attributes:
        entity: whose histories it owns: ``customer``, ``device`` or ``ip``.
        reads: the one topic that it reads; its offset order is all that the hop knows.
        changelog: where its histories are kept, partition for partition beside ``reads``.
        key_of: the entity's id in an event's data, None where the event has no such entity.
    """

    entity: str
    reads: Topic
    changelog: Topic
    key_of: Callable[[NewCustomer | NewOrder], str | None]


ROUTE: tuple[Hop, ...] = (
    Hop("customer", topics.CUSTOMER_EVENTS, topics.HISTORY_CUSTOMER, lambda event: event.data.customer_id),
    Hop("device", topics.RELAY_BY_DEVICE, topics.HISTORY_DEVICE, lambda event: event.data.device_id),
    Hop("ip", topics.RELAY_BY_IP, topics.HISTORY_IP, lambda event: event.data.ip),
)
"""The hops in their order. Every event starts at the first; a hop whose entity an event lacks is left out."""

_REST = {hop.entity: ROUTE[place + 1 :] for place, hop in enumerate(ROUTE)}


class Histories(Protocol):
    """The histories of one hop and partition by entity id: a dict, or anything that keeps them as well."""

    def get(self, entity_id: str, /) -> History | None:
        """Return what is remembered of an entity, None if nothing is."""

    def __setitem__(self, entity_id: str, history: History, /) -> None: ...


class Onward(NamedTuple):
    """What a hop passes on, and to whom."""

    topic: Topic
    key: str
    event: Event


def receive(hop: Hop, key: bytes | None, value: bytes | None) -> NewCustomer | NewOrder:
    """Return the event that a record of the hop's topic holds.

    Raises:
        BadEvent: the value is no event (see :func:`order_fraud.events.decode`).
        Unusable: the event has no business on this topic, its id or subject does not say what its data says, or its
            key is not the id of the hop's entity.
    """
    event: AnyEvent = decode(value)
    if not isinstance(event, _RELAYED):
        raise Unusable(f"{type(event).__name__} has no business on {hop.reads.name}")
    _refuse_two_names(event)
    entity_id = hop.key_of(event)
    if entity_id is None:
        raise Unusable(f"{event.id} has no {hop.entity} and was sent to {hop.reads.name} all the same")
    if key is None or key != entity_id.encode():
        shown = "no key" if key is None else f"key {key.decode(errors='replace')!r}"
        raise Unusable(f"{event.id} has {shown} instead of its {hop.reads.key}")
    return event


def _refuse_two_names(event: NewCustomer | NewOrder) -> None:
    """Repeats are known by order id, answers are matched by event id: an event must not have two names."""
    if isinstance(event, NewOrder):
        kind, name = "order", event.data.order_id
    else:
        kind, name = "customer", event.data.customer_id
    if event.subject != name:
        raise Unusable(f"{event.id} is about {kind} {name!r}, but its subject is {event.subject!r} - at `$.subject`")
    if event.id != f"{kind}/{name}":
        raise Unusable(f"{event.id} is about {kind} {name!r}, so its id must be {kind}/{name} - at `$.id`")


def step(hop: Hop, histories: Histories, event: NewCustomer | NewOrder, scorecard: Scorecard) -> Onward | None:
    """Let one event pass one hop.

    Args:
        hop: the station.
        histories: its histories by entity id; the event's entity is advanced in place.
        event: taken over: the hop stamps its signals on the event itself.
        scorecard: judges the order if no hop is left.

    Returns:
        What goes on, or None for a sign-up after its last hop.

    Raises:
        Unusable: an order or a sign-up that this customer's history has seen before. Histories stay as they were.
    """
    entity_id = hop.key_of(event)
    if entity_id is None:
        raise Unusable(f"{event.id} has no {hop.entity}")
    history = histories.get(entity_id)
    is_first = hop is ROUTE[0]
    if is_first and history is not None:
        _refuse_repeat(history, event)
    time = (event.time - _EPOCH) // _MILLISECOND
    if isinstance(event, NewOrder):
        order = event.data
        histories[entity_id], signals = advance(
            hop.entity, history, Sighting(time, order.customer_id, order.order_id, order.amount, order.currency)
        )
        if is_first:
            order.signals.clear()  # whatever the sender wrote there: signals are ours alone
        order.signals.update(signals)
    else:
        histories[entity_id], _ = advance(hop.entity, history, Sighting(time, event.data.customer_id))
    return _onward(hop, event, scorecard)


_MILLISECOND = datetime(1970, 1, 1, 0, 0, 0, 1000) - datetime(1970, 1, 1)  # noqa: DTZ001 - a span, not a time


def _refuse_repeat(history: History, event: NewCustomer | NewOrder) -> None:
    if isinstance(event, NewOrder):
        if event.data.order_id in history.recent:
            raise Unusable(f"{event.id} is a repeat: this customer's history has that order already")
    elif history.signed_up is not None:
        raise Unusable(f"{event.id} is a repeat: this customer has signed up already")


def _onward(hop: Hop, event: NewCustomer | NewOrder, scorecard: Scorecard) -> Onward | None:
    for later in _REST[hop.entity]:
        entity_id = later.key_of(event)
        if entity_id is not None:
            return Onward(later.reads, entity_id, event)
    if isinstance(event, NewCustomer):
        return None
    return Onward(topics.FRAUD_VERDICTS, event.data.customer_id, verdict(event, event.data, scorecard))


def verdict(event: NewOrder, order: Order, scorecard: Scorecard) -> PossibleFraud | NoFraudDetected:
    """Return the verdict on an order from the signals stamped on it; its ``time`` is the order's."""
    judgement = judge(order.signals, scorecard)
    outcome = PossibleFraud if judgement.possible_fraud else NoFraudDetected
    return outcome(
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
            scorecard_version=scorecard.version,
        ),
    )
