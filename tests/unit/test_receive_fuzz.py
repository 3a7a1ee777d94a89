"""Whatever stands on a hop's topic, receiving it gives an event or BadEvent, and stepping on raises nothing else."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_fraud.events import BadEvent, encode
from order_fraud.relay import ROUTE, Hop, Relayed, Shelf, receive, step
from scorecards import PANEL
from tests.unit.kernel_tape import EVERYWHERE, FEEDBACK, feedback, order, sign_up

HOPS = st.sampled_from(ROUTE)
KEYS = (
    st.none() | st.binary(max_size=8) | st.sampled_from([b"7", b"D", b"1.2.3.4", b"C", b"mail.example", b"A", b"\xff"])
)
APPENDED = st.none() | st.integers(-(2**63), 2**63 - 1)
PLACED = order("7-1", device_id="D", ip="1.2.3.4", **EVERYWHERE)
GOOD = st.sampled_from(
    [
        encode(PLACED),
        encode(sign_up("7", device_id="D", email_domain="mail.example", country="Germany")),
        *(encode(feedback(kind, PLACED.data)) for kind in FEEDBACK),
    ]
)
OWN_KEYS = {
    "customer": b"7",
    "device": b"D",
    "ip": b"1.2.3.4",
    "card": b"C",
    "email_domain": b"mail.example",
    "address": b"A",
}
KEYS = st.none() | st.binary(max_size=8) | st.sampled_from([*OWN_KEYS.values(), b"\xff"])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["", "NewOrder", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)


def outcome(hop: Hop, key: bytes | None, value: bytes | None, appended: int | None) -> str:
    """Receive and step; return what came of it."""
    shelf = Shelf()
    reason = ""
    try:
        event = receive(hop, key, value, appended)
    except BadEvent as error:
        reason = str(error) or "no reason"
    if reason:
        assert reason != "no reason"
        return "refused"
    assert isinstance(event, Relayed)
    step(hop, shelf, event, PANEL)
    assert len(shelf) == 1
    return "taken"


@given(HOPS, KEYS, st.none() | st.binary(max_size=400), APPENDED)
def test_any_bytes(hop: Hop, key: bytes | None, value: bytes | None, appended: int | None) -> None:
    assert outcome(hop, key, value, appended) == "refused"


@given(HOPS, KEYS, GOOD, APPENDED, st.data())
def test_damaged_events(hop: Hop, key: bytes | None, good: bytes, appended: int | None, data: st.DataObject) -> None:
    value = bytearray(good)
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(value)))
        value[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    outcome(hop, key, bytes(value), appended)


@given(HOPS, KEYS, GOOD, APPENDED, st.data())
def test_any_json_in_any_field(
    hop: Hop, key: bytes | None, good: bytes, appended: int | None, data: st.DataObject
) -> None:
    whole: dict[str, Any] = msgspec.json.decode(good)
    for _ in range(data.draw(st.integers(1, 3))):
        inner = whole["data"]
        target = data.draw(st.sampled_from([whole, inner] if isinstance(inner, dict) else [whole]))
        names = st.text(max_size=6)
        target[data.draw(st.sampled_from(sorted(target)) | names if target else names)] = data.draw(VALUES)
    outcome(hop, key, json.dumps(whole).encode(), appended)


@given(HOPS, GOOD, APPENDED, st.data())
def test_names_that_stand_twice(hop: Hop, good: bytes, appended: int | None, data: st.DataObject) -> None:
    """The last one counts, whatever the earlier one was."""
    name = data.draw(st.sampled_from(["id", "type", "subject", "time", "data", "source"]))
    earlier = json.dumps({name: data.draw(VALUES)}).encode()[1:-1]
    value = b"{" + earlier + b"," + good[1:]
    for key in OWN_KEYS.values():
        outcome(hop, key, value, appended)


@pytest.mark.parametrize("hop", ROUTE, ids=lambda hop: hop.entity)
def test_the_good_ones_are_taken(hop: Hop) -> None:
    """Or all of the above would prove nothing."""
    for event in (PLACED, *(feedback(kind, PLACED.data) for kind in FEEDBACK)):
        assert outcome(hop, OWN_KEYS[hop.entity], encode(event), None) == "taken"
