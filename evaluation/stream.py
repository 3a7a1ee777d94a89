"""Orders through the real relay, in the order of event time, with what became of them coming back after a delay.

Each event is encoded, received and stepped through every hop before the next one starts, as one worker would do it that
is never late. An order is judged when it has passed its last hop, so that nothing later can have had a part in it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count

from order_fraud.events import (
    ChargebackOpened,
    Feedback,
    FraudCleared,
    FraudConfirmed,
    NewCustomer,
    NewOrder,
    NoFraudDetected,
    PossibleFraud,
    Verdict,
    encode,
)
from order_fraud.judge import Panel
from order_fraud.relay import ROUTE, Relayed, Shelf, receive, step
from producers import book as books
from producers.book import Book, Sale

_HOPS = {hop.reads.name: hop for hop in ROUTE}


class Relay:
    """All hops in one process, with histories in memory.

    Attributes:
        panel: who judges from now on.
    """

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self._shelves = {hop.entity: Shelf() for hop in ROUTE}

    def send(self, event: Relayed) -> PossibleFraud | NoFraudDetected | None:
        """Let one event pass all its hops, and return the verdict if it is an order.

        Raises:
            BadEvent: the relay refuses it.
        """
        hop, key = ROUTE[0], event.data.customer_id
        while True:
            received = receive(hop, key.encode(), encode(event))
            onward = step(hop, self._shelves[hop.entity], received, self.panel)
            if onward is None:
                return None
            if isinstance(onward.event, PossibleFraud | NoFraudDetected):
                return onward.event
            hop, key, event = _HOPS[onward.topic.name], onward.key, onward.event


@dataclass(frozen=True, slots=True)
class Judged:
    """One order as it was judged.

    Attributes:
        sale: the order, and what it really was.
        time: of the order, UTC.
        known_at: when word of what it was has arrived.
        verdict: the relay's.
        fraud: what it was.
    """

    sale: Sale
    time: datetime
    known_at: datetime
    verdict: Verdict
    fraud: bool


@dataclass(slots=True)
class Run:
    """One pass of a book through the relay.

    Attributes:
        book: orders whose truth is known.
        relay: fresh.
        delay: between an order and word of what it was.
        tell: whether word of an order comes at all; by default of all orders.
        every: how often ``pause`` is called, in event time.
        pause: called with the moment and all orders judged before it; may change the relay's panel.
    """

    book: Book
    relay: Relay
    delay: timedelta
    tell: Callable[[Sale], bool] = lambda sale: True
    every: timedelta | None = None
    pause: Callable[[datetime, list[Judged]], None] = lambda moment, judged: None
    _waiting: list[tuple[datetime, int, Relayed]] = field(default_factory=list)
    _number: Iterator[int] = field(default_factory=count)

    def judge(self) -> Iterator[Judged]:
        """Yield every order as it is judged."""
        sales = iter(self.book.sales)
        judged: list[Judged] = []
        due: datetime | None = None
        for _, event in books.events(self.book):
            if self.every is not None:
                due = due or event.time + self.every
                while event.time >= due:
                    self._deliver(due)
                    self.pause(due, judged)
                    due += self.every
            self._deliver(event.time)
            answer = self.relay.send(event)
            if answer is None:
                continue
            one = self._judged(next(sales), event, answer.data)
            judged.append(one)
            yield one

    def _judged(self, sale: Sale, event: NewCustomer | NewOrder, verdict: Verdict) -> Judged:
        fraud = sale.row.truth != "normal"
        one = Judged(sale, event.time, event.time + self.delay, verdict, fraud)
        word = _word(event, verdict, fraud, one.known_at) if isinstance(event, NewOrder) and self.tell(sale) else None
        if word is not None:
            heappush(self._waiting, (word.time, next(self._number), word))
        return one

    def _deliver(self, until: datetime) -> None:
        """Send all word that has arrived by then: what comes at the moment of an order comes before it."""
        while self._waiting and self._waiting[0][0] <= until:
            self.relay.send(heappop(self._waiting)[2])


def _word(event: NewOrder, verdict: Verdict, fraud: bool, known_at: datetime) -> Relayed | None:
    """Return what comes back of an order: a reviewer's word if it was held, else a chargeback, or nothing."""
    held = verdict.outcome != "clear"
    if not held and not fraud:
        return None
    kind = (FraudConfirmed if fraud else FraudCleared) if held else ChargebackOpened
    prefix = {FraudConfirmed: "fraud-confirmed", FraudCleared: "fraud-cleared", ChargebackOpened: "chargeback"}[kind]
    order = event.data
    return kind(
        id=f"{prefix}/{order.order_id}",
        source="/payments" if kind is ChargebackOpened else "/review",
        subject=order.order_id,
        time=known_at,
        data=Feedback(
            order_id=order.order_id,
            customer_id=order.customer_id,
            device_id=order.device_id,
            ip=order.ip,
            card=order.card,
            email_domain=order.email_domain,
            address=order.address,
            amount=order.amount,
            currency=order.currency,
        ),
    )
