"""One worked example of each event type: two people's orders, sent through the real relay."""

from datetime import UTC, datetime, timedelta

from order_fraud import events, watch
from order_fraud.delivery import on_correction, on_verdict
from order_fraud.events import (
    Activation,
    BadEvent,
    ChargebackOpened,
    Correction,
    CorrectionRequested,
    Customer,
    DeliveryStopRequested,
    DeliveryStopWithdrawn,
    Event,
    Feedback,
    Finding,
    FindingRaised,
    FraudCleared,
    FraudConfirmed,
    NewCustomer,
    NewOrder,
    NoFraudDetected,
    Order,
    PolicyActivated,
    PolicyPublished,
    PossibleFraud,
    Stop,
    VerdictOverdue,
)
from order_fraud.relay import ROUTE, Shelf, receive, step
from scorecards import PANEL, SCORECARD

_SIGN_UP = datetime(2015, 2, 24, 22, 55, 49, tzinfo=UTC)


def examples() -> dict[str, Event]:
    """Return an example of every event type, by its name.

    Raises:
        LookupError: an event type has no example, or the relay no longer judges these orders as it did.
    """
    honest = _judged("22058", _SIGN_UP, _SIGN_UP + timedelta(days=52, hours=3, minutes=51))
    hasty = _judged("1359", _SIGN_UP, _SIGN_UP + timedelta(seconds=1))
    if not (isinstance(honest, NoFraudDetected) and isinstance(hasty, PossibleFraud)):
        raise LookupError(f"the examples are judged {type(honest).__name__} and {type(hasty).__name__}: choose others")
    correction = _correction(hasty)
    recall = on_correction(correction)
    found: list[Event | None] = [
        _sign_up("22058", _SIGN_UP),
        _order("22058", honest.time),
        honest,
        hasty,
        *(_feedback(kind, hasty) for kind in (FraudConfirmed, FraudCleared, ChargebackOpened)),
        *_policy(),
        on_verdict(honest),
        on_verdict(hasty),
        recall,
        _overdue(hasty.time),
        _finding(hasty),
        correction,
        _stop(hasty, DeliveryStopRequested, "stop-delivery"),
        _stop(hasty, DeliveryStopWithdrawn, "stop-delivery/undo"),
    ]
    by_name = {type(event).__name__: event for event in found if event is not None}
    if missing := events.EVENT_TYPES.keys() - by_name.keys():
        raise LookupError(f"no example of {', '.join(sorted(missing))}: add it to docs/contracts/examples.py")
    return by_name


def _sign_up(customer_id: str, time: datetime) -> NewCustomer:
    return NewCustomer(
        id=f"customer/{customer_id}",
        source="/shop",
        subject=customer_id,
        time=time,
        data=Customer(
            customer_id=customer_id, device_id="QVPSPJUOCKZAR", ip="43.122.51.7", channel="SEO", browser="Chrome"
        ),
    )


def _order(customer_id: str, time: datetime) -> NewOrder:
    order_id = f"{customer_id}-1"
    return NewOrder(
        id=f"order/{order_id}",
        source="/shop",
        subject=order_id,
        time=time,
        data=Order(
            order_id=order_id,
            customer_id=customer_id,
            amount=3_400,
            currency="USD",
            device_id="QVPSPJUOCKZAR",
            ip="43.122.51.7",
        ),
    )


def _judged(customer_id: str, signed_up: datetime, ordered: datetime) -> Event:
    """Send a sign-up and an order through all hops, record by record, as the stream does."""
    histories = {hop.reads.name: Shelf() for hop in ROUTE}
    hops = {hop.reads.name: hop for hop in ROUTE}
    last: Event | None = None
    for event in (_sign_up(customer_id, signed_up), _order(customer_id, ordered)):
        topic, key, last = ROUTE[0].reads.name, customer_id, event
        while topic in hops:
            hop = hops[topic]
            came = receive(hop, key.encode(), events.encode(last))
            onward = step(hop, histories[topic], came, PANEL)
            if onward is None:
                break
            topic, key, last = onward.topic.name, onward.key, onward.event
    if last is None:
        raise LookupError("the relay gave nothing")
    return last


def _feedback(kind: type[FraudConfirmed | FraudCleared | ChargebackOpened], held: PossibleFraud) -> Event:
    """Say of the hasty order what it was, some weeks later."""
    prefix, by = {
        FraudConfirmed: ("fraud-confirmed", "review/anna"),
        FraudCleared: ("fraud-cleared", "review/anna"),
        ChargebackOpened: ("chargeback", "dp_1MtJUT2eZvKYlo2CNaw2HvEv"),
    }[kind]
    order = _order(held.data.customer_id, held.time).data
    return kind(
        id=f"{prefix}/{order.order_id}",
        source="/payments" if kind is ChargebackOpened else "/review",
        subject=order.order_id,
        time=held.time + timedelta(days=20),
        data=Feedback(
            order_id=order.order_id,
            customer_id=order.customer_id,
            device_id=order.device_id,
            ip=order.ip,
            amount=order.amount,
            currency=order.currency,
            by=by,
        ),
    )


def _policy() -> tuple[PolicyPublished, PolicyActivated]:
    version, time = SCORECARD.version, datetime(2015, 1, 1, tzinfo=UTC)
    published = PolicyPublished(id=f"policy/{version}", source="/policy", subject=version, time=time, data=SCORECARD)
    activated = PolicyActivated(
        id=f"activation/{version}/2015-01-01T00:00:00Z",
        source="/policy",
        subject=version,
        time=time,
        data=Activation(active=version, owner="countersign", reason="the first"),
    )
    return published, activated


def _overdue(time: datetime) -> VerdictOverdue:
    """Refuse an order for its currency, and let it wait for a minute."""
    order = _order("22059", time)
    value = events.encode(order).replace(b'"USD"', b'"usd"')
    memory: dict[str, watch.Entry] = {}
    watch.came_in(memory, [(b"22059", value, 17, int(time.timestamp() * 1000) + 250)], now=0)
    try:
        events.decode(value)
    except BadEvent as error:
        watch.refused(memory, value, 17, str(error), now=10)
    (overdue,) = watch.look(memory, 2, now=60_001, since=0, longer_than_s=60.0).overdue
    return overdue


def _finding(held: PossibleFraud) -> FindingRaised:
    kind = "released-without-clearance"
    order_id = held.data.order_id
    return FindingRaised(
        id=f"finding/{kind}/{order_id}",
        source="/reconcile",
        subject=order_id,
        time=held.time,
        data=Finding(
            kind=kind,
            order_id=order_id,
            customer_id=held.data.customer_id,
            cause="The parcel was released although the only verdict on the order is PossibleFraud.",
            evidence={"stream": held.id, "delivery": f"delivery/{order_id}/released"},
            amount=held.data.amount,
            currency=held.data.currency,
            remedy="cancel-delivery",
        ),
    )


def _stop[Word: (DeliveryStopRequested, DeliveryStopWithdrawn)](
    held: PossibleFraud, kind: type[Word], step: str
) -> Word:
    """Settle the hasty order as fraud."""
    order_id = held.data.order_id
    return kind(
        id=f"settle/{order_id}/{step}",
        source="/settle",
        subject=order_id,
        time=held.time + timedelta(days=20),
        data=Stop(
            order_id=order_id,
            customer_id=held.data.customer_id,
            cause="The order is fraud by FraudConfirmed of review/anna.",
        ),
    )


def _correction(held: PossibleFraud) -> CorrectionRequested:
    finding = _finding(held)
    order_id = finding.data.order_id
    return CorrectionRequested(
        id=f"correction/{finding.data.kind}/{order_id}",
        source="/reconcile",
        subject=order_id,
        time=finding.time,
        data=Correction(
            finding_id=finding.id,
            kind=finding.data.kind,
            order_id=order_id,
            customer_id=finding.data.customer_id,
            remedy=finding.data.remedy,
        ),
    )
