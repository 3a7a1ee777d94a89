"""Learned scorecards: valid for any orders, monotone, judged alike by the kernel, with a sentence for every bin."""

import re
from itertools import combinations, pairwise

import msgspec
import numpy as np
import pytest

from lake.learn.candidates import CANDIDATES, DOWN, UP
from lake.learn.card import HELD, Capacity, bin_code, score, scorecard, unit
from lake.learn.fit import Cut, Model, fit, suspicion
from lake.learn.metrics import threshold_at
from lake.learn.samples import NAMES, Samples
from lake.learn.sentences import sentence, span
from order_fraud.codes import clashes
from order_fraud.events import Order
from order_fraud.judge import Judge, plain
from order_fraud.policy import check, encode, parse
from order_fraud.scorecard import Scorecard
from scorecards import HAND_SET, SCORECARD
from tests.lake.learn_world import draw

TRUE = {
    Cut("customer.account_age_s", False, 300): 3.0,
    Cut("customer.account_age_s", False, 3600): 1.0,
    Cut("device.customers", True, 2): 1.0,
    Cut("device.customers", True, 4): 1.0,
    Cut("order.amount", False, 500): 1.0,
    Cut("order.amount", True, 50_000): 1.0,
}


def learned(orders: Samples, capacity: Capacity = Capacity()) -> Scorecard:  # noqa: B008 - it is frozen
    return scorecard(fit(orders), orders, "v", "ann", "a test", None, capacity)


@pytest.mark.parametrize("seed", range(6))
def test_every_scorecard_is_valid_and_survives_json(seed: int) -> None:
    card = learned(draw(seed, 5_000, -2.0 - seed / 4, TRUE if seed % 2 else {}))
    assert check(card) == card == parse(encode(card))


@pytest.mark.parametrize("seed", range(4))
def test_points_rise_with_suspicion_in_every_monotone_signal(seed: int) -> None:
    direction = {one.signal: one.direction for one in CANDIDATES}
    lines = learned(draw(seed, 8_000, -2.5, TRUE)).lines
    assert {line.signal for line in lines} >= {cut.signal for cut in TRUE}
    for line in lines:
        points = [one.points for one in line.bins]
        assert all(one > 0 for one in points)
        if direction[line.signal] == UP:
            assert points == sorted(points)
            assert line.bins[-1].high is None, "the most suspicious end is open"
        elif direction[line.signal] == DOWN:
            assert points == sorted(points, reverse=True)
            assert line.bins[0].low is None
        for before, after in pairwise(line.bins):
            assert before.high is not None
            assert after.low is not None
            assert before.high <= after.low


def test_the_kernel_judges_as_the_learner_scores() -> None:
    orders = draw(7, 3_000, -2.0, TRUE)
    card = learned(orders)
    judge = Judge(card)
    points = score(card.lines, orders)
    for row, expected in zip(orders.signals, points, strict=True):
        stamped = {name: float(value) for name, value in zip(NAMES, row, strict=True) if not np.isnan(value)}
        order = Order(order_id="1", customer_id="1", amount=1, currency="USD", signals=stamped)
        assert judge(order, 0).score == expected


def test_points_are_the_weights_on_a_scale_on_which_orders_are_held_from_fifty() -> None:
    model = Model(-3.0, {Cut("device.customers", True, 2): 2.0, Cut("device.customers", True, 4): 1.0}, 1_000, 100)
    orders = draw(8, 2_000, -2.0, TRUE)
    orders.signals[:, NAMES.index("device.customers")] = np.where(orders.fraud, 4, 2)
    (line,) = scorecard(model, orders, "v", "ann", "a test", None, Capacity()).lines
    assert [(one.code, one.low, one.high, one.points) for one in line.bins] == [
        ("device.customers.from-2-to-4", 2, 4, round(HELD * 2 / 3)),
        ("device.customers.from-4", 4, None, HELD),
    ]


@pytest.mark.parametrize("seed", range(4))
def test_every_version_holds_orders_from_the_same_points_on(seed: int) -> None:
    cards = [learned(draw(seed, 8_000, base, TRUE)) for base in (-4.0, -2.5, -1.0)]
    assert all(abs(card.bands[0].at - HELD) <= 3 for card in cards), [card.bands[0].at for card in cards]


def test_noise_does_not_look_like_many_points() -> None:
    model = Model(-3.0, {Cut("customer.direct", True, 1): 0.02}, 1_000, 100)
    orders = draw(8, 2_000, -2.0, {})
    assert unit(suspicion(model, orders), orders.fraud, 0.5) == pytest.approx(HELD / np.log(2))
    (line,) = scorecard(model, orders, "v", "ann", "a test", None, Capacity(0.5, 0.5)).lines
    assert [one.points for one in line.bins] == [1]


@pytest.mark.parametrize(("review", "block"), [(0.01, 0.001), (0.05, 0.01), (0.2, 0.2)])
def test_bands_hold_and_block_no_more_honest_orders_than_asked(review: float, block: float) -> None:
    orders = draw(9, 20_000, -3.0, TRUE)
    card = learned(orders, Capacity(review, block))
    points = score(card.lines, orders)
    held, blocked = ((points[~orders.fraud] >= band.at).mean() for band in card.bands)
    assert held <= review
    assert blocked <= block
    assert card.bands[0].at == max(1, threshold_at(orders.fraud, points, review))
    assert [band.outcome for band in card.bands] == ["review", "block"]


def test_orders_without_any_sign_are_never_held_even_if_all_may_be() -> None:
    card = learned(draw(10, 3_000, -2.0, {}), Capacity(1.0, 1.0))
    assert Judge(card)(Order(order_id="1", customer_id="1", amount=1, currency="USD"), 0).outcome == "clear"


def test_every_candidate_has_a_sentence_for_each_of_its_bins() -> None:
    for one in CANDIDATES:
        for low, high in pairwise((-np.inf, *one.edges, np.inf)):
            text = sentence(one.signal, low, high)
            assert re.fullmatch(r"([A-Z]|\{value\} ).*(\.|: \{value\}\.)", text), text
            assert "{" not in text.replace("{value}", "").replace("{{", "")
            assert text.format(value=plain(3.5))
            assert one.signal not in text, "a customer is not told the names of our signals"


def test_a_code_says_the_signal_and_the_bin_and_nothing_else_has_it() -> None:
    bins = []
    for one in CANDIDATES:
        bins += [(one.signal, *ends) for ends in combinations((*one.edges, np.inf), 2)]
        bins += [(one.signal, -np.inf, edge) for edge in one.edges]
    assert len({bin_code(*each) for each in bins}) == len(bins)
    cards = [learned(draw(seed, 5_000, -2.0, TRUE)) for seed in range(3)]
    others = [SCORECARD, HAND_SET, *(msgspec.structs.replace(card, version=f"o{n}") for n, card in enumerate(cards))]
    for card in cards:
        assert list(clashes(card, others)) == []


@pytest.mark.parametrize(
    ("signal", "low", "high", "text"),
    [
        ("customer.account_age_s", -np.inf, 60, "Between sign-up and order lay less than 1 minute ({value} seconds)."),
        ("device.customers", 3, np.inf, "{value} different customers were seen on this device."),
        ("ip.orders_1h", 5, 8, "About {value} orders were placed from this ip address within an hour."),
        ("card.frauds", 1, np.inf, "Earlier orders with this card turned out to be fraud: {value}."),
    ],
)
def test_sentences_are_plain(signal: str, low: float, high: float, text: str) -> None:
    assert sentence(signal, low, high) == text


def test_a_signal_without_a_sentence_is_an_error_that_names_it() -> None:
    with pytest.raises(LookupError, match=r"no sentence is written for device\.colour"):
        sentence("device.colour", 1, 2)


@pytest.mark.parametrize(
    ("seconds", "words"), [(1.5, "1.5 seconds"), (1, "1 second"), (900, "15 minutes"), (86_400, "1 day")]
)
def test_spans_are_said_as_people_do(seconds: float, words: str) -> None:
    assert span(seconds) == words
