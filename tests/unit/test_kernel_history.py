"""Histories: decaying counters against the plain sum, late events, bounded memory, every signal documented."""

import random
from collections.abc import Callable
from math import exp, isclose
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_fraud import signals
from order_fraud.events import Customer, Order
from order_fraud.history import (
    HOUR_MS,
    MAX_CUSTOMERS,
    MAX_RECENT,
    WINDOWS_MS,
    History,
    advance,
    pack,
    unpack,
)

DAY_MS = 24 * HOUR_MS


class Sighting(NamedTuple):
    """One event as an entity sees it: a sign-up if it has no order id."""

    time: int
    customer_id: str
    order_id: str | None = None
    amount: int = 0
    currency: str = ""


ENTITIES = ("customer", "device", "ip")
NOON = 1_433_160_000_000

SIGHTINGS = st.builds(
    Sighting,
    time=st.integers(NOON - 90 * DAY_MS, NOON + 90 * DAY_MS),
    customer_id=st.sampled_from([str(n) for n in range(MAX_CUSTOMERS)]),
    order_id=st.none() | st.uuids().map(str),
    amount=st.integers(0, 10**12),
    currency=st.just("USD"),
)


def see(entity: str, history: History | None, one: Sighting) -> tuple[History, dict[str, float]]:
    if one.order_id is None:
        return advance(entity, history, one.time, Customer(customer_id=one.customer_id), one.time)
    data = Order(order_id=one.order_id, customer_id=one.customer_id, amount=one.amount, currency=one.currency)
    return advance(entity, history, one.time, data, one.time)


def fold(entity: str, sightings: list[Sighting]) -> tuple[History, list[dict[str, float]]]:
    history, stamped = None, []
    for sighting in sightings:
        history, signals_ = see(entity, history, sighting)
        stamped.append(signals_)
    assert history is not None
    return history, stamped


def summed(sightings: list[Sighting], window: int, weight: Callable[[Sighting], float]) -> float:
    """The definition itself: the sum of the weights, each faded by its age at the latest event."""
    latest = max(one.time for one in sightings)
    return sum(weight(one) * exp(-(latest - one.time) / window) for one in sightings)


def close(left: float, right: float) -> bool:
    return isclose(left, right, rel_tol=1e-9, abs_tol=1e-6)


def is_order(sighting: Sighting) -> float:
    return float(sighting.order_id is not None)


def money(sighting: Sighting) -> float:
    return float(sighting.amount) if sighting.order_id is not None else 0.0


@given(st.sampled_from(ENTITIES), st.lists(SIGHTINGS, min_size=1, max_size=25))
def test_counters_are_the_sum_of_faded_events_whatever_the_order_of_arrival(
    entity: str, sightings: list[Sighting]
) -> None:
    history, _ = fold(entity, sightings)
    for place, window in enumerate(WINDOWS_MS):
        assert close(history.orders[place], summed(sightings, window, is_order))
        assert close(history.spent[place], summed(sightings, window, money))
        assert close(history.sign_ups[place], summed(sightings, window, lambda one: 1.0 - is_order(one)))


@given(st.sampled_from(ENTITIES), st.lists(SIGHTINGS, min_size=1, max_size=15), st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_matter_to_what_is_remembered(
    entity: str, sightings: list[Sighting], chance: random.Random
) -> None:
    shuffled = list(sightings)
    chance.shuffle(shuffled)
    one, other = fold(entity, sightings)[0], fold(entity, shuffled)[0]
    assert (one.first_seen, one.as_of, one.last_order) == (other.first_seen, other.as_of, other.last_order)
    assert set(one.customers) == set(other.customers) == {sighting.customer_id for sighting in sightings}
    assert one.amounts[0] == other.amounts[0]
    assert isclose(one.amounts[1], other.amounts[1], rel_tol=1e-9)
    for left, right in zip(
        one.orders + one.spent + one.sign_ups, other.orders + other.spent + other.sign_ups, strict=True
    ):
        assert close(left, right)


@given(st.lists(SIGHTINGS, min_size=1, max_size=25))
def test_signals_of_a_late_order_weigh_it_by_its_age_at_the_latest_event(sightings: list[Sighting]) -> None:
    _, stamped = fold("ip", sightings)
    for place, found in enumerate(stamped):
        known = sightings[: place + 1]
        if sightings[place].order_id is None:
            assert found == {}
            continue
        for name, window in zip(("ip.orders_1h", "ip.orders_1d", "ip.orders_30d"), WINDOWS_MS, strict=True):
            assert isclose(found[name], summed(known, window, is_order), abs_tol=1e-4)
        assert isclose(found["ip.spent_1d"], summed(known, DAY_MS, money), rel_tol=1e-9, abs_tol=1e-3)


def test_an_order_two_hours_late_counts_little_now_and_hides_nothing() -> None:
    now = [Sighting(NOON, "7", f"7-{n}", 100, "USD") for n in range(3)]
    late = Sighting(NOON - 2 * HOUR_MS, "7", "7-9", 100, "USD")
    history, stamped = fold("customer", [*now, late])
    assert stamped[-1]["customer.orders_1h"] == round(3 + exp(-2), 4)
    assert stamped[-1]["customer.minutes_since_order"] == 120
    assert (history.as_of, history.first_seen, history.last_order) == (NOON, NOON - 2 * HOUR_MS, NOON)


def test_amount_z_is_told_from_the_fourth_order_on_against_the_earlier_ones() -> None:
    sightings = [Sighting(NOON + n, "7", f"7-{n}", amount, "USD") for n, amount in enumerate([900, 1000, 1100, 1500])]
    _, stamped = fold("customer", sightings)
    assert ["customer.amount_z" in found for found in stamped] == [False, False, False, True]
    # mean 1000, standard deviation 81.65, but at least a tenth of the mean: (1500 - 1000) / 100
    assert stamped[3]["customer.amount_z"] == 5.0


@given(st.lists(st.integers(0, 10**12), min_size=4, max_size=40))
def test_amounts_follow_welford(amounts: list[int]) -> None:
    history, _ = fold("customer", [Sighting(NOON + n, "7", str(n), amount, "USD") for n, amount in enumerate(amounts)])
    count, mean, deviation = history.amounts
    exact = sum(amounts) / len(amounts)
    assert count == len(amounts)
    assert isclose(mean, exact, rel_tol=1e-9)
    assert deviation >= 0
    assert isclose(deviation, sum((amount - exact) ** 2 for amount in amounts), rel_tol=1e-6, abs_tol=1)


def test_another_currency_counts_as_an_order_but_not_as_money() -> None:
    history, stamped = fold(
        "device",
        [Sighting(NOON, "7", "7-1", 500, "USD"), Sighting(NOON, "7", "7-2", 90_000, "JPY")],
    )
    assert stamped[1]["device.orders_1d"] == 2
    assert stamped[1]["device.spent_1d"] == 500
    assert (history.currency, history.amounts[0]) == ("USD", 1)


def test_account_age_is_of_the_customer_alone_and_negative_before_the_sign_up() -> None:
    sightings = [Sighting(NOON, "7"), Sighting(NOON - 30_000, "7", "7-1", 1, "USD")]
    assert fold("customer", sightings)[1][1]["customer.account_age_s"] == -30
    assert fold("device", sightings)[0].signed_up is None
    unknown = fold("customer", sightings[1:])[1][0]
    assert "customer.account_age_s" not in unknown
    assert "customer.minutes_since_order" not in unknown


@pytest.mark.parametrize("entity", ENTITIES)
def test_memory_is_bounded_whatever_is_seen(entity: str) -> None:
    chance = random.Random(7)
    history = None
    for n in range(10_000):
        name = f"{n:0200d}"  # the longest id there may be
        sighting = Sighting(NOON + chance.randrange(DAY_MS), name, name if (n + 1) % 3 else None, 10**12, "USD")
        history, found = see(entity, history, sighting)
    assert history is not None
    assert len(history.customers) == MAX_CUSTOMERS
    assert len(history.recent) == (MAX_RECENT if entity == "customer" else 0)
    assert len(pack(history)) < (12_000 if entity == "customer" else 5_000)
    if entity != "customer":
        assert found[f"{entity}.customers"] == MAX_CUSTOMERS


@pytest.mark.parametrize("entity", ENTITIES)
def test_each_entity_gives_exactly_the_signals_that_the_catalogue_documents(entity: str) -> None:
    sightings = [Sighting(NOON, "7"), *(Sighting(NOON + n, "7", f"7-{n}", 100, "USD") for n in range(5))]
    emitted = {name for found in fold(entity, sightings)[1] for name in found}
    assert emitted == {name for name in signals.NAMES if name.startswith(f"{entity}.")}


@given(st.sampled_from(ENTITIES), SIGHTINGS, SIGHTINGS)
def test_the_old_history_is_left_as_it_was(entity: str, first: Sighting, second: Sighting) -> None:
    before, _ = see(entity, None, first)
    kept = pack(before)
    see(entity, before, second)
    assert pack(before) == kept


@given(st.sampled_from(ENTITIES), st.lists(SIGHTINGS, min_size=1, max_size=10))
def test_a_history_survives_its_changelog(entity: str, sightings: list[Sighting]) -> None:
    history, _ = fold(entity, sightings)
    assert unpack(pack(history)) == history
    assert pack(unpack(pack(history))) == pack(history)
