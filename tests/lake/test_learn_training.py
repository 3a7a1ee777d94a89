"""Training from an archive: what is read, what is refused, what the report says."""

import json
from datetime import UTC, date, datetime, timedelta
from functools import cache

import msgspec
import pytest

from lake.learn.archive import Known, NothingMature, known
from lake.learn.card import Capacity
from lake.learn.page import document, render
from lake.learn.pictures import wilson
from lake.learn.training import CannotLearn, Training, Wish, train
from order_fraud.events import ChargebackOpened, FraudCleared, NewCustomer, NewOrder
from order_fraud.judge import Judge
from order_fraud.policy import parse
from order_fraud.topics import CUSTOMER_EVENTS
from producers import book as books
from producers import patterns
from scorecards import PANEL
from tests.lake.reconcile_world import World, feedback, order
from tests.lake.test_report import check

WISH = Wish(owner="ann", reason="a <test>", capacity=Capacity())
MATURE = 20


@cache
def world() -> World:
    """Generated orders; every fraud is charged back a week later, two are taken back after that."""
    book = patterns.generate(1_500, seed=3)
    truth = {sale.order_id: sale.row.truth for sale in book.sales}
    incoming = [event for _, event in books.events(book) if isinstance(event, NewCustomer | NewOrder)]
    frauds = [event for event in incoming if isinstance(event, NewOrder) and truth[event.subject] != "normal"]
    word = [feedback(ChargebackOpened, event, event.time + timedelta(days=7)) for event in frauds]
    word += [feedback(FraudCleared, event, event.time + timedelta(days=9)) for event in frauds[:2]]
    return World().stream(sorted([*incoming, *word], key=lambda event: event.time))


def read(first: date | None = None, last: date | None = None, mature_days: int = MATURE) -> Known:
    return known(world().archive, first, last, mature_days)


@cache
def trained() -> Training:
    return train(read(), PANEL.active, WISH, "manual__1", {"kafka.fraud_verdicts": 7}, MATURE)


def test_only_orders_old_enough_are_read_in_their_order_with_their_label() -> None:
    found = read()
    assert found.times == sorted(found.times)
    assert max(found.times) <= found.as_of - timedelta(days=MATURE)
    assert len(found.times) + found.young == 1_500
    assert found.young > 0
    charged = {row["subject"] for row in world().topics["customer.events"] if row["type"] == "ChargebackOpened"}
    cleared = {row["subject"] for row in world().topics["customer.events"] if row["type"] == "FraudCleared"}
    assert len(cleared) == 2
    for verdict, fraud in zip(found.verdicts, found.fraud, strict=True):
        assert fraud == (verdict.order_id in charged - cleared)


def test_order_of_the_future_makes_no_other_one_mature() -> None:
    expected = read()
    far = order("far-1", "far", datetime(2099, 12, 31, tzinfo=UTC))
    spoilt = World({**world().topics, CUSTOMER_EVENTS.name: list(world().topics[CUSTOMER_EVENTS.name])})
    spoilt.append(CUSTOMER_EVENTS.name, "far", far)
    found = known(spoilt.archive, None, None, MATURE)
    assert (found.as_of, found.young) == (expected.as_of, expected.young)
    assert found.fraud == expected.fraud


def test_days_are_bounds_of_the_orders() -> None:
    first, last = date(2015, 2, 1), date(2015, 3, 1)
    assert {time.date() for time in read(first, last).times} <= {first + timedelta(days=n) for n in range(29)}


def test_nothing_mature_is_refused_with_the_remedy() -> None:
    with pytest.raises(
        NothingMature, match=r"none of the 1500 orders of these days is 400 days old at .*`mature_days`"
    ):
        read(mature_days=400)
    with pytest.raises(NothingMature, match="run land_events"):
        read(date(2030, 1, 1))


def test_too_few_labels_are_refused_with_their_number() -> None:
    with pytest.raises(CannotLearn, match=r"of \d+ orders are known as fraud"):
        train(read(date(2015, 1, 1), date(2015, 1, 20)), PANEL.active, WISH, "r", {}, MATURE)


def made(stamped: list[dict[str, float]], fraud: list[bool]) -> Known:
    """Orders with these signals, one after the other."""
    one, as_of = read().verdicts[0], read().as_of
    verdicts = [msgspec.structs.replace(one, order_id=f"o-{n}", signals=each) for n, each in enumerate(stamped)]
    times = [as_of - timedelta(days=100) + timedelta(minutes=n) for n in range(len(stamped))]
    return Known(verdicts, times, fraud, as_of, 0)


def test_orders_that_no_signal_tells_apart_give_no_scorecard() -> None:
    nothing = made([{}] * 1_000, [n % 5 == 0 for n in range(1_000)])
    with pytest.raises(CannotLearn, match=r"no signal tells the 200 frauds among these 1000 orders .*choose more days"):
        train(nothing, PANEL.active, WISH, "r", {}, MATURE)


def tied(review: float) -> Training:
    """Train where all frauds share their score with every eighth honest order, and no order has a higher one."""
    fraud = [n % 5 == 0 for n in range(1_000)]
    shared = made([{"device.customers": 2.0 if n % 5 == 0 or n % 10 == 1 else 1.0} for n in range(1_000)], fraud)
    wish = Wish(owner="ann", reason="a test", capacity=Capacity(review, 0.001))
    return train(shared, PANEL.active, wish, "r", {}, MATURE)


def test_a_scorecard_that_would_hold_nothing_is_refused_with_what_would_help() -> None:
    with pytest.raises(
        CannotLearn, match=r"12\.50% of the 800 honest .* at most 1\.00% .* `review_percent` to 12\.5 or"
    ):
        tied(0.01)
    page = render(tied(0.125))
    assert "none is blocked, since too many honest orders have the highest score" in page
    assert "1,000,000" not in page


def test_training_gives_a_valid_scorecard_with_a_name_of_its_own_and_the_same_again() -> None:
    one = trained()
    card = parse(one.document.encode())
    assert card.version.startswith(f"learned-{one.as_of:%Y-%m-%d}-")
    assert (card.owner, card.reason, card.based_on) == ("ann", "a <test>", "1")
    again = train(read(), PANEL.active, WISH, "other", {}, MATURE)
    assert again.document == one.document
    other = Wish(owner="ann", reason="another", capacity=Capacity())
    assert train(read(), PANEL.active, other, "r", {}, MATURE).document != one.document


def test_what_is_measured_was_not_learned_from() -> None:
    one = trained()
    assert one.learned_orders == int((one.learned_orders + one.measured_orders) * 0.8)
    assert one.first <= one.split <= one.last
    assert {measure.name for measure in one.measures} >= {"area under the ROC curve"}
    auc = one.measures[0]
    assert auc.challenger.low <= auc.challenger.value <= auc.challenger.high
    assert auc.gain.value == pytest.approx(auc.challenger.value - auc.champion.value)
    assert auc.challenger.value > 0.97
    assert sum(group.orders for group in one.calibration) == one.measured_orders
    assert sum(group.fraud for group in one.calibration) == one.measured_fraud


def test_against_itself_the_learned_scorecard_gains_little() -> None:
    card = parse(trained().document.encode())
    auc = train(read(), Judge(card), WISH, "r", {}, MATURE).measures[0]
    assert abs(auc.gain.value) < 0.02


def test_page_and_document_say_it_all() -> None:
    one = trained()
    page = check(render(one))
    assert "none is blocked" not in page
    card = parse(one.document.encode())
    for text in (card.version, "a <test>", "area under the ROC curve", *(line.signal for line in card.lines)):
        assert text in page
    assert "<test>" not in render(one)
    found = json.loads(document(one))
    assert found["document"]["version"] == card.version
    assert found["measures"][0]["gain"].keys() == {"value", "low", "high"}


@pytest.mark.parametrize(
    ("hits", "tries", "low", "high"), [(0, 10, 0, 0.278), (5, 10, 0.237, 0.763), (10, 10, 0.722, 1)]
)
def test_interval_of_a_share_is_wilson_s(hits: int, tries: int, low: float, high: float) -> None:
    assert wilson(hits, tries) == pytest.approx((low, high), abs=1e-3)
