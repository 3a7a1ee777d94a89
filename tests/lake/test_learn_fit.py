"""Learning: known weights come out again, direction holds, chance is not taken for a cause."""

import numpy as np
import pytest

from lake.learn import candidates
from lake.learn.candidates import BOTH, CANDIDATES, DOWN, UP
from lake.learn.fit import Cut, TooFewLabels, fit, log_odds
from lake.learn.prior import BY_HAND, POINTS_TO_DOUBLE
from lake.learn.samples import NAMES, Samples, samples
from scorecards import HAND_SET
from tests.lake.learn_world import COLUMN, draw

AGE = Cut("customer.account_age_s", False, 300)
SHARED = Cut("device.customers", True, 3)
DIRECT = Cut("customer.direct", True, 1)


def test_known_weights_come_out_again() -> None:
    true = {AGE: 2.0, SHARED: 1.0, DIRECT: 0.8}
    model = fit(draw(1, 40_000, -3.0, true))
    strong = {cut: weight for cut, weight in model.weights.items() if weight > 0.15}
    assert strong.keys() == true.keys()
    for cut, weight in true.items():
        assert model.weights[cut] == pytest.approx(weight, abs=0.15)
    assert model.base == pytest.approx(-3.0, abs=0.15)


def test_what_speaks_for_honesty_is_not_learned() -> None:
    """Long pauses and few customers cannot make an order suspicious, whatever the orders of that time say."""
    against = {Cut("customer.account_age_s", True, 86_400): 2.0, Cut("device.customers", False, 3): 1.5}
    model = fit(draw(2, 20_000, -3.0, against))
    about = ("customer.account_age_s", "device.customers")
    of_them = {cut: weight for cut, weight in model.weights.items() if cut.signal in about}
    assert max(of_them.values(), default=0) < 0.3, of_them


@pytest.mark.parametrize("seed", range(4))
def test_cuts_speak_in_their_signal_s_direction_and_only_against_an_order(seed: int) -> None:
    model = fit(draw(seed, 6_000, -2.0, {AGE: 3.0, SHARED: 1.0, Cut("order.amount", False, 500): 1.5}))
    direction = {one.signal: one.direction for one in CANDIDATES}
    assert Cut("order.amount", False, 500) in model.weights
    for cut, weight in model.weights.items():
        assert weight > 0
        assert direction[cut.signal] in (BOTH, UP if cut.above else DOWN)


def test_noise_teaches_next_to_nothing() -> None:
    """Of some 350 cuts that mean nothing hardly one is taken; flags are not searched for, their weight stays small."""
    found = [fit(draw(seed, 8_000, -2.5, {})) for seed in range(5)]
    searched = [cut for model in found for cut in model.weights if (cut.signal, cut.at) not in _flags()]
    assert len(searched) <= len(found)
    of_flags = [weight for model in found for cut, weight in model.weights.items() if (cut.signal, cut.at) in _flags()]
    assert of_flags
    assert max(of_flags) < 0.2


def test_the_same_orders_give_the_same_model() -> None:
    orders = draw(3, 5_000, -2.0, {AGE: 2.0})
    assert fit(orders) == fit(Samples(orders.signals.copy(), orders.fraud.copy()))


def test_a_bin_of_nothing_but_fraud_has_a_finite_weight() -> None:
    orders = draw(4, 5_000, -3.0, {AGE: 50.0})
    assert 3 < fit(orders).weights[AGE] < 15


def test_few_labels_leave_what_was_believed_and_many_overrule_it() -> None:
    believed = {AGE: 2.0, SHARED: 1.5}
    few = fit(draw(7, 300, -2.0, {AGE: 4.0}), believed)
    many = fit(draw(7, 40_000, -2.0, {AGE: 4.0}), believed)
    assert few.weights[SHARED] > 0.4, "of no effect in truth, but 300 orders cannot say so"
    assert many.weights.get(SHARED, 0) < 0.1
    assert 2.0 < few.weights[AGE] < many.weights[AGE]
    assert many.weights[AGE] == pytest.approx(4.0, abs=0.2)


def test_of_what_was_never_seen_the_belief_stays() -> None:
    orders = draw(8, 5_000, -2.0, {AGE: 2.0})
    orders.signals[:, COLUMN[SHARED.signal]] = np.nan
    assert fit(orders, {SHARED: 1.5}).weights[SHARED] == pytest.approx(1.5, abs=1e-4)


def test_the_hand_set_scorecard_is_what_is_believed() -> None:
    """Its points come out again from the cuts, wherever they rise towards suspicion."""
    unit = np.log(2) / POINTS_TO_DOUBLE
    assert BY_HAND[Cut("customer.account_age_s", False, 60)] == pytest.approx(90 * unit)  # 120 after 30
    for line in HAND_SET.lines:
        cuts = {cut: weight for cut, weight in BY_HAND.items() if cut.signal == line.signal}
        most = max(one.points for one in line.bins)
        assert sum(cuts.values()) == pytest.approx(most * unit), line.signal
        assert {cut.above for cut in cuts} in ({True}, {False})


def test_log_odds_are_the_base_where_nothing_was_crossed_or_known() -> None:
    model = fit(draw(5, 5_000, -2.0, {AGE: 3.0}))
    nothing = Samples(np.full((1, len(NAMES)), np.nan), np.array([False]))
    assert log_odds(model, nothing) == [model.base]
    young = samples([{"customer.account_age_s": 299.0}], [True])
    expected = model.base + sum(w for c, w in model.weights.items() if c.signal == AGE.signal and c.at > 299)
    assert log_odds(model, young) == pytest.approx([expected])


@pytest.mark.parametrize("frauds", [0, 24])
def test_too_few_labels_are_refused_with_their_number(frauds: int) -> None:
    orders = draw(6, 500, -2.0, {})
    some = Samples(orders.signals, np.arange(500) < frauds)
    with pytest.raises(TooFewLabels, match=f"{frauds} of 500 orders are known as fraud, {500 - frauds} as honest"):
        fit(some)
    with pytest.raises(TooFewLabels):
        fit(Samples(orders.signals, ~some.fraud))


def test_candidates_have_rising_edges_and_each_signal_stands_once() -> None:
    assert len({one.signal for one in CANDIDATES}) == len(CANDIDATES) == len(COLUMN)
    for one in CANDIDATES:
        assert list(one.edges) == sorted(set(one.edges)), one.signal
    assert not [one for one in candidates.CANDIDATES if one.signal.startswith("email_domain")]


def _flags() -> set[tuple[str, float]]:
    return {(one.signal, one.edges[0]) for one in CANDIDATES if len(one.edges) == 1}
