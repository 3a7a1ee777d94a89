"""Verdicts that would be others, had everything come in in time: exactly those, with the late event as their cause."""

import random
from datetime import datetime, timedelta

import msgspec
import pytest

from lake.reconcile.allowances import Allowances
from lake.reconcile.match import match
from order_fraud import topics
from order_fraud.events import ChargebackOpened, NewOrder, PossibleFraud
from order_fraud.judge import Judge, Panel
from scorecards import HAND_SET, SCORECARD
from tests.lake.reconcile_world import ARRIVED, START, Incoming, World, feedback, full_traffic, order, sign_up, traffic
from tests.lake.test_reconcile_match import by_type, found, plant, the_one


def late_world(early: list[Incoming], late: list[Incoming], pause: timedelta = timedelta(hours=2)) -> World:
    """Let traffic and ``early`` come in by their dates, and ``late`` after a pause."""
    made = sorted([*traffic(), *early], key=lambda event: event.time)
    world = World()
    sold = [event for event in (*made, *late) if isinstance(event, NewOrder)]
    came_in = [ARRIVED + timedelta(seconds=number) for number in range(len(made))]
    came_in += [came_in[-1] + pause + timedelta(seconds=number) for number in range(len(late))]
    return world.stream([*made, *late], came_in=came_in).sell(sold)


AT = START + timedelta(hours=30)
FRESH = sign_up("fresh", AT, "d-fresh")
ORDERED = order("fresh-1", "fresh", AT + timedelta(seconds=20), 900, "d-fresh")


def test_late_sign_up_would_have_made_it_a_possible_fraud() -> None:
    world = late_world([ORDERED], [FRESH])
    one = the_one(world)
    assert (one.finding.kind, one.finding.order_id, one.finding.remedy) == (
        "verdict-would-change",
        "fresh-1",
        "investigate",
    )
    assert one.finding.amount == 900
    late = world.only(topics.CUSTOMER_EVENTS.name, "customer/fresh")
    assert (
        "judged clear (0 points), and would have been judged review (60 points) had everything come in in time: "
        "customer/fresh, which belongs before it, came in 2 h" in one.finding.cause
    )
    assert f"customer.events, partition {late['partition']}, offset {late['offset']}" in one.finding.evidence["late"]
    assert "customer.account_age_s absent, in time 20.0" in one.finding.evidence["signals"]


@pytest.mark.parametrize("seconds", [0, 1])
def test_sign_up_of_the_same_instant_belongs_before_its_order(seconds: int) -> None:
    at_once = order("fresh-1", "fresh", AT + timedelta(seconds=seconds), 900, "d-fresh")
    assert found(late_world([at_once], [FRESH])) == [("verdict-would-change", "fresh-1")]


def test_order_of_the_same_instant_belongs_nowhere_else() -> None:
    ups: list[Incoming] = [sign_up(name, START - timedelta(days=30)) for name in "ab"]
    a, b = (order(f"{name}-1", name, AT, 900, "d-ab") for name in "ab")
    assert found(late_world([*ups, a], [b])) == []


def test_in_time_it_is_a_possible_fraud_and_no_difference() -> None:
    world = late_world([FRESH, ORDERED], [])
    assert found(world) == []
    assert "fresh-1" in by_type(world, PossibleFraud)


def test_what_comes_in_within_the_allowance_is_not_late() -> None:
    world = late_world([ORDERED], [FRESH])
    assert found(world, allowances=Allowances(late_seconds=3 * 3600)) == []


def test_late_event_that_changes_no_outcome_is_no_finding() -> None:
    slow = order("fresh-1", "fresh", AT + timedelta(hours=3), 900, "d-fresh")
    assert found(late_world([slow], [FRESH])) == []


def test_late_order_changes_itself_and_the_others_on_its_device() -> None:
    """a, b and c order on one device in this order; a comes in last."""
    ups: list[Incoming] = [sign_up(name, START - timedelta(days=30)) for name in "abc"]
    a, b, c = (order(f"{name}-1", name, AT + timedelta(hours=n), 900, "d-abc") for n, name in enumerate("abc"))
    world = late_world([*ups, b, c], [a])
    outcomes = {row["subject"]: row["type"] for row in world.topics[topics.FRAUD_VERDICTS.name]}
    assert [outcomes[f"{name}-1"] for name in "abc"] == ["PossibleFraud", "NoFraudDetected", "PossibleFraud"]
    causes = {one.finding.order_id: one.finding.cause for one in match(world.scope())}
    assert causes.keys() == {"a-1", "b-1"}
    assert "order/a-1 itself came in 2 h" in causes["a-1"]
    assert "order/a-1, which belongs before it, came in 2 h" in causes["b-1"]


def test_late_chargeback_counts_where_the_scorecard_reads_it() -> None:
    strict = msgspec.structs.replace(
        SCORECARD,
        version="frauds",
        lines=(*SCORECARD.lines, msgspec.structs.replace(SCORECARD.lines[-1], signal="device.frauds", bins=(_bin(),))),
    )
    panel = Panel(Judge(strict))
    first = order("x-1", "x", AT, 900, "d-x")
    second = order("y-1", "y", AT + timedelta(days=3), 900, "d-x")
    word = feedback(ChargebackOpened, first, AT + timedelta(days=1), "dp_1")
    ups: list[Incoming] = [sign_up(name, START - timedelta(days=30)) for name in "xy"]
    made: list[Incoming] = [*ups, first, second, word]
    world = World()
    world.publish(strict, came_in=ARRIVED - timedelta(days=1))
    world.activate("frauds", came_in=ARRIVED - timedelta(days=1))
    came_in = [ARRIVED, ARRIVED, ARRIVED, ARRIVED, ARRIVED + timedelta(days=1)]
    world.stream(made, lambda _: panel, came_in).sell(made)
    found_ = {one.finding.order_id: one.finding for one in match(world.scope(settled=ARRIVED + timedelta(days=2)))}
    assert found_["y-1"].kind == "verdict-would-change"
    assert "chargeback/x-1" in found_["y-1"].cause
    assert "device.frauds absent, in time 1.0" in found_["y-1"].evidence["signals"]


def _bin() -> object:
    return msgspec.structs.replace(SCORECARD.lines[-1].bins[0], low=1.0, high=None, points=90, code="device-frauds")


def outcomes(world: World) -> dict[str, str]:
    rows = world.topics[topics.FRAUD_VERDICTS.name]
    return {row["subject"]: msgspec.json.decode(row["value"])["data"]["outcome"] for row in rows}


def everywhere(event: Incoming) -> Incoming:
    """Give an event a device and an ip: then all take the same hops, and none overtakes another on the way."""
    number = int(event.data.customer_id[1:])
    data = msgspec.structs.replace(event.data, device_id=f"d{number % 5}", ip=f"10.0.0.{number % 7}")
    return msgspec.structs.replace(event, data=data)


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 7])
def test_it_is_what_the_stream_says_when_everything_comes_in_in_time(seed: int) -> None:
    """The same events once by their dates and once with some of them late: exactly those outcomes differ."""
    draw = random.Random(seed)
    by_date = [everywhere(event) for event in full_traffic(customers=25, orders=4, seed=seed)]
    late = [event for event in by_date if draw.random() < 0.15]
    in_time = [event for event in by_date if event not in late]
    panel = Panel(Judge(HAND_SET))

    def world_of(incoming: list[Incoming], came_in: list[datetime]) -> World:
        made = World()
        made.publish(HAND_SET, came_in=ARRIVED - timedelta(days=1))
        made.activate(HAND_SET.version, came_in=ARRIVED - timedelta(days=1))
        return made.stream(incoming, lambda _: panel, came_in)

    at = [ARRIVED + timedelta(milliseconds=number) for number in range(len(by_date))]
    right = outcomes(world_of(by_date, at))
    draw.shuffle(late)
    came_in = at[: len(in_time)] + [ARRIVED + timedelta(hours=1 + number) for number in range(len(late))]
    world = world_of([*in_time, *late], came_in)
    was = outcomes(world)
    differing = {order_id for order_id in was if was[order_id] != right[order_id]}
    changed = {one.order_id: one for one in world.scope().changed}
    assert changed.keys() == differing != set()
    assert {one.would.outcome for one in changed.values()} <= {"clear", "review", "block"}
    assert all(one.would.outcome == right[order_id] for order_id, one in changed.items())
    late_ids = {event.id for event in late}
    assert all({named.event_id for named in one.late} <= late_ids and one.late for one in changed.values())


def test_only_the_days_of_the_order_are_asked_about() -> None:
    world = late_world([ORDERED], [FRESH])
    assert found(world, first=AT.date(), last=AT.date()) == [("verdict-would-change", "fresh-1")]
    assert found(world, first=AT.date() + timedelta(days=1)) == []


def test_verdict_that_does_not_come_out_again_is_not_asked_what_it_would_be() -> None:
    world = late_world([ORDERED], [FRESH])
    plant(world, "verdict-not-reproducible", "fresh-1", random.Random(1))
    assert found(world) == [("verdict-not-reproducible", "fresh-1")]
