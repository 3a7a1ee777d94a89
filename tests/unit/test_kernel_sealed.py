"""Orders whose signals stay sealed: the same histories, signals and refusals as those of `decode` and `step`."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_fraud import relay
from order_fraud.events import BadEvent, NewOrder, SealedNewOrder, decode, decode_sealed, encode
from order_fraud.relay import ROUTE, Relayed, Shelf, Unusable
from scorecards import PANEL
from tests.unit.kernel_tape import order, sign_up, tapes


def _said(call: Any, *arguments: Any) -> Any:
    """Return what a call gives, or the words in which it refuses."""
    try:
        return call(*arguments)
    except BadEvent as error:
        return str(error)


@given(tapes(), st.sampled_from(ROUTE))
def test_fold_is_step_without_what_comes_after_it(tape: list[Relayed], hop: relay.Hop) -> None:
    stepped, folded = Shelf(), Shelf()
    for event in (*tape, *tape[:2]):  # the last ones are repeats
        if hop.key_of(event) is None:
            continue
        value = encode(event)
        opened, sealed = decode(value), decode_sealed(value)
        if isinstance(opened, NewOrder):
            assert type(sealed) is SealedNewOrder
            assert relay.milliseconds(sealed.time) == int(sealed.time.timestamp() * 1000)
            opened.data.signals.clear()
            came = bytes(sealed.data.signals)
            own = _said(relay.fold, hop, folded, sealed, relay.milliseconds(sealed.time))
            onward = _said(relay.step, hop, stepped, opened, PANEL)
            assert own == (onward if isinstance(onward, str) else opened.data.signals)
            assert bytes(sealed.data.signals) == came
            if not isinstance(onward, str):
                later = relay.after(hop, sealed)
                assert onward.topic.name == (later.reads.name if later else "fraud.verdicts")
        else:
            assert sealed == opened
            assert _said(relay.step, hop, folded, sealed, PANEL) == _said(relay.step, hop, stepped, opened, PANEL)
        assert folded == stepped
        assert folded.latest == stepped.latest


@pytest.mark.parametrize(
    "change",
    [
        (b'"1.0"', b'"9"'),
        (b"USD", b"usd"),
        (b"USD", "\u00c4\u00c4\u00c4".encode()),
        (b"2015-", b"1970-"),
        (b"2015-", b"2100-"),
        (b'00Z"', b'00+02:00"'),
        (b"7-1", b"\xff"),
        (b"{", b""),
        (b"NewOrder", b"Order"),
        (b'"amount":2500', b'"amount":-1'),
    ],
)
def test_what_is_refused_is_refused_in_the_same_words(change: tuple[bytes, bytes]) -> None:
    good = encode(order())
    value = good.replace(*change)
    assert value != good
    with pytest.raises(BadEvent) as expected:
        decode(value)
    with pytest.raises(BadEvent) as found:
        decode_sealed(value)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("value", [None, b""])
def test_nothing_is_no_event(value: bytes | None) -> None:
    with pytest.raises(BadEvent, match="has no value"):
        decode_sealed(value)


def test_a_repeat_is_refused_sealed_or_not() -> None:
    hop, shelf = ROUTE[0], Shelf()
    relay.step(hop, shelf, sign_up(), PANEL)
    sealed = decode_sealed(encode(order()))
    assert isinstance(sealed, SealedNewOrder)
    relay.fold(hop, shelf, sealed, relay.milliseconds(sealed.time))
    before = dict(shelf)
    with pytest.raises(Unusable, match="order/7-1 is a repeat"):
        relay.fold(hop, shelf, sealed, relay.milliseconds(sealed.time))
    assert shelf == before
