"""The kinds that take time, words, policies or captured money: planted is found exactly, with its cause."""

import random
from collections.abc import Callable
from datetime import date, datetime, timedelta

import msgspec
import pytest

from lake.reconcile.allowances import Allowances, BadAllowance, of_params, words
from lake.reconcile.findings import KINDS, REMEDIES, Difference
from lake.reconcile.match import match
from order_fraud import topics
from order_fraud.events import (
    ChargebackOpened,
    DeliveryCancelled,
    DeliveryHeld,
    DeliveryReleased,
    FraudCleared,
    FraudConfirmed,
    NewOrder,
    NoFraudDetected,
    PossibleFraud,
)
from order_fraud.judge import Judge, Panel
from scorecards import PANEL, SCORECARD
from tests.lake.reconcile_world import (
    ARRIVED,
    START,
    Incoming,
    World,
    calm,
    feedback,
    order,
    sign_up,
    traffic,
)
from tests.lake.test_reconcile_match import BY_EDITING, by_type, found, plant, the_one

OLD = Panel(Judge(msgspec.structs.replace(SCORECARD, version="old")))
LATER = ARRIVED + timedelta(days=5)
"""When nobody has looked after the held orders for five days."""


def events_of(world: World) -> dict[str, NewOrder]:
    made = traffic()
    return {event.subject: event for event in made if isinstance(event, NewOrder)}


def say(world: World, kind: type, order_id: str, at: datetime, by: str | None = None) -> dict[str, object]:
    """Let word of a calm world's order come in."""
    event = feedback(kind, events_of(world)[order_id], at, by)
    return world.append(topics.CUSTOMER_EVENTS.name, event.data.customer_id, event)


# --- held-overdue -----------------------------------------------------------------------------------------------------


@pytest.fixture
def world() -> World:
    return calm()


def overdue(world: World, **scope: object) -> list[str]:
    return sorted(order_id for kind, order_id in found(world, **scope) if kind == "held-overdue")


def test_every_order_held_for_longer_than_the_allowance_is_overdue(world: World) -> None:
    held = by_type(world, PossibleFraud)
    assert overdue(world) == []
    assert overdue(world, settled=LATER) == sorted(held) != []
    assert overdue(world, settled=LATER, allowances=Allowances(held_hours=24 * 6)) == []


def test_overdue_hold_says_since_when_and_what_to_do(world: World) -> None:
    held = by_type(world, PossibleFraud)[0]
    row = world.told(DeliveryHeld, held, held.partition("-")[0], START, ARRIVED - timedelta(days=4))
    one = the_one(world)
    assert (one.finding.kind, one.finding.order_id, one.finding.remedy) == ("held-overdue", held, "decide-hold")
    assert f"since {ARRIVED - timedelta(days=4):%Y-%m-%d %H:%M} UTC, for longer than 3 d" in one.finding.cause
    assert f"offset {row['offset']}" in one.finding.evidence["warehouse was told"]
    assert one.finding.amount == next(row["amount"] for row in world.shop if row["order_id"] == held)


@pytest.mark.parametrize("kind", [FraudConfirmed, FraudCleared, ChargebackOpened])
def test_word_of_anybody_ends_a_hold(world: World, kind: type) -> None:
    held = by_type(world, PossibleFraud)[0]
    say(world, kind, held, START + timedelta(days=9))
    assert held not in overdue(world, settled=LATER)


@pytest.mark.parametrize("kind", [DeliveryReleased, DeliveryCancelled])
def test_release_or_cancellation_ends_a_hold(world: World, kind: type) -> None:
    held = by_type(world, PossibleFraud)[0]
    world.told(kind, held, held.partition("-")[0], START)
    assert held not in overdue(world, settled=LATER)


def test_hold_that_nobody_told_the_warehouse_counts_from_the_verdict(world: World) -> None:
    held = by_type(world, PossibleFraud)[0]
    world.drop(topics.DELIVERY_EVENTS.name, f"delivery/{held}/held")
    assert held in overdue(world, settled=LATER)
    one = next(one for one in match(world.scope(settled=LATER)) if one.finding.order_id == held)
    assert one.finding.evidence["warehouse was told"] == "nothing"


def test_hold_of_an_order_that_was_never_sold_is_that_only(world: World) -> None:
    held = by_type(world, PossibleFraud)[0]
    plant(world, "order-not-sold", held, random.Random(1))
    assert ("order-not-sold", held) in found(world, settled=LATER)
    assert held not in overdue(world, settled=LATER)


# --- fraud-missed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "said"),
    [(ChargebackOpened, "was charged back by dp_9"), (FraudConfirmed, "was confirmed as fraud by dp_9")],
)
def test_fraud_of_a_cleared_order_was_missed(world: World, kind: type, said: str) -> None:
    cleared = by_type(world, NoFraudDetected)[0]
    row = say(world, kind, cleared, START + timedelta(days=40), "dp_9")
    one = the_one(world)
    assert (one.finding.kind, one.finding.order_id, one.finding.remedy) == ("fraud-missed", cleared, "settle-fraud")
    assert f"{said} on 2015-04-10" in one.finding.cause
    assert "by scorecard 1 and released" in one.finding.cause
    assert one.finding.evidence["word stands at"] == (
        f"customer.events, partition {row['partition']}, offset {row['offset']}"
    )
    assert one.finding.amount == next(row["amount"] for row in world.shop if row["order_id"] == cleared)


def test_the_last_word_counts(world: World) -> None:
    cleared, other = by_type(world, NoFraudDetected)[:2]
    say(world, ChargebackOpened, cleared, START + timedelta(days=40))
    say(world, FraudCleared, cleared, START + timedelta(days=41))
    assert found(world) == []
    say(world, FraudCleared, other, START + timedelta(days=40))
    say(world, FraudConfirmed, other, START + timedelta(days=41))
    assert found(world) == [("fraud-missed", other)]


def test_fraud_that_was_held_or_not_released_was_not_missed(world: World) -> None:
    held, cleared = by_type(world, PossibleFraud)[0], by_type(world, NoFraudDetected)[0]
    say(world, ChargebackOpened, held, START + timedelta(days=40))
    say(world, ChargebackOpened, cleared, START + timedelta(days=40))
    world.drop(topics.DELIVERY_EVENTS.name, f"delivery/{cleared}/released")
    assert found(world) == []


def test_fraud_that_was_released_against_the_verdict_is_that_only(world: World) -> None:
    held = by_type(world, PossibleFraud)[0]
    say(world, ChargebackOpened, held, START + timedelta(days=40))
    world.told(DeliveryReleased, held, held.partition("-")[0], START)
    assert found(world) == [("released-without-clearance", held)]


def test_missed_fraud_belongs_to_the_day_of_its_order(world: World) -> None:
    cleared = by_type(world, NoFraudDetected)[0]
    say(world, ChargebackOpened, cleared, START + timedelta(days=40))
    day = events_of(world)[cleared].time.date()
    assert found(world, first=day, last=day) == [("fraud-missed", cleared)]
    assert found(world, first=day + timedelta(days=1)) == []


# --- charged-but-rejected ---------------------------------------------------------------------------------------------


def capture(world: World, order_id: str) -> dict[str, object]:
    row = next(row for row in world.charges if row["order_id"] == order_id)
    row["captured"] = True
    return row


def test_captured_money_of_a_held_order_must_go_back(world: World) -> None:
    held = by_type(world, PossibleFraud)[0]
    row = capture(world, held)
    one = the_one(world)
    assert (one.finding.kind, one.finding.order_id, one.finding.remedy) == (
        "charged-but-rejected",
        held,
        "refund-payment",
    )
    assert (one.finding.amount, one.finding.currency) == (row["amount"], "USD")
    assert "but it is held (review)" in one.finding.cause
    assert one.finding.evidence["charges"] == row["charge_id"]


def test_capture_of_a_released_order_is_how_it_should_be(world: World) -> None:
    for row in world.charges:
        row["captured"] = row["order_id"] in by_type(world, NoFraudDetected)
    assert found(world) == []


def test_capture_of_a_cancelled_delivery_must_go_back(world: World) -> None:
    cleared = by_type(world, NoFraudDetected)[0]
    capture(world, cleared)
    world.told(DeliveryCancelled, cleared, cleared.partition("-")[0], START)
    one = the_one(world)
    assert (one.finding.kind, one.finding.order_id) == ("charged-but-rejected", cleared)
    assert "its delivery was cancelled" in one.finding.cause


def test_release_against_the_verdict_explains_the_capture_until_it_is_recalled(world: World) -> None:
    held = by_type(world, PossibleFraud)[0]
    capture(world, held)
    world.told(DeliveryReleased, held, held.partition("-")[0], START)
    assert found(world) == [("released-without-clearance", held)]
    world.told(DeliveryCancelled, held, held.partition("-")[0], START)
    assert found(world) == [("released-without-clearance", held), ("charged-but-rejected", held)]


@pytest.mark.parametrize("status", ["REFUNDED", "VOIDED"])
def test_money_that_the_shop_gave_back_is_no_finding(world: World, status: str) -> None:
    held = by_type(world, PossibleFraud)[0]
    amount = capture(world, held)["amount"]
    next(row for row in world.shop if row["order_id"] == held)["financial_status"] = status
    assert found(world) == [("refund-missing", held)], "as long as the payment provider knows nothing of it"
    world.refund(held, int(str(amount)))
    assert found(world) == []


def test_refunds_count_by_currency_and_the_rest_is_at_stake(world: World) -> None:
    held = by_type(world, PossibleFraud)[0]
    amount = capture(world, held)["amount"]
    world.refunds = [{"order_id": held, "amount": amount, "currency": "EUR"}]
    assert the_one(world).finding.amount == amount
    world.refunds.append({"order_id": held, "amount": amount - 7, "currency": "USD"})
    assert the_one(world).finding.amount == 7
    world.refunds.append({"order_id": held, "amount": 7, "currency": "USD"})
    assert found(world) == []


def test_two_currencies_are_one_finding_and_never_one_sum(world: World) -> None:
    held = by_type(world, PossibleFraud)[0]
    row = capture(world, held)
    world.pay(held, START, 5_00, currency="EUR", captured=True)
    finding = next(one.finding for one in match(world.scope()) if one.finding.kind == "charged-but-rejected")
    assert (finding.amount, finding.currency) in ((row["amount"], "USD"), (500, "EUR"))
    assert "5.00 EUR" in finding.evidence["captured"]
    assert "USD" in finding.evidence["captured"]


@pytest.mark.parametrize("kind", [ChargebackOpened, FraudCleared])
def test_what_the_bank_takes_back_or_a_person_clears_is_not_refunded(world: World, kind: type) -> None:
    held = by_type(world, PossibleFraud)[0]
    capture(world, held)
    say(world, kind, held, START + timedelta(days=40))
    assert found(world) == []


def test_confirmed_fraud_that_was_charged_is_refunded(world: World) -> None:
    held = by_type(world, PossibleFraud)[0]
    capture(world, held)
    say(world, FraudConfirmed, held, START + timedelta(days=40), "ann")
    one = the_one(world)
    assert (one.finding.kind, one.finding.evidence["word of a reviewer"]) == ("charged-but-rejected", "FraudConfirmed")


def test_missed_fraud_whose_delivery_was_stopped_is_one_finding(world: World) -> None:
    cleared = by_type(world, NoFraudDetected)[0]
    capture(world, cleared)
    say(world, FraudConfirmed, cleared, START + timedelta(days=40), "ann")
    world.told(DeliveryCancelled, cleared, cleared.partition("-")[0], START)
    assert found(world) == [("fraud-missed", cleared)]


# --- customer-unknown -------------------------------------------------------------------------------------------------


def strangers() -> tuple[World, list[Incoming]]:
    at = START + timedelta(days=1)
    made: list[Incoming] = [
        sign_up("c", START),
        order("c-1", "c", at, 100),
        order("s-1", "s", at, 700),
        order("s-2", "s", at + timedelta(days=1), 50),
    ]
    return World().stream(made).sell(made), made


def test_customer_who_never_signed_up_is_one_finding_at_the_first_order() -> None:
    world, _ = strangers()
    one = the_one(world)
    assert (one.finding.kind, one.finding.order_id, one.finding.remedy) == ("customer-unknown", "s-1", "check-shop")
    assert (one.finding.amount, one.finding.customer_id) == (750, "s")
    assert "and 1 later one of customer s" in one.finding.cause
    assert one.finding.evidence["later orders"] == "s-2"
    assert found(world, first=date(2015, 3, 3)) == []


def test_sign_up_is_waited_for() -> None:
    world, _ = strangers()
    at = START + timedelta(days=1)
    assert found(world, settled=at + timedelta(minutes=59)) == []
    assert found(world, settled=at + timedelta(minutes=60)) == [("customer-unknown", "s-1")]
    assert found(world, settled=at + timedelta(hours=2), allowances=Allowances(sign_up_minutes=180)) == []


def test_sign_up_that_came_after_all_closes_it() -> None:
    _, made = strangers()
    late = [*made, sign_up("s", START)]
    world = World().stream(late).sell([event for event in late if not isinstance(event, FraudConfirmed)])
    assert found(world) == []


def test_data_without_sign_ups_knows_no_unknown_customers() -> None:
    made = [order("s-1", "s", START, 700)]
    assert found(World().stream(made).sell(made)) == []


def test_event_that_nobody_sold_of_a_stranger_is_that_only() -> None:
    made = [sign_up("c", START), order("s-1", "s", START + timedelta(days=1), 700)]
    assert found(World().stream(made)) == [("order-not-sold", "s-1")]


# --- policy-skew ------------------------------------------------------------------------------------------------------


def two_versions(*moments: tuple[str, timedelta], published_only: bool = False) -> World:
    """Return a world with a version ``old`` that judged the customers with even numbers, activated as named."""
    world = World()
    world.publish(OLD.active.scorecard, came_in=ARRIVED - timedelta(days=9))
    world.publish(SCORECARD, came_in=ARRIVED - timedelta(days=9))
    for version, before in () if published_only else moments:
        world.activate(version, at=START, came_in=ARRIVED + before)
    made = traffic()
    return world.stream(made, lambda subject: OLD if int(subject[1:].partition("-")[0]) % 2 == 0 else PANEL).sell(made)


def skewed(world: World, **scope: object) -> list[Difference]:
    return [one for one in match(world.scope(**scope)) if one.finding.kind == "policy-skew"]


def by_old(world: World) -> list[str]:
    rows = world.topics[topics.FRAUD_VERDICTS.name]
    return sorted(row["subject"] for row in rows if '"scorecard_version":"old"' in row["value"])


def test_version_replaced_before_the_orders_came_in() -> None:
    world = two_versions(("old", -timedelta(days=8)), ("1", -timedelta(hours=2)))
    found_ = skewed(world)
    assert sorted(one.finding.order_id for one in found_) == by_old(world) != []
    finding = found_[0].finding
    assert finding.remedy == "investigate"
    assert "judged by scorecard old, which scorecard 1 had replaced 2 h" in finding.cause
    offsets = [row["offset"] for row in world.topics[topics.FRAUD_POLICIES.name]]
    assert f"(fraud.policies, offset {offsets[3]})" in finding.cause
    assert finding.evidence["judged by"] == (
        f"scorecard old: activated at fraud.policies, partition 0, offset {offsets[2]}"
    )
    assert finding.evidence["active when the order came in"] == (
        f"scorecard 1: activated at fraud.policies, partition 0, offset {offsets[3]}"
    )


def test_two_versions_side_by_side_within_the_allowance_are_no_skew() -> None:
    world = two_versions(("old", -timedelta(days=8)), ("1", timedelta(0)))
    last = max(row["timestamp"] for row in world.topics[topics.FRAUD_VERDICTS.name]) - ARRIVED
    assert skewed(world, allowances=Allowances(skew_seconds=last.total_seconds())) == []
    assert skewed(world, allowances=Allowances(skew_seconds=0)) != []


def test_orders_that_waited_for_a_version_are_no_skew() -> None:
    """A verdict bears the time at which its order came in: what judged it may have become active long after."""
    assert skewed(two_versions(("old", timedelta(hours=3)))) == []


def test_version_that_was_never_activated() -> None:
    world = two_versions(published_only=True)
    found_ = skewed(world)
    assert sorted(one.finding.order_id for one in found_) == by_old(world)
    assert "judged by scorecard old, which was published and never activated; scorecard 1 was active" in (
        found_[0].finding.cause
    )


def test_version_that_nobody_published_is_not_reproducible_and_that_only() -> None:
    made = traffic()
    world = World().stream(made, lambda _: OLD).sell(made)
    assert {kind for kind, _ in found(world)} == {"verdict-not-reproducible"}


# --- all of them ------------------------------------------------------------------------------------------------------


CAUSES = {
    "order-not-streamed": "no NewOrder event of it ever came in",
    "order-not-sold": "but the shop has no such order",
    "verdict-missing": "and no such record is there",
    "verdict-repeated": "2 verdicts instead of one, all the same",
    "verdict-not-reproducible": "score is 2",
    "policy-skew": "judged by scorecard old, which scorecard 1 had replaced 8 d",
    "customer-unknown": "no sign-up of this customer had come in 1 h after the order",
    "released-without-clearance": "the verdict on it is PossibleFraud",
    "released-twice": "was released 2 times",
    "held-overdue": f"since {ARRIVED - timedelta(days=4):%Y-%m-%d %H:%M} UTC, for longer than 3 d",
    "amount-differs": "was charged",
    "payment-missing": "the payment provider has no charge of it",
    "payment-orphan": "which neither the shop nor the stream knows",
    "charged-but-rejected": "but it is held (",
    "refund-missing": ", but 3 d later the payment provider ",
    "customer-differs": "The CRM's contact 003",
}
"""What the cause of each kind must say; the others name what is theirs alone."""


def _bought(row: dict[str, object]) -> tuple[object, object]:
    return row["created_at"], row["order_id"]


def _cancelled_in_shop(world: World, order_id: str, amount: int) -> None:
    next(row for row in world.shop if row["order_id"] == order_id)["financial_status"] = "VOIDED"


def _refunded_short(world: World, order_id: str, amount: int) -> None:
    world.give_back(order_id, amount)
    world.refund(order_id, amount - 5)


REFUND_FLAWS: dict[str, Callable[[World, str, int], None]] = {
    "no refund": lambda world, order_id, amount: world.give_back(order_id, amount),
    "no partial refund": lambda world, order_id, amount: world.give_back(order_id, amount // 2),
    "less": _refunded_short,
    "cancelled": _cancelled_in_shop,
    "settled": lambda world, order_id, amount: world.returned.append(order_id),
}
"""How a refund can be missing."""


def refunds_and_contacts(world: World, cleared: list[str], draw: random.Random) -> dict[tuple[str, str], str]:
    """Plant wrong refunds and contacts among right ones, and return what was planted."""
    planted: dict[tuple[str, str], str] = {}
    for flaw in draw.sample(tuple(REFUND_FLAWS), draw.randrange(1, 5)):
        order_id = cleared.pop()
        REFUND_FLAWS[flaw](world, order_id, capture(world, order_id)["amount"])
        planted["refund-missing", order_id] = CAUSES["refund-missing"]
    for _ in range(3):  # refunds as they should be
        order_id = cleared.pop()
        amount = capture(world, order_id)["amount"]
        world.give_back(order_id, amount)
        world.refund(order_id, amount)
    for row in world.shop:
        if row["customer_id"] not in {contact["customer_id"] for contact in world.contacts}:
            world.in_crm(row["customer_id"])
    for contact in draw.sample([one for one in world.contacts if one["customer_id"].startswith("c")], 3):
        contact["email_token"] = draw.choice(("tok_other", None))
        first = min((row for row in world.shop if row["customer_id"] == contact["customer_id"]), key=_bought)
        planted["customer-differs", first["order_id"]] = CAUSES["customer-differs"]
    return planted


def everything(seed: int) -> tuple[World, dict[tuple[str, str], str]]:
    """Return a world with every kind of difference planted a few times, and what was planted, each with its cause."""
    draw = random.Random(seed)
    planted: dict[tuple[str, str], str] = {}
    early: list[Incoming] = []
    late: list[Incoming] = []

    def count() -> range:
        return range(draw.randrange(1, 4))

    for number in count():
        customer, at = f"9{number}", START + timedelta(hours=draw.uniform(1, 90))
        early.append(order(f"{customer}-1", customer, at, draw.randrange(500, 9_000)))
        if draw.random() < 0.5:
            early.append(order(f"{customer}-2", customer, at + timedelta(hours=2), 700))
        planted["customer-unknown", f"{customer}-1"] = CAUSES["customer-unknown"]
    for number in count():
        customer, at = f"8{number}", START + timedelta(hours=draw.uniform(1, 90))
        early.append(order(f"{customer}-1", customer, at + timedelta(seconds=draw.randrange(60)), 900, f"d-{customer}"))
        late.append(sign_up(customer, at, f"d-{customer}"))
        planted["verdict-would-change", f"{customer}-1"] = (
            f"in time: customer/{customer}, which belongs before it, came in"
        )
    made = traffic(30, 4, seed)
    sold = [event for event in made if isinstance(event, NewOrder)]
    skewed_ = {event.subject for event in draw.sample(sold, 3)}
    planted |= {("policy-skew", order_id): CAUSES["policy-skew"] for order_id in skewed_}
    calm_world = World().stream(made)
    cleared, held = by_type(calm_world, NoFraudDetected), by_type(calm_world, PossibleFraud)
    cleared, held = ([one for one in pool if one not in skewed_] for pool in (cleared, held))
    draw.shuffle(cleared)
    draw.shuffle(held)
    by_id = {event.subject: event for event in sold}
    for _ in count():
        order_id = cleared.pop()
        kind = draw.choice((ChargebackOpened, FraudConfirmed))
        late.append(feedback(kind, by_id[order_id], START + timedelta(days=60), "ann"))
        what = "charged back" if kind is ChargebackOpened else "confirmed as fraud"
        planted["fraud-missed", order_id] = f"was {what} by ann on"
    world = World()
    world.publish(OLD.active.scorecard, came_in=ARRIVED - timedelta(days=9))
    world.activate("old", came_in=ARRIVED - timedelta(days=9))
    world.publish(SCORECARD, came_in=ARRIVED - timedelta(days=9))
    world.activate("1", came_in=ARRIVED - timedelta(days=8))
    ordered = sorted([*made, *early], key=lambda event: event.time)
    came_in = [ARRIVED + timedelta(seconds=number) for number in range(len(ordered))]
    came_in += [came_in[-1] + timedelta(minutes=5 + number) for number in range(len(late))]
    incoming = [*ordered, *late]
    world.stream(incoming, lambda subject: OLD if subject in skewed_ else PANEL, came_in).sell(incoming)
    for _ in count():
        order_id = held.pop()
        world.told(DeliveryHeld, order_id, by_id[order_id].data.customer_id, START, ARRIVED - timedelta(days=4))
        planted["held-overdue", order_id] = CAUSES["held-overdue"]
    for _ in count():
        order_id = held.pop()
        capture(world, order_id)
        planted["charged-but-rejected", order_id] = CAUSES["charged-but-rejected"]
    planted |= refunds_and_contacts(world, cleared, draw)
    ghosts = {kind: [f"{kind}-{n}" for n in range(5)] for kind in ("payment-orphan", "order-not-streamed")}
    for kind in BY_EDITING:
        pool = held if kind == "released-without-clearance" else ghosts.get(kind, cleared)
        for _ in count():
            order_id = pool.pop()
            plant(world, kind, order_id, draw)
            planted[kind, order_id] = CAUSES[kind]
    order_id = cleared.pop()
    world.drop(topics.FRAUD_VERDICTS.name, f"verdict/{order_id}")
    world.drop(topics.DELIVERY_EVENTS.name, f"delivery/{order_id}/released")
    planted["verdict-missing", order_id] = CAUSES["verdict-missing"]
    return world, planted


@pytest.mark.parametrize("seed", range(8))
def test_every_kind_is_found_exactly(seed: int) -> None:
    world, planted = everything(seed)
    causes = {(one.finding.kind, one.finding.order_id): one.finding.cause for one in match(world.scope())}
    assert len(found(world)) == len(causes)
    assert causes.keys() == planted.keys()
    assert {key: cause for key, cause in causes.items() if planted[key] not in cause} == {}
    assert {kind for kind, _ in planted} == set(KINDS) == set(REMEDIES)


# --- the allowances ---------------------------------------------------------------------------------------------------


def test_allowances_of_the_form() -> None:
    assert of_params({}) == Allowances()
    assert of_params({"held_hours": 1, "late_seconds": 0.5, "dry_run": True}) == Allowances(
        held_hours=1, late_seconds=0.5
    )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"held_hours": "soon"}, "Expected `float`, got `str`"),
        ({"held_hours": -1}, "held_hours is -1: it must lie between 0 and 3650 days"),
        ({"late_seconds": 1e12}, "late_seconds is 1e\\+12"),
        ({"late_seconds": float("nan")}, "no number"),
        ({"sign_up_minutes": float("inf")}, "no number"),
        ({"refund_hours": -1}, "refund_hours is -1"),
    ],
)
def test_allowances_that_make_no_sense_are_refused(given: dict[str, object], reason: str) -> None:
    with pytest.raises(BadAllowance, match=reason):
        of_params(given)


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (timedelta(seconds=1.5), "1.5 s"),
        (timedelta(minutes=2), "2 min"),
        (timedelta(hours=2, minutes=3, seconds=4), "2 h 3 min"),
        (timedelta(days=3), "3 d"),
    ],
)
def test_lengths_in_words(length: timedelta, said: str) -> None:
    assert words(length) == said
