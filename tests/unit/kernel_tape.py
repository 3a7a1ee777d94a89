"""Sign-ups, orders and feedback for the kernel's tests, and a relay that passes them on in batches of any size."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, cast

from hypothesis import strategies as st

from order_fraud import events
from order_fraud.events import (
    ChargebackOpened,
    Customer,
    Feedback,
    FraudCleared,
    FraudConfirmed,
    NewCustomer,
    NewOrder,
    Order,
)
from order_fraud.relay import ROUTE, Hop, Relayed
from scorecards import PANEL
from streams.batch import Batch
from streams.fraud import SPECS, pass_hop
from streams.state import Table
from streams.state.memory import MemoryStore

NOON = datetime(2015, 6, 1, 12, tzinfo=UTC)
HOPS = {hop.entity: hop for hop in ROUTE}


def sign_up(
    customer_id: str = "7",
    *,
    minute: float = 0,
    device_id: str | None = "D",
    ip: str | None = "1.2.3.4",
    email_domain: str | None = None,
    country: str | None = None,
    channel: str | None = None,
) -> NewCustomer:
    """A sign-up so many minutes after noon."""
    return NewCustomer(
        id=f"customer/{customer_id}",
        source="/shop",
        subject=customer_id,
        time=NOON + timedelta(minutes=minute),
        data=Customer(
            customer_id=customer_id,
            device_id=device_id,
            ip=ip,
            email_domain=email_domain,
            country=country,
            channel=channel,
        ),
    )


def order(
    order_id: str = "7-1",
    *,
    minute: float = 0,
    customer_id: str | None = None,
    amount: int = 2_500,
    currency: str = "USD",
    device_id: str | None = "D",
    ip: str | None = "1.2.3.4",
    signals: dict[str, float] | None = None,
    **more: Any,
) -> NewOrder:
    """An order so many minutes after noon; its customer is the part of the id before the dash."""
    return NewOrder(
        id=f"order/{order_id}",
        source="/shop",
        subject=order_id,
        time=NOON + timedelta(minutes=minute),
        data=Order(
            order_id=order_id,
            customer_id=customer_id or order_id.split("-")[0],
            amount=amount,
            currency=currency,
            device_id=device_id,
            ip=ip,
            signals=signals or {},
            **more,
        ),
    )


EVERYWHERE = {"card": "C", "email_domain": "mail.example", "address": "A"}
"""The entities of an order beside its customer, device and ip."""

FEEDBACK = {FraudConfirmed: "fraud-confirmed/", FraudCleared: "fraud-cleared/", ChargebackOpened: "chargeback/"}


def feedback(
    kind: type[FraudConfirmed | FraudCleared | ChargebackOpened], about: Order, *, minute: float = 0
) -> FraudConfirmed | FraudCleared | ChargebackOpened:
    """Word of what an order was, so many minutes after noon."""
    return kind(
        id=FEEDBACK[kind] + about.order_id,
        source="/review",
        subject=about.order_id,
        time=NOON + timedelta(minutes=minute),
        data=Feedback(
            order_id=about.order_id,
            customer_id=about.customer_id,
            device_id=about.device_id,
            ip=about.ip,
            card=about.card,
            email_domain=about.email_domain,
            address=about.address,
        ),
    )


@dataclass(frozen=True)
class Record:
    """As much of a Kafka record as a batch looks at."""

    place: int
    raw_key: bytes | None
    raw_value: bytes | None

    def key(self) -> bytes | None:
        return self.raw_key

    def value(self) -> bytes | None:
        return self.raw_value

    def offset(self) -> int:
        return self.place

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_800_000_000_000


@dataclass
class Passed:
    """What became of the records of one hop's topic: outputs and dead letters in order, and the histories."""

    outputs: dict[str, list[tuple[bytes, bytes]]] = field(default_factory=dict)
    refused: list[tuple[int, str]] = field(default_factory=list)
    histories: dict[bytes, bytes] = field(default_factory=dict)


def new_table(hop: Hop) -> Table[Any]:
    """An empty table of a hop's histories."""
    (spec,) = (spec for spec in SPECS if spec.beside == hop.reads.name)
    return Table(spec, 0, MemoryStore(spec.codec.as_of))


def pass_in_batches(
    hop: Hop,
    records: list[tuple[bytes | None, bytes | None]],
    cuts: Iterable[int] = (),
    aborted: Iterable[int] = (),
    table: Table[Any] | None = None,
) -> Passed:
    """Pass a hop's records in batches cut at ``cuts``; a batch that begins at a record in ``aborted`` is done twice.

    Each batch is committed as the stream does it; before that, one to be aborted is passed and rolled back.
    """
    table = new_table(hop) if table is None else table
    passed = Passed()
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(records)}), len(records)]
    for start, end in pairwise(edges):
        for attempt in ("aborted", "kept"):
            if attempt == "aborted" and start not in aborted:
                continue
            numbered = [Record(start + n, *record) for n, record in enumerate(records[start:end])]
            batch = Batch(hop.reads.name, 0, cast(Any, numbered), next_offset=end)
            pass_hop(hop, batch, table, PANEL)
            if attempt == "aborted":
                table.rollback()
                continue
            passed.histories |= {change["key"]: change["value"] for change in table.changes()}
            table.commit()
            for topic, sent in batch.outputs.items():
                passed.outputs.setdefault(topic, []).extend((key, value) for value, key, _ in sent)
            passed.refused += [(cast(Any, record).offset(), reason) for record, reason, _ in batch.dead_letters]
    return passed


def as_records(tape: Iterable[Relayed]) -> list[tuple[bytes | None, bytes | None]]:
    """The tape as the shop sends it."""
    return [(event.data.customer_id.encode(), events.encode(event)) for event in tape]


def through_all_hops(
    tape: Iterable[Relayed], cuts: Iterable[int] = (), aborted: Iterable[int] = ()
) -> dict[str, Passed]:
    """Send a tape through the whole relay, each hop's topic cut and aborted alike; gives what each hop did."""
    queues: dict[str, list[tuple[bytes | None, bytes | None]]] = {ROUTE[0].reads.name: as_records(tape)}
    done: dict[str, Passed] = {}
    for hop in ROUTE:
        done[hop.entity] = pass_in_batches(hop, queues.get(hop.reads.name, []), cuts, aborted)
        for topic, sent in done[hop.entity].outputs.items():
            queues.setdefault(topic, []).extend(sent)
    return done


@st.composite
def tapes(draw: st.DrawFn, max_size: int = 40) -> list[Relayed]:
    """Sign-ups, orders and feedback of a few people on a few things, late ones and repeats among them."""
    few = st.sampled_from
    size = draw(st.integers(0, max_size))
    tape: list[Relayed] = []
    for number in range(size):
        customer = draw(few(["1", "2", "3", "ü"]))
        minute = draw(st.integers(-100_000, 100_000)) / 10
        device, ip = draw(few(["D", "E", None])), draw(few(["1.1.1.1", "2.2.2.2", None]))
        if draw(st.booleans()) and draw(st.booleans()):
            from_where = {"country": draw(few(["DE", "FR", None])), "channel": draw(few(["Direct", "Ads", None]))}
            mail = draw(few(["mail.example", None]))
            tape.append(sign_up(customer, minute=minute, device_id=device, ip=ip, email_domain=mail, **from_where))
            continue
        placed = order(
            f"{customer}-{draw(st.integers(max(0, number - 3), number))}",
            minute=minute,
            amount=draw(st.integers(0, 10**12)),
            currency=draw(few(["USD", "USD", "EUR"])),
            device_id=device,
            ip=ip,
            card=draw(few(["C", None, None])),
            email_domain=draw(few(["mail.example", None, None])),
            address=draw(few(["A", None, None])),
            ip_country=draw(few(["DE", "FR", None])),
            utc_offset_min=draw(few([None, 0, -300, 540])),
        )
        if draw(few([True, False, False, False])):
            tape.append(
                feedback(draw(few(sorted(FEEDBACK, key=lambda kind: kind.__name__))), placed.data, minute=minute)
            )
        else:
            tape.append(placed)
    return tape
