"""A small world whose systems all agree: events, the archive that the stream would leave, the shop, the payments.

Tests plant a difference by editing one system's rows. The archive is made with the relay itself, record by record.
"""

import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import polars as pl

from lake import disputes, labels
from lake.reconcile import contacts, facts
from lake.reconcile.allowances import Allowances
from lake.reconcile.late import would_change
from lake.reconcile.match import match
from lake.reconcile.outcome import Outcome
from lake.reconcile.parity import ARCHIVE_SCHEMA, compare, read_panels
from lake.reconcile.scope import Scope
from lake.reconcile.summary import figures, summarize
from order_fraud import events, policies, relay, topics
from order_fraud.events import (
    Activation,
    ChargebackOpened,
    Customer,
    Delivery,
    DeliveryHeld,
    DeliveryReleased,
    Event,
    Feedback,
    FraudCleared,
    FraudConfirmed,
    NewCustomer,
    NewOrder,
    NoFraudDetected,
    Order,
    Overdue,
    VerdictOverdue,
)
from order_fraud.judge import Panel
from order_fraud.scorecard import Scorecard
from scorecards import PANEL

START = datetime(2015, 3, 1, tzinfo=UTC)
ARRIVED = datetime(2026, 1, 1, tzinfo=UTC)
PARTITIONS = 4
SHOP = {
    "order_id": pl.String, "customer_id": pl.String, "created_at": pl.Datetime("us", "UTC"), "day": pl.Date,
    "amount": pl.Int64, "currency": pl.String, "financial_status": pl.String, "updated_at": pl.Datetime("us", "UTC"),
}  # fmt: skip
CHARGES = {
    "charge_id": pl.String, "order_id": pl.String, "amount": pl.Int64, "currency": pl.String,
    "created_at": pl.Datetime("us", "UTC"), "day": pl.Date, "captured": pl.Boolean, "status": pl.String,
}  # fmt: skip


REFUNDS = {
    "refund_id": pl.String, "order_id": pl.String, "amount": pl.Int64, "currency": pl.String,
    "created_at": pl.Datetime("us", "UTC"),
}  # fmt: skip
EMAILS = {name: SHOP.get(name, pl.String) for name in contacts.SHOP_COLUMNS}
CONTACTS = {name: pl.String for name in contacts.COLUMNS} | {"updated_at": pl.Datetime("us", "UTC")}


def sign_up(customer: str, at: datetime, device: str | None = None, ip: str | None = None) -> NewCustomer:
    data = Customer(customer_id=customer, device_id=device, ip=ip)
    return NewCustomer(id=f"customer/{customer}", source="/shop", subject=customer, time=at, data=data)


def order(
    order_id: str, customer: str, at: datetime, amount: int = 1000, device: str | None = None, ip: str | None = None
) -> NewOrder:
    data = Order(order_id=order_id, customer_id=customer, amount=amount, currency="USD", device_id=device, ip=ip)
    return NewOrder(id=f"order/{order_id}", source="/shop", subject=order_id, time=at, data=data)


def feedback(
    kind: type[FraudConfirmed | FraudCleared | ChargebackOpened], about: NewOrder, at: datetime, by: str | None = None
) -> FraudConfirmed | FraudCleared | ChargebackOpened:
    """Return word of what an order turned out to be, with the entities of that order."""
    what = {FraudConfirmed: "fraud-confirmed", FraudCleared: "fraud-cleared"}.get(kind, "chargeback")
    names = ("order_id", "customer_id", "device_id", "ip", "card", "email_domain", "address")
    data = Feedback(**{name: getattr(about.data, name) for name in names}, by=by)
    return kind(id=f"{what}/{about.subject}", source="/review", subject=about.subject, time=at, data=data)


Incoming = NewCustomer | NewOrder | FraudConfirmed | FraudCleared | ChargebackOpened


@dataclass
class World:
    """What every system holds, as plain rows that a test may edit."""

    topics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    shop: list[dict[str, Any]] = field(default_factory=list)
    charges: list[dict[str, Any]] = field(default_factory=list)
    shop_aside: list[str] = field(default_factory=list)
    charges_aside: list[str] = field(default_factory=list)
    refunds: list[dict[str, Any]] = field(default_factory=list)
    shop_refunds: list[dict[str, Any]] = field(default_factory=list)
    disputes: list[dict[str, Any]] = field(default_factory=list)
    contacts: list[dict[str, Any]] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    refunds_aside: list[str] = field(default_factory=list)

    def append(
        self, topic: str, key: str, event: Event, partitions: int = PARTITIONS, came_in: datetime | None = None
    ) -> dict[str, Any]:
        """Put an event on a topic as landing would archive it; an answer bears the time at which its order came in."""
        rows = self.topics.setdefault(topic, [])
        partition = zlib.crc32(key.encode()) % partitions
        row = {
            "partition": partition,
            "offset": sum(row["partition"] == partition for row in rows) * 3 + 7,  # gaps, as transactions leave them
            "timestamp": came_in or ARRIVED + timedelta(seconds=len(rows)),
            "key": key,
            "type": type(event).__name__,
            "event_id": event.id,
            "subject": event.subject,
            "time": event.time,
            "day": event.time.date(),
            "value": events.encode(events.decode(events.encode(event))).decode(),
        }
        rows.append(row)
        return row

    def publish(self, scorecard: Scorecard, at: datetime = START, came_in: datetime | None = None) -> None:
        """Put a scorecard on fraud.policies."""
        event = policies.publication(scorecard, at)
        self.append(topics.FRAUD_POLICIES.name, policies.key(event), event, 1, came_in)

    def activate(self, active: str, *shadows: str, at: datetime = START, came_in: datetime | None = None) -> None:
        """Let published scorecards judge; what has been judged stays judged."""
        event = policies.activation(Activation(active=active, shadows=shadows, owner="ann", reason="a test"), at)
        self.append(topics.FRAUD_POLICIES.name, policies.key(event), event, 1, came_in)

    def stream(
        self,
        incoming: Sequence[Incoming],
        panel_of: Callable[[str], Panel] = lambda order_id: PANEL,
        came_in: Sequence[datetime] | None = None,
    ) -> "World":
        """Let the events run through relay and delivery, hop after hop.

        ``panel_of`` says who judges which order, ``came_in`` when each event came in (by default second by second).
        """
        for number, event in enumerate(incoming):
            moment = came_in[number] if came_in else None
            self.append(topics.CUSTOMER_EVENTS.name, event.data.customer_id, event, came_in=moment)
        for hop in relay.ROUTE:
            histories: dict[int, relay.Shelf] = {}
            for row in list(self.topics.get(hop.reads.name, ())):
                try:
                    event = relay.receive(
                        hop, row["key"].encode(), row["value"].encode(), int(row["timestamp"].timestamp() * 1000)
                    )
                    panel = panel_of(event.subject)
                    onward = relay.step(hop, histories.setdefault(row["partition"], relay.Shelf()), event, panel)
                except relay.Unusable:
                    continue
                if onward is not None:
                    self.append(onward.topic.name, onward.key, onward.event, came_in=row["timestamp"])
        for row in self.topics.get(topics.FRAUD_VERDICTS.name, ()):
            self.deliver(row)
        return self

    def deliver(self, verdict: dict[str, Any]) -> None:
        """Release or hold as the verdict says."""
        cleared = verdict["type"] == NoFraudDetected.__name__
        kind = DeliveryReleased if cleared else DeliveryHeld
        self.told(kind, verdict["subject"], verdict["key"], verdict["time"], verdict["timestamp"])

    def told(
        self, kind: type[Event], order_id: str, customer: str, at: datetime, came_in: datetime | None = None
    ) -> dict[str, Any]:
        """Tell the warehouse something."""
        what = {DeliveryReleased: "released", DeliveryHeld: "held"}.get(kind, "cancelled")
        data = Delivery(order_id=order_id, customer_id=customer, cause=f"verdict/{order_id}")
        event = kind(id=f"delivery/{order_id}/{what}", source="/delivery", subject=order_id, time=at, data=data)
        return self.append(topics.DELIVERY_EVENTS.name, customer, event, came_in=came_in)

    def alarmed(self, order_id: str, customer: str | None, at: datetime, refused: str | None = None) -> dict[str, Any]:
        """Let the delivery service report an order that waits for its verdict."""
        event = VerdictOverdue(
            id=f"delivery/{order_id}/overdue",
            source="/delivery",
            subject=order_id,
            time=at,
            data=Overdue(
                order_id=order_id,
                customer_id=customer,
                record="customer.events, partition 1, offset 7",
                since=ARRIVED,
                longer_than_s=60.0,
                refused=refused,
            ),
        )
        return self.append(topics.DELIVERY_EVENTS.name, customer or order_id, event)

    def sell(self, sold: Sequence[NewCustomer | NewOrder]) -> "World":
        """Let shop and payment provider know the orders."""
        for event in sold:
            if isinstance(event, NewOrder):
                self.in_shop(event.data.order_id, event.data.customer_id, event.time, event.data.amount)
                self.pay(event.data.order_id, event.time + timedelta(minutes=1), event.data.amount)
        return self

    def in_shop(self, order_id: str, customer: str, at: datetime, amount: int) -> None:
        common = {"order_id": order_id, "amount": amount, "currency": "USD", "created_at": at, "day": at.date()}
        more = {"customer_id": customer, "financial_status": "AUTHORIZED", "updated_at": at}
        self.shop.append(common | more | {"email_token": f"tok_{customer}"})

    def in_crm(self, customer: str, at: datetime = START, **other: Any) -> dict[str, Any]:
        row = {"contact_id": f"003{customer}", "customer_id": customer, "updated_at": at, "lead_source": None} | other
        self.contacts.append({"email_token": f"tok_{customer}"} | row)
        return self.contacts[-1]

    def refund(self, order_id: str, amount: int, at: datetime = START, **other: Any) -> None:
        """Let the payment provider give money back."""
        row = {"refund_id": f"re_{len(self.refunds)}", "order_id": order_id, "amount": amount, "created_at": at}
        self.refunds.append(row | {"currency": "USD"} | other)

    def give_back(self, order_id: str, amount: int, at: datetime = START, **other: Any) -> None:
        """Let the shop book a refund, and say so of the order."""
        row = {"refund_id": f"8{len(self.shop_refunds)}", "order_id": order_id, "amount": amount, "created_at": at}
        self.shop_refunds.append(row | {"currency": "USD"} | other)
        order = next(row for row in self.shop if row["order_id"] == order_id)
        whole = sum(one["amount"] for one in self.shop_refunds if one["order_id"] == order_id) >= order["amount"]
        order |= {"financial_status": "REFUNDED" if whole else "PARTIALLY_REFUNDED", "updated_at": at}

    def dispute(self, order_id: str, at: datetime = START, **other: Any) -> None:
        """Let a cardholder's bank take back a charge."""
        row = next(row for row in self.charges if row["order_id"] == order_id)
        common = {"dispute_id": f"dp_{len(self.disputes)}", "charge_id": row["charge_id"], "created_at": at}
        more = {"amount": row["amount"], "currency": "USD", "day": at.date(), "reason": "fraudulent"}
        self.disputes.append(common | more | {"status": "needs_response"} | other)

    def pay(self, order_id: str | None, at: datetime, amount: int, **other: Any) -> dict[str, Any]:
        common = {"order_id": order_id, "amount": amount, "currency": "USD", "created_at": at, "day": at.date()}
        row = common | {"charge_id": f"ch_{len(self.charges)}", "captured": False, "status": "succeeded"} | other
        self.charges.append(row)
        return row

    def archive(self, topic: str, columns: Sequence[str]) -> pl.DataFrame:
        """Read as the lake would: in no particular order."""
        rows = self.topics.get(topic, ())
        shuffled = random.Random(7).sample(rows, len(rows))
        return pl.DataFrame(shuffled, schema=ARCHIVE_SCHEMA).select(columns)

    def scope(
        self,
        first: date = date(2000, 1, 1),
        last: date = date(2100, 1, 1),
        settled: datetime | None = None,
        allowances: Allowances | None = None,
    ) -> Scope:
        """Fold, and open the facts."""
        allowances = allowances or Allowances()
        panels = read_panels(self.archive, PANEL)
        parity = compare(self.archive, panels, first, last)
        shop, charges = pl.DataFrame(self.shop, schema=SHOP), pl.DataFrame(self.charges, schema=CHARGES)
        sign_ups = facts.sign_ups(self.archive(topics.CUSTOMER_EVENTS.name, facts.SIGN_UP_COLUMNS))
        rows = pl.DataFrame(self.disputes, schema=disputes.SCHEMA | {"charge_id": pl.String})
        disputed = disputes.of_orders(rows.drop("order_id", "customer_id"), charges, shop)
        emails = pl.DataFrame([{"email_token": None} | row for row in self.shop], schema=EMAILS)
        known = pl.DataFrame(self.contacts, schema=CONTACTS)
        changed = would_change(self.archive, parity, panels, first, last, allowances.late)
        both = {
            "streamed": facts.streamed(self.archive(topics.CUSTOMER_EVENTS.name, facts.ARCHIVE_COLUMNS)),
            "sign_ups": sign_ups,
            "words": disputes.added(labels.words(self.archive(topics.CUSTOMER_EVENTS.name, labels.COLUMNS)), disputed),
            "policies": self.archive(topics.FRAUD_POLICIES.name, facts.POLICY_COLUMNS),
            "refunds": pl.DataFrame(self.refunds, schema=REFUNDS),
            "shop_refunds": pl.DataFrame(self.shop_refunds, schema=REFUNDS),
            "disputes": disputed,
            "contacts": contacts.differing(*suspected(known, emails, sign_ups)),
            "returned": pl.DataFrame({"order_id": self.returned}, schema={"order_id": pl.String}),
            "refunds_aside": pl.DataFrame({"order_id": self.refunds_aside}, schema={"order_id": pl.String}),
            "verdicts": facts.verdicts(self.archive(topics.FRAUD_VERDICTS.name, facts.ARCHIVE_COLUMNS)),
            "deliveries": facts.deliveries(self.archive(topics.DELIVERY_EVENTS.name, facts.ARCHIVE_COLUMNS)),
            "alarms": facts.alarms(self.archive(topics.DELIVERY_EVENTS.name, facts.ARCHIVE_COLUMNS)),
            "shop": shop,
            "charges": charges,
            "shop_aside": pl.DataFrame({"order_id": self.shop_aside}, schema={"order_id": pl.String}),
            "charges_aside": pl.DataFrame({"order_id": self.charges_aside}, schema={"order_id": pl.String}),
        }
        snapshots = {"shop.orders": 11, "kafka.fraud_verdicts": 22, "payments.refunds": 33}
        until = settled or ARRIVED + timedelta(days=1)
        return Scope(facts.Facts(**both), parity, first, last, until, snapshots, allowances, changed)

    def only(self, topic: str, event_id: str) -> dict[str, Any]:
        """Return the one record of an event on a topic."""
        (row,) = (row for row in self.topics[topic] if row["event_id"] == event_id)
        return row

    def drop(self, topic: str, event_id: str) -> dict[str, Any]:
        """Make a record vanish, and return it."""
        row = self.only(topic, event_id)
        self.topics[topic].remove(row)
        return row


def suspected(known: pl.DataFrame, emails: pl.DataFrame, sign_ups: pl.DataFrame) -> list[pl.DataFrame]:
    """Return of contacts, orders and sign-ups what must be looked at more closely, as the lake would."""
    some = contacts.suspects(known.iter_slices(7), emails.iter_slices(7), sign_ups)
    return [frame.join(some, on="customer_id", how="semi") for frame in (known, emails, sign_ups)]


def edit(row: dict[str, Any], **changes: Any) -> None:
    """Change fields of an archived event's ``data``."""
    event = events.decode(row["value"].encode())
    changed = msgspec.structs.replace(event, data=msgspec.structs.replace(event.data, **changes))
    row["value"] = events.encode(changed).decode()


def traffic(customers: int = 12, orders: int = 4, seed: int = 1) -> list[NewCustomer | NewOrder]:
    """Return sign-ups and orders in event-time order; some share devices and ips, some have none."""
    draw = random.Random(seed)
    made: list[NewCustomer | NewOrder] = []
    for number in range(customers):
        customer = f"c{number}"
        device = None if number % 5 == 0 else f"d{number % 4}"
        ip = None if number % 3 == 0 else f"10.0.0.{number % 4}"
        made.append(sign_up(customer, START + timedelta(minutes=number), device, ip))
        for place in range(1, orders + 1):
            at = START + timedelta(hours=draw.uniform(1, 96))
            made.append(order(f"{customer}-{place}", customer, at, draw.randrange(500, 50_000), device, ip))
    return sorted(made, key=lambda event: event.time)


def full_traffic(customers: int = 12, orders: int = 4, seed: int = 1) -> list[Incoming]:
    """Return traffic whose orders take all six hops, and word of what some of them were."""
    made: list[Incoming] = []
    for event in traffic(customers, orders, seed):
        if not isinstance(event, NewOrder):
            made.append(event)
            continue
        number = int(event.data.customer_id[1:])
        more = {"card": f"card{number % 5}", "email_domain": "example.org", "address": f"a{number % 6}"}
        rich = msgspec.structs.replace(event, data=msgspec.structs.replace(event.data, **more))
        made.append(rich)
        if event.subject.endswith("-2"):
            at = event.time + timedelta(hours=30)
            made.append(feedback(ChargebackOpened if number % 2 else FraudConfirmed, rich, at, "dp_1"))
            if number % 4 == 0:
                made.append(feedback(FraudCleared, rich, at + timedelta(hours=1), "ann"))
    return sorted(made, key=lambda event: event.time)


def calm(seed: int = 1, customers: int = 12, orders: int = 4) -> World:
    """Return a world in which all systems agree."""
    made = traffic(customers, orders, seed)
    return World().stream(made).sell(made)


def outcome_of(world: World, run_id: str, *, dry_run: bool = False) -> Outcome:
    """Return what a reconciliation of all days of the world finds."""
    scope = world.scope()
    return Outcome(
        run_id=run_id,
        made_at=ARRIVED,
        first=START.date(),
        last=(START + timedelta(days=5)).date(),
        dry_run=dry_run,
        settled=scope.settled,
        scorecards=list(scope.parity.judged),
        snapshots=dict(scope.snapshots),
        parity=figures(scope.parity),
        summary=summarize(scope),
        differences=match(scope),
    )
