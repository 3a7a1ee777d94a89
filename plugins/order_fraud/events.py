"""Every event of Countersign: a CloudEvents 1.0 JSON document in structured mode, tagged by ``type``.

* ``id`` is deterministic (``order/<order_id>``, ``verdict/<order_id>`` …), so that a repeat is recognisable.
* ``time`` is the business time in UTC. It orders the business; the broker's clock never does.
* Money is an integer of minor units (cents) plus an ISO 4217 currency.

Source of the envelope: CloudEvents 1.0.2, "JSON Event Format", section 3 (structured content mode).
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import accumulate
from typing import Annotated, Literal, Union, final

import msgspec
from msgspec import Meta

from order_fraud.scorecard import Scorecard

Identifier = Annotated[str, Meta(min_length=1, max_length=200, description="an opaque id of the source system")]
CustomerId = Annotated[Identifier, Meta(description="the shop's id of the customer")]
OrderId = Annotated[Identifier, Meta(description="the shop's id of the order")]
DeviceId = Annotated[Identifier, Meta(description="the device's fingerprint")]
Ip = Annotated[Identifier, Meta(description="the ip address, or its token once it has landed in the lake")]
EventId = Annotated[str, Meta(min_length=1, max_length=300, description="deterministic: <what>/<id of the matter>")]
Subject = Annotated[str, Meta(min_length=1, max_length=300, description="id of the matter: the customer or the order")]
Source = Annotated[str, Meta(min_length=1, max_length=200, description="the service that made the event, e.g. /shop")]
Time = Annotated[datetime, Meta(tz=True, description="business time in UTC, from the year 2000 to 2099")]
CardId = Annotated[Identifier, Meta(description="fingerprint of the card by the payment provider, never its number")]
EmailDomain = Annotated[Identifier, Meta(description="what follows the @, in lower case")]
AddressId = Annotated[Identifier, Meta(description="the shop's fingerprint of the shipping address, never the address")]
Country = Annotated[
    str,
    Meta(min_length=2, max_length=60, description="country as the sender names it, the same name everywhere"),
]
Label = Annotated[str, Meta(max_length=200, description="a word of the source system, for people only")]
MinorUnits = Annotated[
    int, Meta(ge=0, le=10**12, description="money in minor units of the currency (cents), at most 10^12")
]
Currency = Annotated[
    # The pattern is documented here and checked by `decode`: msgspec calls Python's `re`, a quarter of all the parsing.
    str,
    Meta(
        min_length=3,
        max_length=3,
        description="ISO 4217 currency code",
        extra_json_schema={"pattern": "^[A-Z]{3}$"},
    ),
]
UtcOffset = Annotated[int, Meta(ge=-840, le=840, description="minutes east of UTC where the customer is")]
Outcome = Literal["clear", "review", "block"]
Points = Annotated[int, Meta(description="points of the scorecard: more means more like fraud")]
CauseId = Annotated[str, Meta(description="id of the event that this one answers")]
Sentence = Annotated[str, Meta(description="a plain sentence with the numbers in it")]
Signals = Annotated[dict[str, float], Meta(description="what the relay measured, by signal name (see signals)")]
FindingKind = Literal[
    "order-not-streamed",
    "order-not-sold",
    "verdict-missing",
    "verdict-repeated",
    "verdict-not-reproducible",
    "verdict-would-change",
    "policy-skew",
    "customer-unknown",
    "customer-differs",
    "released-without-clearance",
    "released-twice",
    "held-overdue",
    "fraud-missed",
    "amount-differs",
    "payment-missing",
    "payment-orphan",
    "charged-but-rejected",
    "refund-missing",
]
Remedy = Literal[
    "stream-order",
    "check-shop",
    "cancel-delivery",
    "adjust-payment",
    "collect-payment",
    "refund-payment",
    "decide-hold",
    "settle-fraud",
    "correct-contact",
    "investigate",
]


@final
class Customer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Who signed up, and from where. Sex and age are not carried: no verdict may depend on them."""

    customer_id: CustomerId
    device_id: DeviceId | None = None
    ip: Ip | None = None
    email_domain: EmailDomain | None = None
    country: Annotated[Country | None, Meta(description="where the customer says to live")] = None
    channel: Annotated[
        Label | None, Meta(description="what brought the customer, a word of the source system; `Direct` is nobody")
    ] = None
    browser: Label | None = None


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What was bought, by whom, from where. ``signals`` is empty at the shop; the relay stamps it hop by hop."""

    order_id: OrderId
    customer_id: CustomerId
    amount: MinorUnits
    currency: Currency
    device_id: DeviceId | None = None
    ip: Ip | None = None
    card: CardId | None = None
    email_domain: EmailDomain | None = None
    address: AddressId | None = None
    ip_country: Annotated[Country | None, Meta(description="country of the ip by the sender's range table")] = None
    utc_offset_min: UtcOffset | None = None
    signals: Signals = {}


@final
class Feedback(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What an order turned out to be, with the entities it came from, so that each of them can learn of it."""

    order_id: OrderId
    customer_id: CustomerId
    device_id: DeviceId | None = None
    ip: Ip | None = None
    card: CardId | None = None
    email_domain: EmailDomain | None = None
    address: AddressId | None = None
    amount: MinorUnits | None = None
    currency: Currency | None = None
    by: Annotated[Label | None, Meta(description="who says so: a reviewer, or the provider's id of the dispute")] = None


class Reason(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A bin, rule, entry or snooze that fired: its stable code, its points, and a plain sentence with the numbers."""

    code: Annotated[str, Meta(description="name of the bin or rule, `list.` and the entry's name, or `snooze`")]
    points: Points
    text: Sentence


class Shadow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a scorecard that is on trial would have said; without any effect."""

    scorecard_version: Annotated[str, Meta(description="of the scorecard on trial")]
    outcome: Annotated[Outcome, Meta(description="what it would have said")]
    score: Points


class Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A decision with everything it was made from, so that it can be re-derived from itself alone."""

    order_id: OrderId
    customer_id: CustomerId
    amount: MinorUnits
    currency: Currency
    score: Points
    reasons: Annotated[
        tuple[Reason, ...], Meta(description="all that fired: snooze, list entries by entity, rules, bins")
    ]
    signals: Signals
    scorecard_version: Annotated[str, Meta(description="of the scorecard that judged")]
    outcome: Annotated[Outcome, Meta(description="clear ships; review waits for a person; block is not to ship")]
    priority: Annotated[
        int, Meta(ge=0, le=100, description="the lowest number is looked at first; 0 if nothing waits")
    ] = 0
    shadows: Annotated[tuple[Shadow, ...], Meta(description="what scorecards on trial would have said")] = ()


class Delivery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the warehouse may do with an order, and the event that says so (``cause`` is that event's id)."""

    order_id: OrderId
    customer_id: CustomerId
    cause: CauseId


class Overdue(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An order without a verdict: which, where it came in, and since when. A person is to look into it."""

    order_id: OrderId
    customer_id: Annotated[CustomerId | None, Meta(description="the key of its record, if that is an id at all")]
    record: Annotated[str, Meta(description="where the order came in: topic, partition and offset")]
    since: Annotated[datetime, Meta(tz=True, description="Kafka's time stamp of that record, UTC")]
    longer_than_s: Annotated[
        float, Meta(description="for more than so many seconds there was no verdict, although nothing was left to read")
    ]
    refused: Annotated[str | None, Meta(description="why the fraud service refused that record, if it is known")]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A difference between the systems: what, why, with which evidence, how much money, and what to do."""

    kind: Annotated[FindingKind, Meta(description="what kind of difference")]
    order_id: OrderId
    customer_id: CustomerId | None
    cause: Sentence
    evidence: Annotated[dict[str, str], Meta(description="what each system says, by name")]
    amount: MinorUnits
    currency: Currency | None
    remedy: Annotated[Remedy, Meta(description="what is to be done")]


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """The remedy that a finding asks of the service which owns the matter."""

    finding_id: CauseId
    kind: Annotated[FindingKind, Meta(description="what kind of difference")]
    order_id: OrderId
    customer_id: CustomerId | None
    remedy: Annotated[Remedy, Meta(description="what is to be done")]


class Stop(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The parcel of an order that is being settled as fraud, and why."""

    order_id: OrderId
    customer_id: CustomerId
    cause: Sentence


class Activation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which scorecards judge: one with effect, others on trial beside it."""

    active: Annotated[str, Meta(min_length=1, max_length=64, description="version of the scorecard that judges")]
    shadows: Annotated[tuple[str, ...], Meta(max_length=4, description="versions on trial")] = ()
    owner: Annotated[str, Meta(min_length=1, max_length=200, description="who answers for the change")]
    reason: Annotated[str, Meta(min_length=1, max_length=2000, description="why, for people")]


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type"):
    """The CloudEvents envelope; ``type`` is the name of the subclass."""

    specversion: Literal["1.0"] = "1.0"
    id: EventId
    source: Source
    subject: Subject
    time: Time


class NewCustomer(Event, frozen=True, tag=True):
    """A person signed up at the shop. ``subject`` is the customer id, ``time`` the sign-up."""

    data: Customer


class NewOrder(Event, frozen=True, tag=True):
    """A customer placed an order at the shop. ``subject`` is the order id, ``time`` the purchase."""

    data: Order


class PossibleFraud(Event, frozen=True, tag=True):
    """The order must not leave the warehouse. ``time`` is the order's."""

    data: Verdict


class NoFraudDetected(Event, frozen=True, tag=True):
    """The order is cleared: the only event on which delivery goes on. ``time`` is the order's."""

    data: Verdict


_NO_SIGNALS = msgspec.Raw(b"{}")


@final
class SealedOrder(Order, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An order whose signals are left as the JSON bytes that they came in; see :func:`decode_sealed`."""

    signals: msgspec.Raw = _NO_SIGNALS  # type: ignore[assignment]  # the point of the class


class SealedNewOrder(NewOrder, frozen=True, tag="NewOrder"):
    """A ``NewOrder`` with a sealed order."""

    data: SealedOrder


class FraudConfirmed(Event, frozen=True, tag=True):
    """A person found the order to be fraud. ``subject`` is the order id, ``time`` the moment of finding out."""

    data: Feedback


class FraudCleared(Event, frozen=True, tag=True):
    """A person found the order to be honest; takes back what was confirmed before. ``time`` is when."""

    data: Feedback


class ChargebackOpened(Event, frozen=True, tag=True):
    """The cardholder's bank takes the money back. ``time`` is when the dispute was opened."""

    data: Feedback


class PolicyPublished(Event, frozen=True, tag=True):
    """A scorecard was published; it judges nothing until it is made active or put on trial. ``subject`` is its version,
    ``time`` when it was published.
    """

    data: Scorecard


class PolicyActivated(Event, frozen=True, tag=True):
    """From now on this scorecard judges, and these are on trial beside it. ``subject`` is the active version."""

    data: Activation


class DeliveryReleased(Event, frozen=True, tag=True):
    """The warehouse may ship. ``time`` is the order's."""

    data: Delivery


class DeliveryHeld(Event, frozen=True, tag=True):
    """The warehouse must wait. ``time`` is the order's."""

    data: Delivery


class DeliveryCancelled(Event, frozen=True, tag=True):
    """The warehouse must stop or recall the parcel. ``time`` is the correction's."""

    data: Delivery


class VerdictOverdue(Event, frozen=True, tag=True):
    """No verdict on the order has come for too long; the parcel waits. Said once per order; ``time`` is the order's
    (where that cannot be read, the one of its record).
    """

    data: Overdue


class FindingRaised(Event, frozen=True, tag=True):
    """Reconciliation found a difference. ``time`` is the business time of the order or payment concerned."""

    data: Finding


class CorrectionRequested(Event, frozen=True, tag=True):
    """Reconciliation asks for a remedy. ``time`` is the finding's."""

    data: Correction


class DeliveryStopRequested(Event, frozen=True, tag=True):
    """An order is settled as fraud: its parcel must be stopped or recalled. ``time`` is when the fraud was known."""

    data: Stop


class DeliveryStopWithdrawn(Event, frozen=True, tag=True):
    """The settlement was undone: the parcel is not recalled any more, it waits for a person. ``time`` is the stop's."""

    data: Stop


AnyEvent = (
    NewCustomer
    | NewOrder
    | PossibleFraud
    | NoFraudDetected
    | FraudConfirmed
    | FraudCleared
    | ChargebackOpened
    | PolicyPublished
    | PolicyActivated
    | DeliveryReleased
    | DeliveryHeld
    | DeliveryCancelled
    | VerdictOverdue
    | FindingRaised
    | CorrectionRequested
    | DeliveryStopRequested
    | DeliveryStopWithdrawn
)

EVENT_TYPES: dict[str, type[Event]] = {cls.__name__: cls for cls in AnyEvent.__args__}

_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_sealed_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(
    Union[tuple(SealedNewOrder if cls is NewOrder else cls for cls in AnyEvent.__args__)]  # noqa: UP007 - made here
)

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""No event of a shop is older: a ``time`` in 1970 is a clock or a unit gone wrong."""

LATEST = datetime(2100, 1, 1, tzinfo=UTC)
"""No event is later: such a clock is wrong, and from 2262 on the time would not fit into the lake's nanoseconds."""

MAX_BYTES = 256 * 1024
"""A longer document is refused before it is parsed."""

SHORT_BYTES = 1024
MAX_OPENED = 256
"""A document longer than ``SHORT_BYTES`` that opens more objects and arrays than this is refused before it is parsed:
nested very deep, the parser runs into the interpreter's recursion limit, which is not the same in every build, so that
both halves could disagree on what is an event. A short one cannot nest that deep, and counting costs time.
A ``{`` or ``[`` within a string opens nothing: ids and reasons may have them."""

MAX_POLICY_BYTES = 900 * 1024
"""Longest record of a policy, which may hold thousands of list entries: what its topic takes, with room for headers."""

MAX_POLICY_DEPTH = 32
"""Objects and arrays within each other in a policy's record; a scorecard needs six."""

_POLICY = b'{"type":"Policy'
# Possessive, and content with a string that nobody closes: otherwise a long one takes time by the square of its length.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


class BadEvent(ValueError):
    """The bytes are not an event of ours; the message names the field and what is wrong with it."""


encode: Callable[[Event], bytes] = msgspec.json.Encoder().encode
"""Return the canonical JSON bytes of an event: the same event always gives the same bytes."""


def decode(value: bytes | None) -> AnyEvent:
    """Return the event that ``value`` holds.

    Raises:
        BadEvent: no value, too long, too much nested, not JSON, unknown type, a field missing, of the wrong type or out
            of bounds, or a ``time`` that is not UTC or lies outside the years 2000 to 2099.
    """
    if not value:
        raise BadEvent("the record has no value")
    if len(value) > SHORT_BYTES and (len(value) > MAX_BYTES or _opened(value) > MAX_OPENED):
        _refuse_bulk(value)
    try:
        event = _decoder.decode(value)
    except UnicodeDecodeError as error:
        raise BadEvent(_not_utf8(value, error)) from error
    except (msgspec.DecodeError, RecursionError) as error:  # the latter in builds whose limit is lower than ours
        raise BadEvent(str(error)) from error
    time = event.time
    if time.tzinfo is not UTC:  # msgspec gives this very object for "Z" and for "+00:00"
        raise BadEvent(f"time {time.isoformat()} is not in UTC - at `$.time`")
    if not EARLIEST <= time < LATEST:
        raise BadEvent(f"time {time.isoformat()} is not between the years 2000 and 2099 - at `$.time`")
    currency = getattr(event.data, "currency", None)
    if currency is not None and not (currency.isascii() and currency.isalpha() and currency.isupper()):
        raise BadEvent(f"currency {currency!r} is not three capital letters - at `$.data.currency`")
    return event


def decode_sealed(value: bytes | None) -> AnyEvent:
    """Return the event that ``value`` holds, a ``NewOrder`` as :class:`SealedNewOrder`, at half the price.

    For records that :func:`decode` has let pass before, as all of the lake's: length and nesting are not looked at
    again, and the signals are checked to be JSON, not to be numbers. The rest is as in :func:`decode`, which also finds
    the words for what is refused: its own checks stay in its body, since every record of the stream passes them.
    """
    try:
        event = _sealed_decoder.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return decode(value)
    time, currency = event.time, getattr(event.data, "currency", None)
    in_utc = time.tzinfo is UTC and EARLIEST <= time < LATEST
    if in_utc and (currency is None or (currency.isascii() and currency.isalpha() and currency.isupper())):
        return event
    return decode(value)


def _opened(value: bytes) -> int:
    """Return how many ``{`` and ``[`` there are, those within strings included.

    Looking for the last one goes many times as fast as counting, and after it, where an order has its signals, there is
    nothing to count.
    """
    opened = value.count(b"{", 0, value.rfind(b"{") + 1)
    last = value.rfind(b"[")
    return opened if last < 0 else opened + value.count(b"[", 0, last + 1)


def _refuse_bulk(value: bytes) -> None:
    """Let pass a policy, which is long for a good reason, and braces that are only text.

    Raises:
        BadEvent: it is longer than its kind may be, opens too many objects, or nests deeper than any policy.
    """
    most = MAX_POLICY_BYTES if value.startswith(_POLICY) else MAX_BYTES
    if len(value) > most:
        raise BadEvent(f"the record has {len(value)} bytes, more than {most}")
    bare = _STRING.sub(b"", value)
    if most == MAX_BYTES:
        opened = bare.count(b"{") + bare.count(b"[")
        if opened > MAX_OPENED:
            raise BadEvent(f"the record opens {opened} objects and arrays, more than {MAX_OPENED}")
        return
    steps = (1 if byte in b"{[" else -1 for byte in bare if byte in b"{[]}")
    if max(accumulate(steps)) > MAX_POLICY_DEPTH:
        raise BadEvent(f"the record nests objects and arrays deeper than {MAX_POLICY_DEPTH}")


def _not_utf8(value: bytes, error: UnicodeDecodeError) -> str:
    """Say where a record stops being UTF-8; the parser itself counts from the start of the string in hand."""
    try:
        value.decode()
    except UnicodeDecodeError as found:
        return f"the record is not UTF-8: {found.reason} 0x{value[found.start]:02x} (byte {found.start})"
    return str(error)
