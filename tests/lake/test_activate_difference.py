"""The request for approval: what changes, in words and numbers that add up."""

from datetime import timedelta

import msgspec
import pytest

from lake.activate.difference import MOST_SAID, NAMED, headline, request, stopped_more
from lake.activate.tasks import BadVersion, chosen
from lake.backtest.outcome import Move, Outcome, Sum
from order_fraud import policies
from order_fraud.events import Activation
from order_fraud.judge import Judge
from order_fraud.policy_diff import differences
from scorecards import HAND_SET, PANEL, SCORECARD
from tests.lake.reconcile_world import START, World, full_traffic
from tests.lake.test_backtest import BIG, tried


@pytest.fixture(scope="module")
def world() -> World:
    return World().stream(full_traffic(customers=30))


@pytest.fixture(scope="module")
def outcome(world: World) -> Outcome:
    return tried(world, Judge(BIG))


def moved(*moves: Move, changes: int = 37) -> Outcome:
    """An outcome with these moves, as the words read it."""
    found = tried(World().stream(full_traffic(customers=2)), Judge(BIG))
    return msgspec.structs.replace(found, moves=list(moves), changes=[None] * changes)


def test_money_stopped_is_told_per_currency_and_never_added_up() -> None:
    eur, usd = Sum("EUR", 3, 250_000), Sum("USD", 1, 1_000)
    found = moved(
        Move("clear", "review", 4, 3, 1, 0, [eur, usd]),
        Move("block", "clear", 1, 0, 1, 0, [Sum("EUR", 1, 36_000)]),
        Move("review", "block", 9, 9, 0, 0, [Sum("EUR", 9, 900_000)]),
        Move("clear", "clear", 99, 0, 99, 0, [Sum("EUR", 99, 10**7)]),
    )
    assert stopped_more(found.moves) == {"EUR": 214_000, "USD": 1_000}
    assert headline(found) == "37 orders change, 2,140.00 EUR more stopped, 10.00 USD more stopped."


@pytest.mark.parametrize(
    ("moves", "changes", "words"),
    [
        ([Move("review", "clear", 1, 0, 1, 0, [Sum("JPY", 1, 500)])], 1, "1 order changes, 500 JPY less stopped."),
        ([Move("review", "block", 2, 2, 0, 0, [Sum("EUR", 2, 500)])], 2, "2 orders change, as much money stopped as"),
        ([], 0, "None of "),
    ],
)
def test_headlines(moves: list[Move], changes: int, words: str) -> None:
    assert headline(moved(*moves, changes=changes)).startswith(words)


def test_numbers_are_those_of_the_orders_that_change(outcome: Outcome) -> None:
    more = sum(one.amount * ((one.after != "clear") - (one.before != "clear")) for one in outcome.changes)
    assert stopped_more(outcome.moves) == {"USD": more}
    asked = request(outcome, differences(SCORECARD, BIG))
    assert asked.subject.startswith("Let scorecard big judge instead of 1? ")
    assert f"{len(outcome.changes)} orders change" in asked.subject
    rows = [line.split("|") for line in asked.body.splitlines() if line.startswith("| ") and "orders" not in line]
    assert sum(int(row[3]) for row in rows) == len(outcome.changes)
    assert sum(line.startswith("- `") for line in asked.body.splitlines()) == NAMED
    assert "Careful" not in asked.body


def test_a_proof_that_fails_is_told_to_the_person_who_decides(outcome: Outcome) -> None:
    broken = msgspec.structs.replace(
        outcome.proof, refolded=msgspec.structs.replace(outcome.proof.refolded, sha256="0" * 64, differs=["c1-1"])
    )
    assert "**Careful:**" in request(msgspec.structs.replace(outcome, proof=broken), []).body


def test_what_is_different_in_the_scorecards_is_told_line_by_line(outcome: Outcome) -> None:
    said = differences(SCORECARD, BIG)
    told = request(outcome, said).body.split("What is different in big, ip addresses masked:\n\n")[1].splitlines()
    assert told == [f"- {one}" for one in said]
    many = [f"block list, b{number}: added (a\nreason)" for number in range(MOST_SAID + 3)]
    told = request(outcome, many).body.splitlines()
    assert told[-2:] == [
        f"- block list, b{MOST_SAID - 1}: added (a reason)",
        "- and 3 more: `python -m producers.policy diff 1 big`",
    ]
    assert request(outcome, []).body.endswith("Nothing in big could judge an order otherwise than 1.")


def test_how_many_of_the_orders_that_change_are_not_known_yet_is_told(world: World) -> None:
    young, old = (tried(world, Judge(BIG), mature_days=days) for days in (60, 0))
    changes = len(young.changes)
    unknown = sum(one.label == "unknown" for one in young.changes)
    assert unknown > 0
    assert f"**{unknown} of the {changes} orders that change are not known yet**" in request(young, []).body
    assert f"they are younger than 60 days on {young.as_of:%Y-%m-%d}." in request(young, []).body
    assert "not known yet**" not in request(old, []).body


def test_version_is_the_form_s_or_the_only_one_on_trial() -> None:
    known = policies.initial(PANEL).apply(policies.publication(BIG, START)).apply(policies.publication(HAND_SET, START))
    with pytest.raises(BadVersion, match="names no version and none is on trial: name one of 1, big, 3"):
        chosen(known, None)
    assert chosen(known, " big ") == "big"
    with pytest.raises(BadVersion, match="'ghost' was never published; there are 1, big, 3"):
        chosen(known, "ghost")
    with pytest.raises(BadVersion, match="1 judges already"):
        chosen(known, "1")
    one = known.apply(policies.activation(Activation(active="1", shadows=("3",), owner="a", reason="r"), START))
    assert chosen(one, "") == "3"
    both = Activation(active="1", shadows=("3", "big"), owner="a", reason="r")
    two = known.apply(policies.activation(both, START + timedelta(days=1)))
    with pytest.raises(BadVersion, match="3, big are on trial"):
        chosen(two, None)
