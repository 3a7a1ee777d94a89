"""Reading and writing events: every refusal says what is wrong and where; no bytes raise anything but BadEvent."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_fraud.events import (
    EVENT_TYPES,
    MAX_BYTES,
    MAX_OPENED,
    Activation,
    BadEvent,
    ChargebackOpened,
    Correction,
    CorrectionRequested,
    Customer,
    Delivery,
    DeliveryCancelled,
    DeliveryHeld,
    DeliveryReleased,
    DeliveryStopRequested,
    DeliveryStopWithdrawn,
    Event,
    Feedback,
    Finding,
    FindingKind,
    FindingRaised,
    FraudCleared,
    FraudConfirmed,
    NewCustomer,
    NewOrder,
    NoFraudDetected,
    Order,
    Overdue,
    PolicyActivated,
    PolicyPublished,
    PossibleFraud,
    Reason,
    Remedy,
    Shadow,
    Stop,
    Verdict,
    VerdictOverdue,
    decode,
    encode,
)
from order_fraud.scorecard import Band, Bin, Line, Scorecard

GOOD: dict[str, Any] = {
    "specversion": "1.0",
    "type": "NewOrder",
    "id": "order/7-1",
    "source": "/shop",
    "subject": "7-1",
    "time": "2015-06-01T12:00:00Z",
    "data": {"order_id": "7-1", "customer_id": "7", "amount": 2500, "currency": "USD"},
}


def document(data: dict[str, Any] | None = None, **fields: Any) -> bytes:
    """The good document with other fields; None leaves one out."""
    whole = GOOD | {"data": GOOD["data"] | (data or {})} | fields
    whole["data"] = {name: value for name, value in whole["data"].items() if value is not None}
    return json.dumps({name: value for name, value in whole.items() if value is not None}).encode()


def refusal(value: bytes | None) -> str:
    with pytest.raises(BadEvent) as caught:
        decode(value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (document(type="NewSpaceship"), "Invalid value 'NewSpaceship' - at `$.type`"),
        (document(type=None), "Object missing required field `type`"),
        (document(type=7), "Expected `str` - at `$.type`"),
        (document(id=""), "Expected `str` of length >= 1 - at `$.id`"),
        (document(id=None), "Object missing required field `id`"),
        (document(source=""), "Expected `str` of length >= 1 - at `$.source`"),
        (document(source="x" * 201), "Expected `str` of length <= 200 - at `$.source`"),
        (document(specversion="0.3"), "Invalid enum value '0.3' - at `$.specversion`"),
        (document(time=None), "Object missing required field `time`"),
        (document(time=1_433_160_000), "Expected `datetime`, got `int` - at `$.time`"),
        (document(time="yesterday"), "Invalid RFC3339 encoded datetime - at `$.time`"),
        (document(time="2015-02-30T12:00:00Z"), "Invalid RFC3339 encoded datetime - at `$.time`"),
        (document(time="2015-06-01T12:00:00"), "Expected `datetime` with a timezone component - at `$.time`"),
        (document(time="2015-06-01T12:00:00+02:00"), "time 2015-06-01T12:00:00+02:00 is not in UTC - at `$.time`"),
        (
            document(time="1970-01-01T00:00:00Z"),
            "time 1970-01-01T00:00:00+00:00 is not between the years 2000 and 2099 - at `$.time`",
        ),
        (
            document(time="2100-01-01T00:00:00Z"),
            "time 2100-01-01T00:00:00+00:00 is not between the years 2000 and 2099 - at `$.time`",
        ),
        (document({"amount": -1}), "Expected `int` >= 0 - at `$.data.amount`"),
        (document({"amount": 10**12 + 1}), "Expected `int` <= 1000000000000 - at `$.data.amount`"),
        (document().replace(b"2500", b"9" * 5000), "Integer value out of range - at `$.data.amount`"),
        (document({"amount": 25.5}), "Expected `int`, got `float` - at `$.data.amount`"),
        (document({"amount": "2500"}), "Expected `int`, got `str` - at `$.data.amount`"),
        (document({"amount": None}), "Object missing required field `amount` - at `$.data`"),
        (document({"currency": "usd"}), "currency 'usd' is not three capital letters - at `$.data.currency`"),
        (document({"currency": "USD\n"}), "Expected `str` of length <= 3 - at `$.data.currency`"),
        (document({"device_id": ""}), "Expected `str` of length >= 1 - at `$.data.device_id`"),
        (document({"customer_id": "7" * 201}), "Expected `str` of length <= 200 - at `$.data.customer_id`"),
        (document({"signals": {"a": "much"}}), "Expected `float`, got `str` - at `$.data.signals[...]`"),
        (document({"signals": {"a": None}}), "Expected `float`, got `null` - at `$.data.signals[...]`"),
        (document().replace(b"2500", b"NaN"), "JSON is malformed: invalid character (byte 189)"),
        (document({"signals": {"a": 70}}).replace(b"70", b"1e400"), "Number out of range - at `$.data.signals[...]`"),
        (document().replace(b"/shop", b"/sh\xffop"), "the record is not UTF-8: invalid start byte 0xff (byte 76)"),
        (
            document().replace(b"/shop", b"\\ud800"),
            "JSON is malformed: unexpected end of escaped utf-16 surrogate pair (byte 79)",
        ),
        (document() + b"{}", "JSON is malformed: trailing characters (byte 215)"),
        (document()[:-1], "Input data was truncated"),
        (b'{"type":"NewCustomer",' + document()[1:], "Invalid value 'NewOrder' - at `$.type`"),
        (b"[1]", "Expected `object`, got `array`"),
        (b"null", "Expected `object`, got `null`"),
        (b" ", "Input data was truncated"),
        (b"", "the record has no value"),
        (None, "the record has no value"),
        (b" " * (MAX_BYTES + 1), f"the record has {MAX_BYTES + 1} bytes, more than {MAX_BYTES}"),
    ],
)
def test_every_refusal_says_what_is_wrong_and_where(value: bytes | None, reason: str) -> None:
    assert refusal(value) == reason


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("depth", [MAX_OPENED, 5_000, 20_000])
@pytest.mark.parametrize("closed", [True, False])
def test_deep_nesting_is_refused_before_it_reaches_the_recursion_limit(
    opening: bytes, closing: bytes, depth: int, closed: bool
) -> None:
    nested = opening * depth + b"1" + closing * (depth if closed else 0)
    value = document()[:-1] + b', "more": ' + nested + b', "pad": "' + b" " * 1024 + b'"}'
    assert refusal(value) == f"the record opens {depth + 2} objects and arrays, more than {MAX_OPENED}"


def test_what_other_producers_may_add_is_read_over() -> None:
    plain = decode(document())
    assert decode(document({"gift": True}, datacontenttype="application/json", traceparent=[{"a": 1}])) == plain
    assert decode(document(time="2015-06-01T12:00:00+00:00")) == plain
    twice = b'{"id": "order/7-0",' + document()[1:]
    assert decode(twice) == plain  # of a name that stands twice the last one counts, in both halves alike


def test_longest_short_document_cannot_reach_the_recursion_limit() -> None:
    value = document()[:-1] + b', "more": ' + b"[" * 400 + b"]" * 400 + b"}"
    assert len(value) <= 1024
    assert decode(value) == decode(document())


TEXT = st.text(min_size=1, max_size=200)
WORDS = st.text(max_size=60)
MONEY = st.integers(0, 10**12)
CURRENCY = st.sampled_from(["USD", "EUR", "JPY"])
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SIGNALS = st.dictionaries(WORDS, FLOATS, max_size=6)
ENVELOPE = {
    "id": TEXT,
    "source": TEXT,
    "subject": TEXT,
    "time": st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
}
CUSTOMERS = st.builds(
    Customer,
    customer_id=TEXT,
    device_id=st.none() | TEXT,
    ip=st.none() | TEXT,
    channel=st.none() | WORDS,
    browser=st.none() | WORDS,
    email_domain=st.none() | TEXT,
    country=st.none() | st.text(min_size=2, max_size=60),
)
ORDERS = st.builds(
    Order,
    order_id=TEXT,
    customer_id=TEXT,
    amount=MONEY,
    currency=CURRENCY,
    device_id=st.none() | TEXT,
    ip=st.none() | TEXT,
    card=st.none() | TEXT,
    email_domain=st.none() | TEXT,
    address=st.none() | TEXT,
    ip_country=st.none() | st.text(min_size=2, max_size=60),
    utc_offset_min=st.none() | st.integers(-840, 840),
    signals=SIGNALS,
)
REASONS = st.lists(st.builds(Reason, code=WORDS, points=st.integers(-99, 99), text=WORDS), max_size=4).map(tuple)
VERDICTS = st.builds(
    Verdict,
    order_id=TEXT,
    customer_id=TEXT,
    amount=MONEY,
    currency=CURRENCY,
    score=st.integers(-999, 999),
    reasons=REASONS,
    signals=SIGNALS,
    scorecard_version=WORDS,
    outcome=st.sampled_from(["clear", "review", "block"]),
    priority=st.integers(0, 100),
    shadows=st.lists(
        st.builds(
            Shadow,
            scorecard_version=WORDS,
            outcome=st.sampled_from(["clear", "review", "block"]),
            score=st.integers(-99, 99),
        ),
        max_size=2,
    ).map(tuple),
)
FEEDBACKS = st.builds(
    Feedback,
    order_id=TEXT,
    customer_id=TEXT,
    device_id=st.none() | TEXT,
    ip=st.none() | TEXT,
    card=st.none() | TEXT,
    email_domain=st.none() | TEXT,
    address=st.none() | TEXT,
    amount=st.none() | MONEY,
    currency=st.none() | CURRENCY,
    by=st.none() | WORDS,
)
ENDS = st.none() | st.floats(-1e9, 1e9)
SCORECARDS = st.builds(
    Scorecard,
    version=st.sampled_from(["1", "2026-11-24.a"]),
    owner=st.just("fraud team"),
    reason=st.text(min_size=1, max_size=60),
    lines=st.lists(
        st.builds(
            Line,
            signal=WORDS,
            bins=st.builds(
                Bin, code=st.just("a"), low=ENDS, high=ENDS, points=st.integers(-99, 99), text=st.just("{value}")
            ).map(lambda one: (one,)),
        ),
        max_size=2,
    ).map(tuple),
    bands=st.builds(Band, at=st.integers(0, 99), outcome=st.sampled_from(["review", "block"])).map(lambda one: (one,)),
)
ACTIVATIONS = st.builds(
    Activation,
    active=st.text(min_size=1, max_size=64),
    shadows=st.lists(WORDS, max_size=4).map(tuple),
    owner=st.just("fraud team"),
    reason=st.text(min_size=1, max_size=60),
)
DELIVERIES = st.builds(Delivery, order_id=TEXT, customer_id=TEXT, cause=WORDS)
OVERDUES = st.builds(
    Overdue,
    order_id=TEXT,
    customer_id=st.none() | TEXT,
    record=WORDS,
    since=ENVELOPE["time"],
    longer_than_s=st.floats(0.001, 1e7),
    refused=st.none() | WORDS,
)
KINDS, REMEDIES = st.sampled_from(FindingKind.__args__), st.sampled_from(Remedy.__args__)  # type: ignore[attr-defined]
FINDINGS = st.builds(
    Finding,
    kind=KINDS,
    order_id=TEXT,
    customer_id=st.none() | TEXT,
    cause=WORDS,
    evidence=st.dictionaries(WORDS, WORDS, max_size=4),
    amount=MONEY,
    currency=st.none() | CURRENCY,
    remedy=REMEDIES,
)
STOPS = st.builds(Stop, order_id=TEXT, customer_id=TEXT, cause=WORDS)
CORRECTIONS = st.builds(
    Correction, finding_id=WORDS, kind=KINDS, order_id=TEXT, customer_id=st.none() | TEXT, remedy=REMEDIES
)
PAYLOADS: dict[type[Event], st.SearchStrategy[Any]] = {
    NewCustomer: CUSTOMERS,
    NewOrder: ORDERS,
    PossibleFraud: VERDICTS,
    NoFraudDetected: VERDICTS,
    FraudConfirmed: FEEDBACKS,
    FraudCleared: FEEDBACKS,
    ChargebackOpened: FEEDBACKS,
    PolicyPublished: SCORECARDS,
    PolicyActivated: ACTIVATIONS,
    DeliveryReleased: DELIVERIES,
    DeliveryHeld: DELIVERIES,
    DeliveryCancelled: DELIVERIES,
    VerdictOverdue: OVERDUES,
    FindingRaised: FINDINGS,
    CorrectionRequested: CORRECTIONS,
    DeliveryStopRequested: STOPS,
    DeliveryStopWithdrawn: STOPS,
}
EVENTS: st.SearchStrategy[Any] = st.one_of(
    *(st.builds(cls, data=payload, **ENVELOPE) for cls, payload in PAYLOADS.items())
)


def test_every_event_type_is_among_the_generated() -> None:
    assert set(PAYLOADS) == set(EVENT_TYPES.values())


@given(EVENTS)
def test_an_event_comes_back_as_it_was_and_its_bytes_are_canonical(event: Event) -> None:
    written = encode(event)
    read = decode(written)
    assert read == event
    assert type(read) is type(event)
    assert encode(read) == written
    other_spelling = json.dumps(dict(reversed(json.loads(written).items())), indent=1).encode()
    assert encode(decode(other_spelling)) == written


def refuses_or_reads(value: bytes) -> None:
    """Decode; what is read must be an event that can be written, read and written again."""
    try:
        event = decode(value)
    except BadEvent as error:
        reason = str(error)
    else:
        reason = "none: read"
        assert encode(decode(encode(event))) == encode(event)
    assert reason


@given(st.binary(max_size=400))
def test_arbitrary_bytes_raise_nothing_but_bad_event(value: bytes) -> None:
    refuses_or_reads(value)


@given(EVENTS, st.data())
def test_a_damaged_event_raises_nothing_but_bad_event(event: Event, data: st.DataObject) -> None:
    value = bytearray(encode(event))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(value)))
        value[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    refuses_or_reads(bytes(value))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(EVENTS, st.data())
def test_any_value_in_any_field_raises_nothing_but_bad_event(event: Event, data: st.DataObject) -> None:
    whole = msgspec.json.decode(encode(event))
    target = data.draw(st.sampled_from([whole, whole["data"]]))
    name = data.draw(st.sampled_from(sorted(target)) | st.text(max_size=5))
    target[name] = data.draw(JSON_VALUES)
    refuses_or_reads(json.dumps(whole).encode())
