"""Generated orders: the same for the same seed, and each fraud pattern shaped as its name says."""

import csv
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from order_fraud import events
from producers import book, generate, orders_csv, patterns
from producers.book import Row

ORDERS = 6_000


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return patterns.rows(ORDERS, seed=7)


def of(rows: list[Row], pattern: str) -> list[Row]:
    return [row for row in rows if row.truth == pattern]


def grouped(rows: Iterable[Row], by: str) -> dict[str, list[Row]]:
    groups = defaultdict(list)
    for row in rows:
        groups[getattr(row, by)].append(row)
    return groups


def test_the_same_seed_gives_the_same_orders_and_another_gives_others(rows: list[Row]) -> None:
    assert patterns.rows(ORDERS, seed=7) == rows
    assert patterns.rows(ORDERS, seed=8) != rows


@pytest.mark.parametrize("orders", [1, 2, 10, 49, 50, 333, 1000])
def test_there_are_exactly_as_many_orders_as_asked_for(orders: int) -> None:
    for seed in range(3):
        assert len(patterns.generate(orders, seed).sales) == orders


def test_no_number_of_orders_below_one_is_accepted() -> None:
    with pytest.raises(ValueError, match="must be 1 or more, not 0"):
        patterns.rows(0, seed=1)


@pytest.mark.parametrize("seed", range(4))
def test_every_pattern_occurs_from_300_orders_on(seed: int) -> None:
    assert {row.truth for row in patterns.rows(300, seed)} == {"normal", *patterns.PATTERNS}


def test_fraud_has_its_share_and_each_pattern_the_same(rows: list[Row]) -> None:
    share = Counter(row.truth for row in rows)
    assert share["normal"] / ORDERS == pytest.approx(1 - patterns.FRAUD_SHARE, abs=0.02)
    for pattern in patterns.PATTERNS:
        assert share[pattern] / ORDERS == pytest.approx(patterns.FRAUD_SHARE / len(patterns.PATTERNS), abs=0.005), (
            pattern
        )


def test_every_row_makes_valid_events(rows: list[Row]) -> None:
    for _, event in book.events(book.book(rows)):
        assert events.decode(events.encode(event)) == event


def test_device_ring_is_many_accounts_on_one_device_within_minutes(rows: list[Row]) -> None:
    for ring in grouped(of(rows, "device-ring"), "device_id").values():
        assert len({row.user_id for row in ring}) == len(ring) >= 5
        assert len({row.ip for row in ring}) == len(ring)
        assert all(row.purchase_time - row.signup_time < timedelta(hours=1) for row in ring)


def test_card_testing_is_a_burst_of_tiny_orders_by_one_customer(rows: list[Row]) -> None:
    for burst in grouped(of(rows, "card-testing"), "user_id").values():
        times = sorted(row.purchase_time for row in burst)
        assert len(burst) >= 8
        assert max(row.amount for row in burst) <= 300
        assert len({row.ip for row in burst}) == 1
        assert max(later - earlier for earlier, later in pairwise(times)) <= timedelta(seconds=25)


def test_account_takeover_comes_after_honest_orders_from_elsewhere_with_more_money(
    rows: list[Row],
) -> None:
    by_user = grouped(rows, "user_id")
    taken = grouped(of(rows, "account-takeover"), "user_id")
    for user_id, stolen in taken.items():
        before = [row for row in by_user[user_id] if row.truth == "normal"]
        assert len(before) >= 2
        assert max(row.purchase_time for row in before) < min(row.purchase_time for row in stolen)
        assert not {row.device_id for row in before} & {row.device_id for row in stolen}
        assert not {row.ip for row in before} & {row.ip for row in stolen}
        assert min(row.amount for row in stolen) > 2 * statistics.median(row.amount for row in before)


def test_ip_farm_is_many_accounts_with_devices_of_their_own_behind_one_address(rows: list[Row]) -> None:
    for farm in grouped(of(rows, "ip-farm"), "ip").values():
        assert len({row.user_id for row in farm}) == len({row.device_id for row in farm}) == len(farm) >= 8


def test_instant_order_follows_the_sign_up_within_seconds(rows: list[Row]) -> None:
    assert all(row.purchase_time - row.signup_time <= timedelta(seconds=15) for row in of(rows, "instant-order"))


def test_stolen_card_is_many_accounts_with_nothing_but_the_card_in_common(rows: list[Row]) -> None:
    for used in grouped(of(rows, "stolen-card"), "card").values():
        assert len(used) >= 4
        for field in ("user_id", "device_id", "ip", "address"):
            assert len({getattr(row, field) for row in used}) == len(used), field


def test_shared_address_is_many_accounts_with_cards_of_their_own_at_one_address(rows: list[Row]) -> None:
    for sent in grouped(of(rows, "shared-address"), "address").values():
        assert len(sent) >= 6
        assert len({row.email_domain for row in sent}) == 1
        for field in ("user_id", "device_id", "ip", "card"):
            assert len({getattr(row, field) for row in sent}) == len(sent), field


def test_foreign_ip_is_never_where_the_customer_says_to_live_and_honest_orders_seldom_are(rows: list[Row]) -> None:
    assert all(row.ip_country not in (None, row.country) for row in of(rows, "foreign-ip"))
    honest = of(rows, "normal")
    assert 0 < sum(row.ip_country not in (None, row.country) for row in honest) < 0.01 * len(honest)
    assert not any(row.ip is None and row.ip_country for row in rows)


def test_honest_households_share_an_address_and_now_and_then_a_card_but_no_more_than_two_people(
    rows: list[Row],
) -> None:
    for field in ("address", "card"):
        shared = Counter(
            len({row.user_id for row in group if row.truth == "normal"}) for group in grouped(rows, field).values()
        )
        assert shared[2] > 0, field
        if field == "address":
            assert set(shared) <= {0, 1, 2}


def test_honest_customers_behave_like_people(rows: list[Row]) -> None:
    honest = of(rows, "normal")
    hours = Counter(row.purchase_time.hour for row in honest)
    orders_each = Counter(row.user_id for row in honest)
    amounts = [row.amount for row in honest]
    assert len([row for row in honest if row.purchase_time - row.signup_time < timedelta(seconds=15)]) < 10
    assert statistics.mean(amounts) > 1.05 * statistics.median(amounts)
    assert 0.25 < sum(times > 1 for times in orders_each.values()) / len(orders_each) < 0.6
    assert 0 < sum(row.ip is None for row in honest) < 0.04 * len(honest)
    assert set(hours) == set(range(24))


def test_a_stored_set_is_the_same_set(tmp_path: Path) -> None:
    stored, truth = tmp_path / "orders.csv", tmp_path / "truth.csv"
    assert generate.main(["800", "--seed", "5", "--write-csv", str(stored), "--truth", str(truth)]) == 0
    generated, found = patterns.generate(800, 5), orders_csv.read(stored)
    assert found.rejected == ()
    assert list(book.events(found)) == list(book.events(generated))
    with truth.open(newline="") as stream:
        assert {line["order_id"]: line["pattern"] for line in csv.DictReader(stream)} == {
            sale.order_id: sale.row.truth for sale in generated.sales
        }
