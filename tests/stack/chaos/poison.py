"""Records that no service may use: each must come out as a dead letter, byte for byte, with its reason."""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from order_fraud import events, topics

TIME = datetime(2015, 3, 1, tzinfo=UTC)
LONG = 300_000
"""Characters of a string that makes a record longer than an event may be."""


class Dose(NamedTuple):
    """One poisonous record.

    Attributes:
        kind: its name in the report.
        topic: that it is sent to.
        key: None for a record without.
        value: None for a record without.
        reason: words that the dead letter's reason must hold.
    """

    kind: str
    topic: str
    key: bytes | None
    value: bytes | None
    reason: str


def _order(name: str, **changes: object) -> bytes:
    data = {"order_id": name, "customer_id": name, "amount": 100, "currency": "USD", "device_id": name, "ip": name}
    order = events.Order(**(data | changes))  # type: ignore[arg-type]
    return events.encode(
        events.NewOrder(id=f"order/{name}", source="/chaos", subject=name, time=TIME, data=order),
    )


def _swap(old: bytes, new: bytes) -> Callable[[str], bytes]:
    """Return a maker of orders in which one piece of the document is another; ``%s`` is the record's name."""

    def make(name: str) -> bytes:
        value, piece = _order(name), old.replace(b"%s", name.encode())
        if piece not in value:
            raise ValueError(f"{piece!r} is not in {value!r}: the poison would be an order")
        return value.replace(piece, new)

    return make


def _feedback(name: str, **changes: str) -> bytes:
    envelope = {"id": f"chargeback/{name}", "source": "/chaos", "subject": name}
    feedback = events.Feedback(order_id=name, customer_id=name)
    return events.encode(events.ChargebackOpened(**(envelope | changes), time=TIME, data=feedback))


def _verdict(name: str) -> bytes:
    verdict = events.Verdict(
        order_id=name,
        customer_id=name,
        amount=100,
        currency="USD",
        score=0,
        reasons=(),
        signals={},
        scorecard_version="v1",
        outcome="clear",
    )
    return events.encode(
        events.NoFraudDetected(id=f"verdict/{name}", source="/chaos", subject=name, time=TIME, data=verdict)
    )


def _mail(name: str) -> bytes:
    return _order(name, email_domain="mail.example")


_SHOP = topics.CUSTOMER_EVENTS.name
_Maker = Callable[[str], bytes | None]

_KINDS: tuple[tuple[str, str, _Maker, str], ...] = (
    ("not utf-8", _SHOP, lambda name: b"\xff\x00 " + name.encode(), "malformed"),
    ("cut off", _SHOP, lambda name: _order(name)[:-20], "truncated"),
    ("no value", _SHOP, lambda name: None, "no value"),
    ("empty value", _SHOP, lambda name: b"", "no value"),
    ("no event", _SHOP, lambda name: b'{"name": "%s"}' % name.encode(), "type"),
    ("a list", _SHOP, lambda name: b'["%s"]' % name.encode(), "object"),
    ("unknown type", _SHOP, _swap(b"NewOrder", b"NewOrdre"), "NewOrdre"),
    ("amount as text", _SHOP, _swap(b'"amount":100', b'"amount":"100"'), "$.data.amount"),
    ("amount missing", _SHOP, _swap(b'"amount":100,', b""), "amount"),
    ("amount negative", _SHOP, _swap(b'"amount":100', b'"amount":-1'), "$.data.amount"),
    ("amount huge", _SHOP, _swap(b'"amount":100', b'"amount":99999999999999999999'), "$.data.amount"),
    ("currency unknown", _SHOP, _swap(b'"USD"', b'"usd"'), "$.data.currency"),
    ("time in 1970", _SHOP, _swap(b"2015", b"1970"), "$.time"),
    ("time after 2099", _SHOP, _swap(b"2015", b"2150"), "$.time"),
    ("time in the future", _SHOP, _swap(b"2015", b"2090"), "after its record"),
    ("time not in UTC", _SHOP, _swap(b"00:00:00Z", b"00:00:00+02:00"), "$.time"),
    ("another's subject", _SHOP, _swap(b'"subject":"%s"', b'"subject":"1000001-1"'), "$.subject"),
    ("another's id", _SHOP, _swap(b'"id":"order/%s"', b'"id":"order/1000001-1"'), "$.id"),
    ("another's key", _SHOP, lambda name: _order(name, customer_id="somebody-else"), "instead of its customer_id"),
    ("long string", _SHOP, lambda name: _order(name, device_id="x" * LONG), "bytes"),
    ("nested deep", _SHOP, lambda name: b"[" * 5_000 + name.encode(), "opens 5000"),
    ("verdict at the shop's", _SHOP, _verdict, "no business"),
    ("device hop, garbage", topics.RELAY_BY_DEVICE.name, lambda name: name.encode(), "malformed"),
    ("device hop, no device", topics.RELAY_BY_DEVICE.name, lambda name: _order(name, device_id=None), "no device"),
    ("ip hop, no ip", topics.RELAY_BY_IP.name, lambda name: _order(name, ip=None), "no ip"),
    ("ip hop, another's key", topics.RELAY_BY_IP.name, lambda name: _order(name, ip="1.2.3.4"), "instead of its ip"),
    ("card hop, no card", topics.RELAY_BY_CARD.name, _order, "no card"),
    ("mail hop, another's key", topics.RELAY_BY_EMAIL_DOMAIN.name, _mail, "instead of its email_domain"),
    ("address hop, garbage", topics.RELAY_BY_ADDRESS.name, lambda name: b"{" + name.encode(), "malformed"),
    ("address hop, feedback without", topics.RELAY_BY_ADDRESS.name, _feedback, "no address"),
    ("feedback, another's subject", _SHOP, lambda name: _feedback(name, subject="1000001-1"), "$.subject"),
    ("feedback, another kind's id", _SHOP, lambda name: _feedback(name, id=f"fraud-cleared/{name}"), "$.id"),
    ("order as a verdict", topics.FRAUD_VERDICTS.name, _order, "no business"),
    ("correction, garbage", topics.RECONCILIATION_FINDINGS.name, lambda name: b"\x00" + name.encode(), "malformed"),
)
NO_KEY = "no key"
KINDS: tuple[str, ...] = (*(kind for kind, *_ in _KINDS), NO_KEY)


def dose(kind: str, name: str) -> Dose:
    """Return the record of one kind; ``name`` tells it from others of its kind where it has room for a name."""
    if kind == NO_KEY:
        return Dose(kind, _SHOP, None, _order(name), "no key")
    (topic, make, reason) = next((topic, make, reason) for other, topic, make, reason in _KINDS if other == kind)
    return Dose(kind, topic, name.encode(), make(name), reason)


def doses(draw: random.Random, first: int, names: int) -> list[Dose]:
    """Return ``names`` records, kinds in turn from the ``first`` on, with names that the draw makes up."""
    return [
        dose(KINDS[(first + number) % len(KINDS)], f"poison-{first + number}-{draw.randrange(1 << 30):x}")
        for number in range(names)
    ]
