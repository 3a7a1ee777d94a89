"""Histories: decaying counters against the plain sum, late events, bounded memory, every signal documented."""

import random
from collections.abc import Callable
from math import exp, isclose
from statistics import median
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_fraud import signals
from order_fraud.events import Customer, Order
from order_fraud.history import (
    HOUR_MS,
    MAX_AMOUNTS,
    MAX_DISTINCT,
    MAX_FRAUDS,
    MAX_RECENT,
    WINDOWS_MS,
    History,
    advance,
    learn,
    pack,
    unpack,
)
from tests.unit.kernel_tape import EVERYWHERE

DAY_MS = 24 * HOUR_MS


class Sighting(NamedTuple):
    """One event as an entity sees it: a sign-up if it has no order id."""

    time: int
    customer_id: str
    order_id: str | None = None
    amount: int = 0
    currency: str = ""


ENTITIES = ("customer", "device", "ip", "card", "email_domain", "address")
SHARED = ENTITIES[1:]
WINDOWS = tuple(zip(("1h", "1d", "7d", "30d"), WINDOWS_MS, strict=True))
NOON = 1_433_160_000_000

SIGHTINGS = st.builds(
    Sighting,
    time=st.integers(NOON - 90 * DAY_MS, NOON + 90 * DAY_MS),
    customer_id=st.sampled_from([str(n) for n in range(MAX_DISTINCT)]),
    order_id=st.none() | st.uuids().map(str),
    amount=st.integers(0, 10**12),
    currency=st.just("USD"),
)


def see(entity: str, history: History | None, one: Sighting) -> tuple[History, dict[str, float]]:
    if one.order_id is None:
        return advance(entity, history, one.time, Customer(customer_id=one.customer_id), one.time)
    data = Order(
        order_id=one.order_id,
        customer_id=one.customer_id,
        amount=one.amount,
        currency=one.currency,
        device_id=one.order_id,
        ip=one.order_id,
    )
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


def latest_of(sightings: list[Sighting]) -> set[tuple[str, int]]:
    """Every customer with the time of the latest sighting."""
    found: dict[str, int] = {}
    for one in sightings:
        found[one.customer_id] = max(one.time, found.get(one.customer_id, one.time))
    return set(found.items())


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
    assert set(one.customers) == set(other.customers) == (set() if entity == "customer" else latest_of(sightings))
    if sum(sighting.order_id is not None for sighting in sightings) <= MAX_AMOUNTS:
        assert sorted(one.amounts) == sorted(other.amounts)
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
        signed_up = any(one.order_id is None for one in known)
        latest = max(one.time for one in known)
        for short, window in WINDOWS:
            assert isclose(found[f"ip.orders_{short}"], summed(known, window, is_order), abs_tol=1e-4)
            assert isclose(found[f"ip.spent_{short}"], summed(known, window, money), rel_tol=1e-9, abs_tol=1e-3)
            distinct = sum(exp(-(latest - at) / window) for _, at in latest_of(known))
            assert isclose(found.get(f"ip.customers_{short}", 1.0), distinct, abs_tol=1e-4) or (
                len(latest_of(known)) == 1 and f"ip.customers_{short}" not in found
            )
        for short, window in (WINDOWS[1], WINDOWS[3]):
            expected = summed(known, window, lambda one: 1.0 - is_order(one))
            assert (f"ip.sign_ups_{short}" in found) == signed_up
            assert isclose(found.get(f"ip.sign_ups_{short}", 0.0), expected, abs_tol=1e-4)
        assert found["ip.customers"] == len(latest_of(known))


def test_an_order_two_hours_late_counts_little_now_and_hides_nothing() -> None:
    now = [Sighting(NOON, "7", f"7-{n}", 100, "USD") for n in range(3)]
    late = Sighting(NOON - 2 * HOUR_MS, "7", "7-9", 100, "USD")
    history, stamped = fold("customer", [*now, late])
    assert stamped[-1]["customer.orders_1h"] == round(3 + exp(-2), 4)
    assert stamped[-1]["customer.since_order_s"] == 7_200
    assert (history.as_of, history.first_seen, history.last_order) == (NOON, NOON - 2 * HOUR_MS, NOON)


def test_amount_z_is_told_from_the_fourth_order_on_against_the_earlier_ones() -> None:
    sightings = [Sighting(NOON + n, "7", f"7-{n}", amount, "USD") for n, amount in enumerate([900, 1000, 1100, 1500])]
    _, stamped = fold("customer", sightings)
    assert ["customer.amount_z" in found for found in stamped] == [False, False, False, True]
    # median 1000, median distance from it 100: (1500 - 1000) / 148.26
    assert stamped[3]["customer.amount_z"] == round(500 / 148.26, 4)


@given(st.lists(st.integers(0, 10**12), min_size=4, max_size=40), st.sampled_from(ENTITIES))
def test_amount_z_is_the_distance_from_the_median_of_the_latest_in_usual_spreads(
    amounts: list[int], entity: str
) -> None:
    _, stamped = fold(entity, [Sighting(NOON + n, "7", str(n), amount, "USD") for n, amount in enumerate(amounts)])
    for place in range(3, len(amounts)):
        earlier = amounts[max(0, place - MAX_AMOUNTS) : place]
        usual = median(earlier)
        spread = max(1.4826 * median(abs(one - usual) for one in earlier), usual / 10, 1)
        found = stamped[place][f"{entity}.amount_z"]
        assert isclose(found, (amounts[place] - usual) / spread, rel_tol=1e-9, abs_tol=1e-4)


def test_one_absurd_order_does_not_change_what_is_usual() -> None:
    amounts = [1_000, 1_100, 900, 1_000_000, 1_050, 950, 5_000]
    _, stamped = fold("customer", [Sighting(NOON + n, "7", str(n), one, "USD") for n, one in enumerate(amounts)])
    assert stamped[-1]["customer.amount_z"] > 10


def test_another_currency_counts_as_an_order_but_not_as_money() -> None:
    history, stamped = fold(
        "device",
        [Sighting(NOON, "7", "7-1", 500, "USD"), Sighting(NOON, "7", "7-2", 90_000, "JPY")],
    )
    assert stamped[1]["device.orders_1d"] == 2
    assert stamped[1]["device.spent_1d"] == 500
    assert (history.currency, history.amounts) == ("USD", (500,))


def test_account_age_is_of_the_customer_alone_and_negative_before_the_sign_up() -> None:
    sightings = [Sighting(NOON, "7"), Sighting(NOON - 30_000, "7", "7-1", 1, "USD")]
    assert fold("customer", sightings)[1][1]["customer.account_age_s"] == -30
    assert fold("device", sightings)[0].signed_up is None
    unknown = fold("customer", sightings[1:])[1][0]
    assert "customer.account_age_s" not in unknown
    assert "customer.since_order_s" not in unknown


@pytest.mark.parametrize("entity", ENTITIES)
def test_memory_is_bounded_whatever_is_seen(entity: str) -> None:
    chance = random.Random(7)
    history = None
    for n in range(10_000):
        name = f"{n:0200d}"  # the longest id there may be
        sighting = Sighting(NOON + chance.randrange(DAY_MS), name, name if (n + 1) % 3 else None, 10**12, "USD")
        history, found = see(entity, history, sighting)
    assert history is not None
    for n in range(100):
        history = learn(history, NOON, f"{n:0200d}", True, NOON)
    assert len(history.frauds) == MAX_FRAUDS
    assert len(history.amounts) == MAX_AMOUNTS
    assert len(history.customers) == (0 if entity == "customer" else MAX_DISTINCT)
    assert len(history.devices) == len(history.ips) == (MAX_DISTINCT if entity == "customer" else 0)
    assert len(history.recent) == (MAX_RECENT if entity == "customer" else 0)
    assert len(pack(history)) < (17_000 if entity == "customer" else 8_000)
    if entity != "customer":
        assert found[f"{entity}.customers"] == MAX_DISTINCT


@pytest.mark.parametrize("entity", ENTITIES)
def test_each_entity_gives_exactly_the_signals_that_the_catalogue_documents(entity: str) -> None:
    who = {"device_id": "D", "ip": "1.1.1.1", **EVERYWHERE}
    history = None
    if entity == "customer" or entity in Customer.__struct_fields__ or f"{entity}_id" in Customer.__struct_fields__:
        history, _ = advance(entity, None, NOON, Customer(customer_id="7", country="DE", channel="Ads"), NOON)
    history = learn(history, NOON, "7-0", True, NOON)
    emitted: set[str] = set()
    for n in range(5):
        placed = Order(order_id=str(n), customer_id=str(n % 2), amount=1, currency="USD", ip_country="FR", **who)
        history, found = advance(entity, history, NOON + n, placed, NOON + n)
        emitted |= found.keys()
    prefixes = ("customer.", "order.") if entity == "customer" else (f"{entity}.",)
    assert emitted == {name for name in signals.NAMES if name.startswith(prefixes)}


@pytest.mark.parametrize(
    ("hour", "offset", "night"),
    [(0, 0, 1), (5.99, 0, 1), (6, 0, 0), (23.99, 0, 0), (23, 60, 1), (4, 180, 0), (1, -120, 0)],
)
def test_night_is_where_the_customer_is(hour: float, offset: int, night: float) -> None:
    time = NOON - NOON % DAY_MS + int(hour * HOUR_MS)
    placed = Order(order_id="1", customer_id="7", amount=1, currency="USD", utc_offset_min=offset)
    assert advance("customer", None, time, placed, time)[1]["order.night"] == night


@pytest.mark.parametrize(
    ("said", "found", "differs"), [("DE", "DE", 0.0), ("DE", "FR", 1.0), (None, "FR", None), ("DE", None, None)]
)
def test_country_of_the_ip_against_the_one_of_the_sign_up(
    said: str | None, found: str | None, differs: float | None
) -> None:
    history, _ = advance("customer", None, NOON, Customer(customer_id="7", country=said), NOON)
    placed = Order(order_id="1", customer_id="7", amount=1, currency="USD", ip_country=found)
    assert advance("customer", history, NOON, placed, NOON)[1].get("order.country_differs") == differs


def test_devices_of_a_customer_are_told_apart_from_the_sign_up_on() -> None:
    history, _ = advance("customer", None, NOON, Customer(customer_id="7", device_id="D", ip="1"), NOON)
    said = []
    for n, (device, ip) in enumerate([("D", "1"), ("E", "1"), ("D", None), ("E", "2"), (None, "2")]):
        placed = Order(order_id=str(n), customer_id="7", amount=1, currency="USD", device_id=device, ip=ip)
        history, found = advance("customer", history, NOON, placed, NOON)
        said.append((found.get("customer.new_device"), found["customer.devices"], found["customer.ips"]))
    assert said == [(0, 1, 1), (1, 2, 1), (0, 2, 1), (0, 2, 2), (None, 2, 2)]


def test_of_too_many_customers_the_one_not_seen_for_longest_is_forgotten() -> None:
    people = [Sighting(NOON + n, str(n)) for n in range(MAX_DISTINCT)]
    history, _ = fold("device", [*people, Sighting(NOON + 50, "0"), Sighting(NOON + 60, "new")])
    assert {name for name, _ in history.customers} == {str(n) for n in range(MAX_DISTINCT) if n != 1} | {"new"}


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
