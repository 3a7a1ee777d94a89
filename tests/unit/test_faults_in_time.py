"""Faults of what comes in when: who is chosen, and that a late sign-up counts only where it changes the outcome."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from order_fraud import policies
from order_fraud.events import NewCustomer, NewOrder, Verdict
from order_fraud.relay import ROUTE, Onward, Shelf, step
from producers import book, forge, forge_policy, patterns
from producers.book import Book, Row
from sandbox import faults, faults_in_time
from scorecards import HAND_SET, PANEL

SEED = 3
START = datetime(2015, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def sold() -> Book:
    return patterns.generate(2_000, SEED)


@pytest.fixture(scope="module")
def plan(sold: Book) -> dict[str, list[str]]:
    planted = faults.plan((sale.order_id for sale in sold.sales), SEED)
    planted[faults_in_time.CUSTOMER_UNKNOWN] = faults_in_time.strangers(sold, planted, SEED, 30)
    planted[faults_in_time.WOULD_CHANGE] = faults_in_time.late_sign_ups(sold, planted, SEED, 30)
    return planted


def test_no_order_gets_two_faults_and_another_seed_another_plan(sold: Book, plan: dict[str, list[str]]) -> None:
    every = Counter(order_id for order_ids in plan.values() for order_id in order_ids)
    assert max(every.values()) == 1
    assert faults_in_time.strangers(sold, {}, 1, 30) != faults_in_time.strangers(sold, {}, 2, 30)
    assert faults_in_time.strangers(sold, {}, 1, 30) == faults_in_time.strangers(sold, {}, 1, 30)


def test_strangers_are_named_by_their_first_order_and_have_no_other_fault(
    sold: Book, plan: dict[str, list[str]]
) -> None:
    chosen = plan[faults_in_time.CUSTOMER_UNKNOWN]
    assert len(chosen) == 30
    assert all(order_id.endswith("-1") for order_id in chosen)
    strangers = {order_id.partition("-")[0] for order_id in chosen}
    others = {order_id for kind, ids in plan.items() if kind != faults_in_time.CUSTOMER_UNKNOWN for order_id in ids}
    assert not {order_id for order_id in others if order_id.partition("-")[0] in strangers}


def test_late_sign_ups_are_of_quick_orders_and_concern_nobody_else(sold: Book, plan: dict[str, list[str]]) -> None:
    chosen = set(plan[faults_in_time.WOULD_CHANGE])
    assert chosen
    signed_up = {row.user_id: row for row in sold.signups}
    for sale in sold.sales:
        if sale.order_id in chosen:
            sign_up = signed_up[sale.row.user_id]
            assert sale.row.purchase_time - sign_up.signup_time <= faults_in_time.QUICK
            shared = [
                other.order_id
                for other in sold.sales
                if other.order_id != sale.order_id
                and (other.row.device_id == sale.row.device_id or (sale.row.ip and other.row.ip == sale.row.ip))
            ]
            assert shared == []


def judged(incoming: list[NewCustomer | NewOrder]) -> Verdict:
    """Let events of one customer run through the relay, and return the verdict on the order."""
    shelves = [Shelf() for _ in ROUTE]
    said = None
    for event in incoming:
        onward: Onward | None = None
        for hop, shelf in zip(ROUTE, shelves, strict=True):
            if onward is None or onward.topic is hop.reads:
                onward = step(hop, shelf, event if onward is None else onward.event, PANEL)  # type: ignore[arg-type]
                if onward is None:
                    break
        if isinstance(event, NewOrder):
            assert onward is not None
            said = onward.event.data
    assert isinstance(said, Verdict)
    return said


@pytest.mark.parametrize(("seconds", "changes"), [(20, True), (60, True), (61, False), (4_000, False)])
def test_oracle_says_what_the_relay_would_have_said(seconds: int, changes: bool) -> None:
    row = Row(
        line=1,
        user_id="7",
        signup_time=START,
        purchase_time=START + timedelta(seconds=seconds),
        amount=900,
        device_id="d",
        source=None,
        browser=None,
        ip="10.0.0.7",
    )
    made = book.book([row])
    (sale,) = made.sales
    sign_up, order = book.new_customer(row), book.new_order(sale)
    without = judged([msgspec.convert(msgspec.to_builtins(order), NewOrder)])
    with_it = judged([sign_up, order])
    assert (without.outcome != with_it.outcome) is changes
    assert faults_in_time.would_change(without, sale, {"7": START.timestamp()}, PANEL.active) is changes


def test_order_that_was_not_judged_as_said_is_no_fault() -> None:
    row = Row(
        line=1, user_id="7", signup_time=START, purchase_time=START, amount=900,
        device_id=None, source=None, browser=None, ip=None,
    )  # fmt: skip
    (sale,) = book.book([row]).sales
    verdict = msgspec.structs.replace(judged([book.new_order(sale)]), outcome="block")
    assert not faults_in_time.would_change(verdict, sale, {"7": START.timestamp()}, PANEL.active)


def test_last_orders_share_no_millisecond_with_the_others() -> None:
    came_in = {"a": 5, "b": 5, "c": 6, "d": 7, "e": 7}
    assert faults_in_time.judged_last(came_in, 1) == (6, ["d", "e"])
    assert faults_in_time.judged_last(came_in, 3) == (5, ["c", "d", "e"])
    assert faults_in_time.judged_last(came_in, 4) == (4, ["a", "b", "c", "d", "e"])


def test_book_without_some_sign_ups_is_else_the_same(sold: Book) -> None:
    all_of_it = list(book.events(sold))
    left_out = frozenset(row.user_id for row in sold.signups[:5])
    rest = list(book.events(sold, no_sign_up=left_out))
    assert [event for event in all_of_it if event[1].id not in {f"customer/{one}" for one in left_out}] == rest
    only = Book(sold.signups[:5], (), ())
    assert [event.id for _, event in book.events(only)] == [f"customer/{row.user_id}" for row in sold.signups[:5]]


def test_forged_hold_looks_like_the_delivery_services_own() -> None:
    (event,) = forge.read(["7-1,7,2015-03-01T10:00:00Z"], None, "held")
    assert (event.id, type(event).__name__, event.data.cause) == ("delivery/7-1/held", "DeliveryHeld", "forged")


def test_forged_policy_is_taken_by_every_worker() -> None:
    known = policies.initial(PANEL)
    for event in forge_policy.forged(START):
        key, value = policies.record(event)
        known = known.apply(policies.receive(key, value))
    assert known.panel.active.version == HAND_SET.version
