"""What is sent: the shop's events and what is said of orders later, in business order, with the faults of the plan."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from order_fraud import topics
from order_fraud.events import ChargebackOpened, FraudCleared, FraudConfirmed, NewCustomer, NewOrder, encode
from order_fraud.relay import Relayed
from producers import book, labels, patterns
from producers.book import Book
from producers.labels import HONEST, Word
from tests.stack.chaos.changes import changes
from tests.stack.chaos.poison import doses

ORDERS_PER_RECORD = 0.58
"""Of ten records about six are orders, the others sign-ups, and feedback on every eighth order."""
ACCUSED, CLEARED = 0.05, 0.6
"""Part of the honest orders that somebody takes for fraud, and of these, the part that is cleared later."""

REPEAT = "is a repeat"
POISON_DOSES = 12
"""Records of one poison fault: three of them go through all kinds."""
ANCIENT = timedelta(days=500)
"""How far one order of each reordering is dated back: beyond what an entity without other events is remembered for."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One record of the tape.

    Attributes:
        number: its place on the tape; goes with the record as a header.
        at: seconds after the start.
        topic: that it is sent to.
        partition: where it must go, None if its key says so.
        key: None for a record without.
        value: None for a record without.
        reason: words of its dead letter's reason; empty if it must be accepted.
        order_id: of an order that must be decided because of this record; empty otherwise.
    """

    number: int
    at: float
    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    reason: str = ""
    order_id: str = ""


@dataclass(slots=True)
class _Draft:
    at: float
    serial: int
    topic: str
    key: bytes | None
    value: bytes | None
    event: Relayed | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class InputFault:
    """A fault that lies in the tape itself: ``kind`` is one of ``plan.INPUT``."""

    kind: str
    at: float


def record(seed: int, seconds: float, rate: float, faults: Sequence[InputFault]) -> tuple[Sent, ...]:
    """Return the tape: ``rate`` records a second for so many seconds, and the faults in it."""
    draw = random.Random(f"tape {seed}")
    orders = patterns.generate(max(1, round(seconds * rate * ORDERS_PER_RECORD)), seed)
    events: list[Relayed] = [event for _, event in book.events(orders)]
    events = sorted([*events, *_feedback(draw, orders)], key=lambda event: event.time)
    tape = [
        _Draft(0.0, serial, topics.CUSTOMER_EVENTS.name, event.data.customer_id.encode(), encode(event), event)
        for serial, event in enumerate(events)
    ]
    for place, draft in enumerate(tape):
        draft.at = seconds * place / len(tape)
    extra: list[_Draft] = []
    ancient: set[bytes | None] = set()
    for fault in [fault for fault in faults if fault.kind == "reordering"]:
        ancient |= _reorder(draw, tape, _place(tape, fault.at, seconds), seconds)
    usable = [draft for draft in tape if draft.key not in ancient]
    for fault in [fault for fault in faults if fault.kind == "duplicates"]:
        extra += _duplicates(draw, usable, fault.at)
    for number, fault in enumerate(fault for fault in faults if fault.kind == "poison"):
        made = doses(draw, number * POISON_DOSES, POISON_DOSES)
        extra += [_Draft(fault.at, 0, dose.topic, dose.key, dose.value, None, dose.reason) for dose in made]
    for number, fault in enumerate(fault for fault in faults if fault.kind == "policy-change"):
        name = topics.FRAUD_POLICIES.name
        extra += [_Draft(fault.at + one.after, 0, name, one.key, one.value) for one in changes(draw, number)]
    for serial, draft in enumerate(extra, start=len(tape)):
        draft.serial = serial
    return _numbered(draw, sorted(tape + extra, key=lambda draft: (draft.at, draft.serial)))


def _feedback(draw: random.Random, orders: Book) -> list[Word]:
    """Say of every fraud that it was one, of most twice; accuse some honest orders too, and clear most of these.

    An order that is called fraud by a person and by the bank counts once, so both are among them.
    """
    said: list[Word] = []
    for sale in orders.sales:
        found_out = sale.row.purchase_time + timedelta(days=draw.uniform(0.1, 10))
        disputed = found_out + timedelta(days=draw.uniform(0.1, 20))
        if sale.row.truth not in HONEST:
            said.append(labels.said(ChargebackOpened, sale, disputed))
            if draw.random() < 0.6:
                said.append(labels.said(FraudConfirmed, sale, found_out, by="chaos"))
        elif draw.random() < ACCUSED:
            said.append(labels.said(draw.choice((FraudConfirmed, ChargebackOpened)), sale, found_out))
            if draw.random() < CLEARED:
                said.append(labels.said(FraudCleared, sale, disputed, by="chaos"))
    return said


def _place(tape: list[_Draft], at: float, seconds: float) -> int:
    return min(len(tape) - 1, int(len(tape) * at / seconds))


def _reorder(draw: random.Random, tape: list[_Draft], place: int, seconds: float) -> set[bytes | None]:
    """Shuffle a second of records, send some of the next much later, and date one order far back.

    Returns:
        The customer of the order that was dated back: once forgotten, its repeat would be news.
    """
    window = tape[place : place + 200]
    moments = [draft.at for draft in window]
    draw.shuffle(moments)
    for draft, moment in zip(window, moments, strict=True):
        draft.at = moment
    after = tape[place + 200 : place + 400]
    for draft in draw.sample(after, len(after) // 20):
        draft.at = min(seconds, draft.at + draw.uniform(1.0, 20.0))
    for draft in after[::10]:  # sign-ups behind their first orders, which come soon after in business time
        if isinstance(draft.event, NewCustomer):
            draft.at = min(seconds, draft.at + draw.uniform(1.0, 60.0))
    orders = [draft for draft in window if isinstance(draft.event, NewOrder)]
    for draft in orders[:1]:
        assert draft.event is not None
        draft.event = msgspec.structs.replace(draft.event, time=draft.event.time - ANCIENT)
        draft.value = encode(draft.event)
    return {draft.key for draft in orders[:1]}


def _duplicates(draw: random.Random, tape: list[_Draft], at: float) -> list[_Draft]:
    """Send again: records of the last moment, some twice, and a few from any time before."""
    sent = [draft for draft in tape if draft.at <= at] or tape[:1]
    chosen = sent[-12:] + draw.sample(sent, min(8, len(sent)))
    chosen += draw.sample(chosen, min(4, len(chosen)))
    return [
        _Draft(max(at, draft.at) + draw.uniform(0.0, 1.0), 0, draft.topic, draft.key, draft.value, draft.event)
        for draft in chosen
    ]


def _numbered(draw: random.Random, drafts: list[_Draft]) -> tuple[Sent, ...]:
    """Number the records; of those that say the same, the first counts and the others are repeats.

    Feedback that is repeated goes the whole way again and changes nothing: it is no repeat that must be refused.
    """
    seen: set[str] = set()
    tape = []
    for number, draft in enumerate(drafts):
        reason, order_id = draft.reason, ""
        if draft.event is not None:
            if draft.event.id in seen:
                reason = REPEAT if isinstance(draft.event, NewCustomer | NewOrder) else ""
            elif isinstance(draft.event, NewOrder):
                order_id = draft.event.data.order_id
            seen.add(draft.event.id)
        # Without a key the client would choose: the same seed must give the same partitions.
        partition = draw.randrange(topics.PARTITIONS) if draft.key is None else None
        tape.append(
            Sent(number, draft.at, draft.topic, partition, draft.key, draft.value, reason, order_id),
        )
    return tuple(tape)
