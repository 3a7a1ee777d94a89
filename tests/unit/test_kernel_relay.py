"""The order's way: which hop comes next, what is refused, what a hop stamps, what delivery makes of a verdict."""

import contextlib
from itertools import combinations
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_fraud import signals, topics
from order_fraud.delivery import on_correction, on_settlement, on_verdict
from order_fraud.events import (
    ChargebackOpened,
    Correction,
    CorrectionRequested,
    Delivery,
    DeliveryCancelled,
    DeliveryHeld,
    DeliveryReleased,
    DeliveryStopRequested,
    DeliveryStopWithdrawn,
    FraudCleared,
    FraudConfirmed,
    NoFraudDetected,
    PossibleFraud,
    Remedy,
    Shadow,
    Stop,
    decode,
    encode,
)
from order_fraud.history import EXPIRY_MS
from order_fraud.judge import Judge, Panel
from order_fraud.relay import AHEAD_MS, ROUTE, Onward, Relayed, Shelf, Unusable, receive, step
from order_fraud.relay import verdict as judged
from order_fraud.scorecard import Band, Scorecard
from scorecards import PANEL
from tests.unit.kernel_tape import (
    EVERYWHERE,
    FEEDBACK,
    HOPS,
    NOON,
    as_records,
    feedback,
    order,
    sign_up,
    tapes,
    through_all_hops,
)

BY_TOPIC = {hop.reads.name: hop for hop in ROUTE}


ENTITY_IDS = {
    "device_id": ("relay.by-device", "D"),
    "ip": ("relay.by-ip", "1.2.3.4"),
    "card": ("relay.by-card", "C"),
    "email_domain": ("relay.by-email-domain", "mail.example"),
    "address": ("relay.by-address", "A"),
}


def way(event: Relayed, histories: dict[str, Shelf] | None = None) -> list[Onward]:
    """Every station of one event through fresh histories, or through these."""
    stations: list[Onward] = []
    histories = {hop.entity: Shelf() for hop in ROUTE} if histories is None else histories
    hop, travelling = ROUTE[0], event
    while True:
        onward = step(hop, histories[hop.entity], travelling, PANEL)
        if onward is None:
            return stations
        stations.append(onward)
        if onward.topic.name not in BY_TOPIC:
            return stations
        hop = BY_TOPIC[onward.topic.name]
        travelling = receive(hop, onward.key.encode(), encode(onward.event))


@pytest.mark.parametrize(
    "named", [named for size in range(6) for named in combinations(ENTITY_IDS, size)], ids=lambda named: "+".join(named)
)
def test_an_entity_that_is_missing_is_left_out_of_the_way(named: tuple[str, ...]) -> None:
    ids = {field: value if field in named else None for field, (_, value) in ENTITY_IDS.items()}
    placed = order("7-1", **ids)
    stations = way(placed)
    passed = [ENTITY_IDS[field][0] for field in named]
    assert [station.topic.name for station in stations] == [*passed, topics.FRAUD_VERDICTS.name]
    assert [station.key for station in stations] == [*(ENTITY_IDS[field][1] for field in named), "7"]
    stamped = stations[-1].event.data.signals  # type: ignore[union-attr]
    visited = {"order", "customer"} | {field.removesuffix("_id") for field in named}
    assert {name.split(".")[0] for name in stamped} == visited
    assert stamped.keys() <= signals.NAMES

    known = {field: ids[field] for field in ("device_id", "ip", "email_domain")}
    signed_up = way(sign_up("7", **known))
    assert [station.topic.name for station in signed_up] == [ENTITY_IDS[field][0] for field in known if known[field]]
    for kind in FEEDBACK:
        assert [station.topic.name for station in way(feedback(kind, placed.data))] == passed


def learned(*events: Any) -> dict[str, float]:
    """The signals of an order of tomorrow by another customer with the same things, after these events."""
    histories = {hop.entity: Shelf() for hop in ROUTE}
    for event in events:
        way(event, histories)
    verdict = way(order("8-1", minute=2_000, **EVERYWHERE), histories)[-1].event
    return dict(verdict.data.signals)  # type: ignore[union-attr]


def test_every_entity_learns_of_fraud_once_however_often_it_is_said_and_forgets_what_is_cleared() -> None:
    first, second = order("7-1", **EVERYWHERE), order("7-2", minute=1, **EVERYWHERE)
    names = {f"{hop.entity}.frauds" for hop in ROUTE[1:]}
    assert not names & learned(first, second).keys()
    said = [
        feedback(FraudConfirmed, first.data, minute=9),
        feedback(ChargebackOpened, first.data, minute=10),
        feedback(FraudConfirmed, first.data, minute=9),
    ]
    assert {name: learned(first, second, *said)[name] for name in names} == dict.fromkeys(names, 1.0)
    both = learned(first, second, *said, feedback(ChargebackOpened, second.data, minute=11))
    assert {name: both[name] for name in names} == dict.fromkeys(names, 2.0)
    cleared = feedback(FraudCleared, first.data, minute=20)
    assert not names & learned(first, second, *said, cleared).keys()
    assert not names & learned(cleared).keys(), "clearing what nobody accused is no offence"


def test_shadows_judge_beside_the_active_one_and_change_nothing() -> None:
    strict = Judge(
        Scorecard(version="strict", owner="me", reason="test", bands=(Band(at=0, outcome="block", priority=3),))
    )
    event = order("7-1", minute=3)
    active = judged(event, event.data, 0, PANEL)
    tried = judged(event, event.data, 0, Panel(PANEL.active, (strict,)))
    assert tried.data.shadows == (Shadow(scorecard_version="strict", outcome="block", score=0),)
    assert active.data.shadows == ()
    assert msgspec.structs.replace(tried.data, shadows=()) == active.data
    assert type(tried) is type(active) is NoFraudDetected
    blocked = judged(event, event.data, 0, Panel(strict))
    assert isinstance(blocked, PossibleFraud)
    assert (blocked.data.outcome, blocked.data.priority, blocked.data.scorecard_version) == ("block", 3, "strict")


def test_a_repeat_is_refused_and_changes_no_history() -> None:
    histories = Shelf()
    step(ROUTE[0], histories, sign_up("7"), PANEL)
    step(ROUTE[0], histories, order("7-1", minute=5), PANEL)
    before, latest = dict(histories), histories.latest
    with pytest.raises(Unusable, match=r"order/7-1 is a repeat: this customer's history has that order already"):
        step(ROUTE[0], histories, order("7-1", minute=9, amount=1), PANEL)
    with pytest.raises(Unusable, match=r"customer/7 is a repeat: this customer has signed up already"):
        step(ROUTE[0], histories, sign_up("7", minute=9), PANEL)
    assert (histories, histories.latest) == (before, latest)


def test_signals_that_the_sender_wrote_are_thrown_away() -> None:
    forged = order("7-1", signals={"customer.orders_1h": -99.0, "made.up": 1.0})
    honest = order("7-1")
    assert [encode(station.event) for station in way(forged)] == [encode(station.event) for station in way(honest)]


def test_a_verdict_carries_the_signals_of_every_hop_and_the_order_time() -> None:
    verdict = way(order("7-1", minute=3))[-1].event
    assert isinstance(verdict, NoFraudDetected)
    assert (verdict.id, verdict.subject, verdict.source) == ("verdict/7-1", "7-1", "/fraud")
    assert (verdict.time - NOON).total_seconds() == 180
    assert verdict.data.scorecard_version == PANEL.active.version
    assert verdict.data.signals["ip.customers"] == 1


def test_an_order_right_after_the_sign_up_is_possible_fraud_with_its_reason_in_plain_words() -> None:
    done = through_all_hops([sign_up("7"), order("7-1", minute=1 / 60)])
    ((key, value),) = done["ip"].outputs[topics.FRAUD_VERDICTS.name]
    assert key == b"7"
    assert b'"type":"PossibleFraud"' in value
    assert b"The order came 1 seconds after the sign-up." in value


def refused(entity: str, key: bytes | None, value: bytes) -> str:
    with pytest.raises(Unusable) as caught:
        receive(HOPS[entity], key, value)
    return str(caught.value)


def test_receive_says_why_a_record_has_no_business_at_a_hop() -> None:
    ((_, value),) = as_records([order("7-1", device_id=None)])
    assert value is not None
    assert refused("customer", None, value) == "order/7-1 has no key instead of its customer_id"
    assert refused("customer", b"\xff8", value) == "order/7-1 has key '\ufffd8' instead of its customer_id"
    assert refused("ip", b"7", value) == "order/7-1 has key '7' instead of its ip"
    assert refused("device", b"D", value) == "order/7-1 has no device and was sent to relay.by-device all the same"
    verdict = way(order("7-1"))[-1]
    assert refused("customer", b"7", encode(verdict.event)) == "NoFraudDetected has no business on customer.events"
    with pytest.raises(Unusable, match="order/7-1 has no device"):
        step(HOPS["device"], Shelf(), order("7-1", device_id=None), PANEL)


def test_an_event_must_not_have_two_names() -> None:
    placed = encode(order("7-1"))
    said = refused("customer", b"7", placed.replace(b'"subject":"7-1"', b'"subject":"7-2"'))
    assert said == "order/7-1 is about order '7-1', but its subject is '7-2' - at `$.subject`"
    said = refused("customer", b"7", placed.replace(b'"id":"order/7-1"', b'"id":"order/7-2"'))
    assert said == "order/7-2 is about order '7-1', so its id must be order/7-1 - at `$.id`"
    said = refused("customer", b"7", encode(sign_up("7")).replace(b'"id":"customer/7"', b'"id":"order/7"'))
    assert said == "order/7 is about customer '7', so its id must be customer/7 - at `$.id`"


def verdict_of(kind: type[PossibleFraud] | type[NoFraudDetected]) -> PossibleFraud | NoFraudDetected:
    verdict = way(order("7-1", minute=3))[-1].event
    assert isinstance(verdict, NoFraudDetected)
    return kind(id=verdict.id, source=verdict.source, subject="7-1", time=verdict.time, data=verdict.data)


@pytest.mark.parametrize(
    ("verdict", "outcome", "word"),
    [(NoFraudDetected, DeliveryReleased, "released"), (PossibleFraud, DeliveryHeld, "held")],
)
def test_delivery_releases_on_an_explicit_clearance_only(verdict: Any, outcome: Any, word: str) -> None:
    said = verdict_of(verdict)
    answer = on_verdict(said)
    assert type(answer) is outcome
    assert answer.id == f"delivery/7-1/{word}"
    assert (answer.source, answer.subject, answer.time) == ("/delivery", "7-1", said.time)
    assert answer.data == Delivery(order_id="7-1", customer_id="7", cause="verdict/7-1")


def correction(remedy: Remedy) -> CorrectionRequested:
    kind = "released-without-clearance"
    return CorrectionRequested(
        id=f"correction/{kind}/7-1",
        source="/reconcile",
        subject="7-1",
        time=NOON,
        data=Correction(finding_id=f"finding/{kind}/7-1", kind=kind, order_id="7-1", customer_id="7", remedy=remedy),
    )


def test_delivery_recalls_what_a_correction_asks_it_to_and_leaves_the_rest_to_others() -> None:
    answer = on_correction(correction("cancel-delivery"))
    assert type(answer) is DeliveryCancelled
    assert (answer.id, answer.subject, answer.time) == ("delivery/7-1/cancelled", "7-1", NOON)
    assert answer.data == Delivery(order_id="7-1", customer_id="7", cause="correction/released-without-clearance/7-1")
    assert on_correction(correction("refund-payment")) is None


def test_delivery_stops_what_is_settled_as_fraud_and_a_withdrawn_stop_releases_nothing() -> None:
    stop = Stop(order_id="7-1", customer_id="7", cause="a person confirmed the fraud")
    common = {"source": "/settle", "subject": "7-1", "time": NOON, "data": stop}
    answer = on_settlement(DeliveryStopRequested(id="settle/7-1/stop-delivery", **common))
    assert type(answer) is DeliveryCancelled
    assert (answer.id, answer.subject, answer.time) == ("delivery/settle/7-1/stop-delivery", "7-1", NOON)
    assert answer.data == Delivery(order_id="7-1", customer_id="7", cause="settle/7-1/stop-delivery")
    assert type(on_settlement(DeliveryStopWithdrawn(id="settle/7-1/stop-delivery/undo", **common))) is DeliveryHeld


def test_an_entity_silent_for_longer_than_the_expiry_counts_as_never_seen() -> None:
    days = EXPIRY_MS / 60_000
    histories = Shelf()
    step(ROUTE[0], histories, sign_up("7"), PANEL)
    within = step(ROUTE[0], histories, order("7-1", minute=days), PANEL)
    assert within is not None
    assert within.event.data.signals["customer.account_age_s"] == EXPIRY_MS / 1000  # type: ignore[union-attr]
    step(ROUTE[0], histories, sign_up("8", minute=2 * days + 1), PANEL)  # time goes on for the whole partition
    after = step(ROUTE[0], histories, order("7-1", minute=1), PANEL)  # late, and of a customer forgotten by now
    assert after is not None, "a repeat that comes after the expiry is not recognised"
    with pytest.raises(Unusable, match="is a repeat"):  # but from then on it is, however old its date
        step(ROUTE[0], histories, order("7-1", minute=1), PANEL)
    assert "customer.account_age_s" not in after.event.data.signals  # type: ignore[union-attr]
    assert after.event.data.signals["customer.orders_30d"] == 1  # type: ignore[union-attr]


@given(tapes(), st.sets(st.integers(0, 40)))
def test_when_a_forgotten_entity_is_dropped_changes_nothing(tape: list[Relayed], drops: set[int]) -> None:
    """The tape lies within a fortnight, so years are put between its events."""
    kept, swept = Shelf(), Shelf()
    for number, event in enumerate(tape):
        answers = []
        for histories in (kept, swept):
            moved = msgspec.structs.replace(event, time=NOON + (event.time - NOON) * 100)
            with contextlib.suppress(Unusable):
                answers.append(step(ROUTE[0], histories, decode(encode(moved)), PANEL))  # type: ignore[arg-type]
        assert answers[:1] == answers[1:]
        if number in drops:
            for entity_id, history in list(swept.items()):
                if swept.latest - history.seen_at > EXPIRY_MS:
                    del swept[entity_id]
    assert kept.latest == swept.latest


def test_an_order_dated_more_than_a_day_after_its_record_is_refused() -> None:
    value = encode(order("7-1"))
    dated = int(NOON.timestamp() * 1000)
    assert receive(ROUTE[0], b"7", value, dated - AHEAD_MS).id == "order/7-1"
    assert receive(ROUTE[0], b"7", value, None).id == "order/7-1"
    with pytest.raises(
        Unusable, match=r"order/7-1 is dated 2015-06-01T12:00:00\+00:00, more than a day after its record"
    ):
        receive(ROUTE[0], b"7", value, dated - AHEAD_MS - 1)
