"""Every kind of difference: planted is found, exactly, and nothing else is."""

import random
from datetime import date, timedelta

import pytest

from lake.reconcile.findings import KINDS, Difference
from lake.reconcile.match import match
from lake.reconcile.summary import summarize
from order_fraud import topics
from order_fraud.events import DeliveryCancelled, DeliveryHeld, DeliveryReleased, NoFraudDetected, PossibleFraud
from tests.lake.reconcile_world import ARRIVED, START, World, calm, edit, order, sign_up

CUSTOMERS, DEVICES, IPS = "customer.events", "relay.by-device", "relay.by-ip"
VERDICTS, DELIVERIES = topics.FRAUD_VERDICTS.name, topics.DELIVERY_EVENTS.name


def found(world: World, **scope: object) -> list[tuple[str, str]]:
    return [(one.finding.kind, one.finding.order_id) for one in match(world.scope(**scope))]


def the_one(world: World, **scope: object) -> Difference:
    (one,) = match(world.scope(**scope))
    return one


def by_type(world: World, kind: type) -> list[str]:
    return [row["subject"] for row in world.topics[VERDICTS] if row["type"] == kind.__name__]


@pytest.fixture
def world() -> World:
    return calm()


def test_systems_that_agree_have_no_findings(world: World) -> None:
    assert len(world.shop) == 48
    assert found(world) == []


def test_nothing_at_all_has_no_findings() -> None:
    assert found(World()) == []


def test_order_that_no_event_told_of() -> None:
    world = calm()
    world.in_shop("x-1", "x", START, 4200)
    world.pay("x-1", START, 4200)
    one = the_one(world)
    assert (one.finding.kind, one.finding.order_id, one.finding.customer_id) == ("order-not-streamed", "x-1", "x")
    assert (one.finding.amount, one.finding.currency, one.finding.remedy) == (4200, "USD", "stream-order")
    assert one.time == START
    assert one.finding.evidence["snapshot of shop.orders"] == "11"
    assert "42.00 USD" in one.finding.cause


def test_forged_release_of_an_order_that_was_never_streamed_is_a_difference_of_its_own() -> None:
    world = calm()
    world.in_shop("x-1", "x", START, 4200)
    world.pay("x-1", START, 4200)
    world.told(DeliveryReleased, "x-1", "x", START)
    assert found(world) == [("order-not-streamed", "x-1"), ("released-without-clearance", "x-1")]


def test_event_of_an_order_that_the_shop_never_sold_expects_no_payment() -> None:
    incoming = [sign_up("c", START), order("c-1", "c", START + timedelta(days=3), 900)]
    one = the_one(World().stream(incoming))
    assert (one.finding.kind, one.finding.order_id, one.finding.remedy) == ("order-not-sold", "c-1", "check-shop")
    assert one.finding.evidence["record"].startswith(f"{CUSTOMERS}, partition ")


def test_verdict_lost_on_its_last_step(world: World) -> None:
    lost = world.drop(VERDICTS, world.topics[VERDICTS][3]["event_id"])
    world.drop(DELIVERIES, next(r["event_id"] for r in world.topics[DELIVERIES] if r["subject"] == lost["subject"]))
    one = the_one(world)
    assert (one.finding.kind, one.finding.order_id, one.finding.remedy) == (
        "verdict-missing",
        lost["subject"],
        "investigate",
    )
    assert f"leads to verdict/{lost['subject']} on {VERDICTS}, and no such record is there" in one.finding.cause


def test_order_that_a_hop_refused_is_missed_with_the_reason() -> None:
    incoming = [sign_up("c", START), order("c-1", "c", START + timedelta(days=1))]
    world = World().sell(incoming)
    for event in incoming:
        world.append(CUSTOMERS, event.data.customer_id, event)
    world.topics[CUSTOMERS][1]["key"] = "somebody else"
    one = the_one(world)
    assert one.finding.kind == "verdict-missing"
    assert "was refused (order/c-1 has key 'somebody else' instead of its customer_id)" in one.finding.cause


def test_missing_verdict_names_the_alarm_that_the_stream_gave_itself() -> None:
    incoming = [sign_up("c", START), order("c-1", "c", START + timedelta(days=1))]
    world = World().sell(incoming)
    for event in incoming:
        world.append(CUSTOMERS, "c", event)
    silent = the_one(world)
    assert silent.finding.evidence["reported by the stream"] == "no"
    row = world.alarmed("c-1", None, START + timedelta(days=1), refused="bad currency")
    one = the_one(world)
    assert (one.finding.kind, one.finding.order_id) == ("verdict-missing", "c-1")
    assert one.finding.evidence["reported by the stream"] == (
        f"{DELIVERIES}, partition {row['partition']}, offset {row['offset']}: no verdict for 60 s on "
        "customer.events, partition 1, offset 7, its record was refused (bad currency)"
    )


def test_alarm_is_no_outcome_of_a_delivery(world: World) -> None:
    """An order that was reported as overdue and then judged is a calm one, and the figures count its outcome once."""
    before = summarize(world.scope())
    for order_id in (by_type(world, NoFraudDetected)[0], by_type(world, PossibleFraud)[0], "nobodys-order"):
        world.alarmed(order_id, "c1", START)
    assert found(world) == []
    assert summarize(world.scope()) == before


def test_verdict_that_may_still_come_is_not_missed() -> None:
    incoming = [sign_up("c", START), order("c-1", "c", START + timedelta(days=1))]
    world = World().sell(incoming)
    for event in incoming:
        world.append(CUSTOMERS, "c", event)
    assert found(world, settled=ARRIVED) == []
    assert found(world, settled=ARRIVED + timedelta(minutes=1)) == [("verdict-missing", "c-1")]


def test_business_that_is_still_under_way_misses_nothing() -> None:
    world = calm()
    world.in_shop("x-1", "x", ARRIVED + timedelta(hours=1), 100)
    world.pay(None, ARRIVED + timedelta(hours=1), 100)
    assert found(world, settled=ARRIVED) == []
    assert len(found(world)) == 3  # not streamed, not paid, and money for no order


def test_verdict_twice(world: World) -> None:
    cleared = by_type(world, NoFraudDetected)[0]
    row = world.only(VERDICTS, f"verdict/{cleared}")
    world.topics[VERDICTS].append(row | {"offset": 9_999})
    one = the_one(world)
    assert (one.finding.kind, one.finding.order_id) == ("verdict-repeated", cleared)
    assert "2 verdicts instead of one, all the same" in one.finding.cause
    assert one.finding.evidence["records"].endswith("offset 9999")


def test_tampered_verdict_names_the_field(world: World) -> None:
    cleared = by_type(world, NoFraudDetected)[0]
    row = world.only(VERDICTS, f"verdict/{cleared}")
    edit(row, score=77)
    one = the_one(world)
    assert (one.finding.kind, one.finding.order_id) == ("verdict-not-reproducible", cleared)
    assert "score is 77, re-derived " in one.finding.cause
    assert one.finding.evidence["record"] == f"{VERDICTS}, partition {row['partition']}, offset {row['offset']}"


def test_tampered_signal_on_the_way_is_one_finding_at_its_hop(world: World) -> None:
    row = next(row for row in world.topics[DEVICES] if row["type"] == "NewOrder")
    row["value"] = row["value"].replace('"customer.orders_1h":', '"customer.orders_9h":')
    one = the_one(world)
    assert (one.finding.kind, one.finding.order_id) == ("verdict-not-reproducible", row["subject"])
    assert "signal customer.orders_1h is absent, re-derived " in one.finding.cause
    assert one.finding.evidence["input"].startswith(CUSTOMERS)


def test_verdict_that_nothing_led_to(world: World) -> None:
    verdict = world.only(VERDICTS, world.topics[VERDICTS][0]["event_id"])
    value = verdict["value"].replace(verdict["subject"], "ghost")
    world.topics[VERDICTS].append(
        verdict | {"offset": 9_999, "value": value, "event_id": "verdict/ghost", "subject": "ghost"}
    )
    one = the_one(world)
    assert (one.finding.kind, one.finding.order_id) == ("verdict-not-reproducible", "ghost")
    assert "no archived input leads to it" in one.finding.cause


def test_release_against_the_verdict(world: World) -> None:
    held = by_type(world, PossibleFraud)[0]
    row = world.told(DeliveryReleased, held, "c1", START)
    one = the_one(world)
    assert (one.finding.kind, one.finding.order_id, one.state) == ("released-without-clearance", held, "open")
    assert "the verdict on it is PossibleFraud" in one.finding.cause
    assert one.finding.evidence["release"] == f"{DELIVERIES}, partition {row['partition']}, offset {row['offset']}"
    amount = next(row["amount"] for row in world.shop if row["order_id"] == held)
    assert one.finding.amount == amount


def test_release_that_was_cancelled_since_is_remedied(world: World) -> None:
    held = by_type(world, PossibleFraud)[0]
    world.told(DeliveryReleased, held, "c1", START)
    world.told(DeliveryCancelled, held, "c1", START)
    assert the_one(world).state == "remedied"


def test_release_of_an_order_that_nobody_knows_is_that_only(world: World) -> None:
    world.told(DeliveryReleased, "ghost-1", "ghost", START + timedelta(days=2))
    one = the_one(world)
    assert (one.finding.kind, one.finding.order_id, one.finding.amount) == ("released-without-clearance", "ghost-1", 0)
    assert "neither shop nor stream knows the order" in one.finding.cause
    assert found(world, first=date(2015, 3, 4)) == []


def test_hold_of_an_order_that_nobody_knows_harms_nobody(world: World) -> None:
    world.told(DeliveryHeld, "ghost-1", "ghost", START)
    assert found(world) == []


def test_second_release_of_a_cleared_order(world: World) -> None:
    cleared = by_type(world, NoFraudDetected)[0]
    world.told(DeliveryReleased, cleared, "c1", START)
    one = the_one(world)
    assert (one.finding.kind, one.finding.order_id) == ("released-twice", cleared)
    assert one.finding.evidence["release"].count("offset") == 2


def test_two_forged_releases_are_one_finding(world: World) -> None:
    held = by_type(world, PossibleFraud)[0]
    world.told(DeliveryReleased, held, "c1", START)
    world.told(DeliveryReleased, held, "c1", START)
    assert found(world) == [("released-without-clearance", held)]


def test_charge_over_another_amount(world: World) -> None:
    row = world.charges[5]
    row["amount"] += 250
    one = the_one(world)
    assert (one.finding.kind, one.finding.order_id, one.finding.amount) == ("amount-differs", row["order_id"], 250)
    assert one.finding.evidence["charges"] == "ch_5"


def test_charge_in_another_currency_puts_the_whole_amount_at_stake(world: World) -> None:
    row = world.charges[5]
    row["currency"] = "EUR"
    one = the_one(world)
    assert (one.finding.kind, one.finding.amount) == ("amount-differs", row["amount"])
    assert "EUR" in one.finding.evidence["charged"]


def test_double_charge_is_too_much(world: World) -> None:
    row = world.charges[5]
    world.pay(row["order_id"], START, row["amount"])
    one = the_one(world)
    assert (one.finding.kind, one.finding.amount) == ("amount-differs", row["amount"])
    assert one.finding.evidence["charges"].count("ch_") == 2


def test_failed_attempt_before_a_good_charge_is_no_difference(world: World) -> None:
    row = world.charges[5]
    world.pay(row["order_id"], START, row["amount"], status="failed")
    assert found(world) == []


def test_order_that_nobody_paid(world: World) -> None:
    row = world.charges.pop(5)
    one = the_one(world)
    assert (one.finding.kind, one.finding.order_id, one.finding.remedy) == (
        "payment-missing",
        row["order_id"],
        "collect-payment",
    )
    assert "has no charge of it" in one.finding.cause


def test_order_whose_only_charge_failed_is_not_paid(world: World) -> None:
    world.charges[5]["status"] = "failed"
    one = the_one(world)
    assert one.finding.kind == "payment-missing"
    assert one.finding.evidence["charges without money"] == "ch_5"


def test_money_for_an_order_that_nobody_knows(world: World) -> None:
    world.pay("ghost-1", START + timedelta(hours=1), 777)
    one = the_one(world)
    assert (one.finding.kind, one.finding.order_id, one.finding.amount) == ("payment-orphan", "ghost-1", 777)
    assert (one.finding.customer_id, one.finding.remedy) == (None, "refund-payment")


def test_charge_that_names_no_order_goes_by_its_own_id(world: World) -> None:
    world.pay(None, START, 777)
    assert found(world) == [("payment-orphan", "ch_48")]


def test_charge_of_an_order_that_only_the_stream_knows_is_no_orphan() -> None:
    incoming = [sign_up("c", START), order("c-1", "c", START + timedelta(days=1), 900)]
    world = World().stream(incoming)
    world.pay("c-1", START + timedelta(days=1), 900)
    assert found(world) == [("order-not-sold", "c-1")]


def test_source_whose_row_lies_in_quarantine_is_no_witness(world: World) -> None:
    sold, paid, other = (world.charges[place]["order_id"] for place in (3, 6, 9))
    world.shop = [row for row in world.shop if row["order_id"] != sold]
    world.charges = [row for row in world.charges if row["order_id"] != paid]
    next(row for row in world.charges if row["order_id"] == other)["amount"] += 1
    world.pay("unreadable", START, 100)
    expected = [("amount-differs", other), ("payment-missing", paid), ("payment-orphan", "unreadable")]
    assert found(world) == [("order-not-sold", sold), *expected]
    world.shop_aside = [sold, "unreadable"]
    world.charges_aside = [paid, other]
    assert found(world) == []


def test_only_the_days_asked_for(world: World) -> None:
    days = {row["day"] for row in world.shop}
    for row in list(world.charges):
        world.charges.remove(row)
    per_day = {day: found(world, first=day, last=day) for day in sorted(days)}
    assert sum(len(one) for one in per_day.values()) == 48
    assert all({order_id for _, order_id in one} == {r["order_id"] for r in world.shop if r["day"] == day}
               for day, one in per_day.items())  # fmt: skip


def test_payment_after_midnight_belongs_to_its_order() -> None:
    at = START + timedelta(days=2) - timedelta(seconds=1)
    incoming = [sign_up("c", START), order("c-1", "c", at, 900)]
    world = World().stream(incoming).sell(incoming)
    assert world.charges[0]["day"] > at.date()
    assert found(world, first=at.date(), last=at.date()) == []
    assert found(world, first=world.charges[0]["day"], last=world.charges[0]["day"]) == []


def test_same_facts_in_any_order_give_the_same_list(world: World) -> None:
    world.charges[:9] = []
    world.told(DeliveryReleased, "ghost-1", "ghost", START)
    before = match(world.scope())
    random.Random(3).shuffle(world.shop)
    random.Random(4).shuffle(world.charges)
    assert match(world.scope()) == before


BY_EDITING = (
    "order-not-streamed",
    "order-not-sold",
    "verdict-repeated",
    "verdict-not-reproducible",
    "released-without-clearance",
    "released-twice",
    "amount-differs",
    "payment-missing",
    "payment-orphan",
)
"""Kinds that come of editing what a calm world has left behind; the others: ``test_reconcile_kinds.py``."""


def plant(world: World, kind: str, order_id: str, draw: random.Random) -> None:
    """Make one difference of a kind."""
    match kind:
        case "payment-missing":
            world.charges = [row for row in world.charges if row["order_id"] != order_id]
        case "amount-differs":
            row = next(row for row in world.charges if row["order_id"] == order_id)
            row["amount"] += draw.choice((-1, 1, 300))
        case "order-not-sold":
            world.shop = [row for row in world.shop if row["order_id"] != order_id]
            world.charges = [row for row in world.charges if row["order_id"] != order_id]
        case "released-twice" | "released-without-clearance":
            world.told(DeliveryReleased, order_id, "c", START)
        case "verdict-not-reproducible":
            edit(world.only(VERDICTS, f"verdict/{order_id}"), score=draw.randrange(200, 300))
        case "verdict-repeated":
            row = world.only(VERDICTS, f"verdict/{order_id}")
            world.topics[VERDICTS].append(row | {"offset": row["offset"] + 10_000})
        case "payment-orphan":
            world.pay(order_id, START, 100)
        case "order-not-streamed":
            world.in_shop(order_id, "s", START, 100)
            world.pay(order_id, START, 100)


@pytest.mark.parametrize("seed", range(8))
def test_random_faults_are_found_exactly(seed: int) -> None:
    draw = random.Random(seed)
    world = calm(seed, customers=30, orders=3)
    cleared, held = by_type(world, NoFraudDetected), by_type(world, PossibleFraud)
    draw.shuffle(cleared)
    draw.shuffle(held)
    ghosts = {kind: [f"{kind}-{n}" for n in range(5)] for kind in ("payment-orphan", "order-not-streamed")}
    planted: set[tuple[str, str]] = set()
    for kind in BY_EDITING:
        pool = held if kind == "released-without-clearance" else ghosts.get(kind, cleared)
        for _ in range(draw.randrange(4)):
            order_id = pool.pop()
            plant(world, kind, order_id, draw)
            planted.add((kind, order_id))

    result = found(world)
    assert len(result) == len(set(result))
    assert set(result) == planted
    assert [kind for kind, _ in result] == sorted((kind for kind, _ in result), key=KINDS.index)
