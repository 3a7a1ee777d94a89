"""The fault plan: disjoint, the same whatever the order of the orders, and small in a small set."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers import patterns
from sandbox import faults

orders = st.sets(st.integers(1, 10**6).map(lambda number: f"{number}-1"), max_size=400)


@settings(deadline=None)
@given(orders, st.integers(0, 9), st.integers(1, 40), st.randoms())
def test_a_plan_is_disjoint_of_known_orders_and_independent_of_their_order(
    order_ids: set[str], seed: int, per_kind: int, shuffle: object
) -> None:
    shuffled = list(order_ids)
    shuffle.shuffle(shuffled)  # type: ignore[attr-defined]
    plan = faults.plan(shuffled, seed, per_kind)
    assert plan == faults.plan(sorted(order_ids), seed, per_kind)
    assert tuple(plan) == faults.KINDS
    every = Counter(order_id for ids in plan.values() for order_id in ids)
    assert not every or max(every.values()) == 1
    assert all(set(plan[kind]) <= order_ids for kind in faults.ON_ORDERS)
    assert not set(plan[faults.PAYMENT_ORPHAN]) & order_ids
    assert {len(ids) for ids in plan.values()} == {faults.size(len(order_ids), per_kind)}


@pytest.mark.parametrize(
    ("orders", "faults_per_kind"), [(0, 0), (49, 0), (50, 1), (99, 1), (100, 2), (1_499, 29), (1_500, 30), (26_000, 30)]
)
def test_size_shrinks_with_the_set(orders: int, faults_per_kind: int) -> None:
    assert faults.size(orders) == faults_per_kind


def test_another_seed_gives_another_plan() -> None:
    order_ids = [f"{number}-1" for number in range(2_000)]
    assert faults.plan(order_ids, 1) != faults.plan(order_ids, 2)


def test_invented_orders_avoid_known_ones() -> None:
    taken = [f"{faults.ORPHANS_FROM + number}-1" for number in range(60)]
    assert not set(faults.plan(taken, 1)[faults.PAYMENT_ORPHAN]) & set(taken)


@settings(deadline=None)
@given(st.integers(0, 10**12), st.integers(0, 5), st.integers(1, 10**6).map(str))
def test_a_wrong_amount_differs_and_is_chargeable(amount: int, seed: int, order_id: str) -> None:
    wrong = faults.wrong_amount(order_id, amount, seed)
    assert wrong == faults.wrong_amount(order_id, amount, seed)
    assert wrong != amount
    assert 1 <= wrong <= faults.MOST_CHARGE


def test_wrong_amounts_are_of_several_kinds() -> None:
    wrong = {faults.wrong_amount(str(number), 3_400, 1) for number in range(200)}
    assert {3_401, 3_399, 340_000, 34} <= wrong
    assert len(wrong) > 20


def test_forged_releases_take_suspects_without_another_fault() -> None:
    plan = faults.plan([f"{number}-1" for number in range(2_000)], 1)
    suspects = [f"{number}-1" for number in range(0, 2_000, 10)]
    forged = faults.forgeable(reversed(suspects), plan, seed=1, count=30)
    assert forged == faults.forgeable(suspects, plan, seed=1, count=30)
    assert len(forged) == 30
    assert set(forged) <= set(suspects)
    assert not set(forged) & {order_id for ids in plan.values() for order_id in ids}
    assert faults.forgeable(["5-1"], {}, seed=1, count=30) == ["5-1"]


def test_the_command_writes_the_plan_and_the_withheld_ids(tmp_path: Path) -> None:
    out, withhold = tmp_path / "planted.json", tmp_path / "withhold.txt"
    arguments = ["--generate", "500", "--seed", "3", "--out", str(out), "--withhold", str(withhold)]
    assert faults.main(arguments) == 0
    plan = json.loads(out.read_text())
    order_ids = [sale.order_id for sale in patterns.generate(500, 3).sales]
    assert plan == faults.plan(order_ids, 3)
    assert withhold.read_text().split() == plan[faults.NOT_STREAMED]
    assert len(plan[faults.NOT_STREAMED]) == 10


def test_the_command_explains_an_unreadable_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert faults.main(["--orders", str(tmp_path / "none.csv"), "--out", str(tmp_path / "p.json")]) == 2
    assert "none.csv: No such file" in capsys.readouterr().err
