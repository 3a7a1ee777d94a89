"""Back-tests of small worlds: what changes, what it costs, and that the hashes tell the truth."""

import csv
import hashlib
import io
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from lake.backtest.candidate import BadCandidate, choose
from lake.backtest.document import changes_csv, document
from lake.backtest.outcome import Outcome, Sum, dump, load
from lake.backtest.page import LISTED, render
from lake.backtest.proof import digest
from lake.backtest.run import NoOrders, Trial, backtest
from lake.masking import Masker
from lake.reconcile.parity import read_panels
from order_fraud import events
from order_fraud.events import FraudConfirmed, NewOrder
from order_fraud.judge import Judge
from order_fraud.policy import encode
from order_fraud.scorecard import Band, Bin, Condition, Line, ListEntry, Rule, Scorecard
from scorecards import PANEL, SCORECARD
from tests.lake.reconcile_world import START, World, edit, feedback, full_traffic, order, sign_up
from tests.lake.test_reconcile_versions import mixed
from tests.lake.test_report import check

EVER = (date(2000, 1, 1), date(2100, 1, 1))
BIG = Scorecard(
    version="big",
    owner="ann",
    reason="Stops what costs much.",
    lines=(
        Line(
            signal="order.amount",
            bins=(
                Bin(code="amount-big", low=20_000, points=60, text="The order is over {value}."),
                Bin(code="amount-huge-never", high=-1, points=1, text="Never."),
            ),
        ),
    ),
    rules=(
        Rule(code="fraud-before", when=(Condition(signal="customer.frauds", low=1),), outcome="block", text="Known."),
        Rule(code="rule-never", when=(Condition(signal="order.amount", low=1e9),), outcome="block", text="Never."),
    ),
    bands=(Band(at=50, outcome="review"),),
    lists=(ListEntry(code="friend", effect="allow", entity="customer", value="c3", reason="staff", owner="ann"),),
)


def tried(world: World, candidate: Judge, first: date = EVER[0], last: date = EVER[1], mature_days: int = 0) -> Outcome:
    trial = Trial(candidate=candidate, first=first, last=last, mature_days=mature_days)
    return backtest(trial, world.archive, read_panels(world.archive, PANEL), "manual__1", {"kafka.fraud_verdicts": 7})


@pytest.fixture(scope="module")
def world() -> World:
    return World().stream(full_traffic(customers=30))


@pytest.fixture(scope="module")
def big(world: World) -> Outcome:
    return tried(world, Judge(BIG))


def orders_of(world: World) -> dict[str, NewOrder]:
    found = (events.decode(row["value"].encode()) for row in world.topics["customer.events"])
    return {event.subject: event for event in found if isinstance(event, NewOrder)}


def test_active_version_gives_the_live_verdicts_hash_for_hash(world: World) -> None:
    found = tried(world, PANEL.active)
    hashes = [hashlib.sha256(row["value"].encode()).digest() for row in world.topics["fraud.verdicts"]]
    expected = hashlib.sha256(b"".join(sorted(hashes))).hexdigest()
    proof = found.proof
    assert (proof.live, proof.refolded.sha256, proof.candidate.sha256) == (expected, expected, expected)
    assert (proof.verdicts, proof.refolded.differs, proof.candidate.differs, proof.silent) == (120, [], [], 0)
    assert found.itself
    assert found.changes == []
    assert found.active == found.candidate
    text = check(render(found))
    assert "120 live verdicts came out again, byte for byte" in text
    assert text.count("identical") == 2
    assert "gives the live verdicts exactly" in text


def test_digest_does_not_depend_on_the_order_but_on_every_byte() -> None:
    one, two = (hashlib.sha256(text).digest() for text in (b"a", b"b"))
    assert digest([one, two]) == digest([two, one]) != digest([one]) != digest([one, one])
    assert digest([]) == hashlib.sha256().hexdigest()


def test_tampered_verdict_breaks_the_hash_and_names_the_order() -> None:
    world = World().stream(full_traffic())
    row = world.topics["fraud.verdicts"][3]
    edit(row, amount=1)
    found = tried(world, PANEL.active)
    assert found.proof.live != found.proof.refolded.sha256
    assert found.proof.refolded.differs == found.proof.candidate.differs == [row["subject"]]
    page = render(found)
    assert "differs: 1 order" in check(page)
    assert 'class="seal broken"' in page


def test_missing_and_repeated_verdicts_are_told_apart() -> None:
    world = World().stream(full_traffic())
    gone = world.topics["fraud.verdicts"].pop(2)
    twice = world.topics["fraud.verdicts"][5]
    world.topics["fraud.verdicts"].append(twice | {"offset": twice["offset"] + 10_000})
    found = tried(world, PANEL.active)
    assert found.proof.silent == 1
    assert found.proof.refolded.differs == [twice["subject"]] != [gone["subject"]]
    assert (found.orders, found.proof.verdicts) == (48, 48)


@pytest.mark.parametrize(("one", "other"), [("t1", "t2"), ("t2", "t1")])
def test_order_that_was_judged_twice_counts_once_and_by_its_first(one: str, other: str) -> None:
    """The stream knows a repeat within one customer only. On either partition the first by time may lie."""
    first, second = order("twice", one, START, 30_000), order("twice", other, START + timedelta(hours=1), 100)
    word = feedback(FraudConfirmed, first, START + timedelta(days=9))
    world = World().stream([*full_traffic(), second, first, word])
    found = tried(world, Judge(BIG))
    once = tried(World().stream([*full_traffic(), first, word]), Judge(BIG))
    assert (found.orders, found.proof.verdicts) == (49, 50)
    assert (found.money, found.fraud, found.changes, found.moves) == (once.money, once.fraud, once.changes, once.moves)
    assert (found.active, found.candidate) == (once.active, once.candidate)
    itself = tried(world, PANEL.active).proof
    assert itself.live == itself.refolded.sha256 == itself.candidate.sha256
    assert itself.refolded.differs == itself.candidate.differs == []
    world.topics["fraud.verdicts"].remove(next(v for v in world.topics["fraud.verdicts"] if v["subject"] == "twice"))
    assert tried(world, PANEL.active).proof.refolded.differs == ["twice"], "one of its two verdicts is gone"


def test_versions_that_changed_on_the_way_come_out_each_by_its_own() -> None:
    world = mixed()
    found = tried(world, read_panels(world.archive, PANEL).known.panel.active)
    assert found.itself
    assert found.proof.refolded.identical
    assert found.proof.live == found.proof.refolded.sha256 != found.proof.candidate.sha256
    lax = next(one.verdicts for one in found.judged if one.version == "lax")
    assert len(found.proof.candidate.differs) == found.orders - lax
    assert "another scorecard judged the others" in check(render(found))


def test_candidate_is_judged_on_every_order_as_the_kernel_would(world: World, big: Outcome) -> None:
    """Against a plain reading of BIG's rules, without the code under test."""
    confirmed: dict[str, list[Any]] = {}
    for row in world.topics["customer.events"]:
        event = events.decode(row["value"].encode())
        if isinstance(event, events.FraudConfirmed | events.ChargebackOpened):
            confirmed.setdefault(event.data.customer_id, []).append(event.time)
    allowed = {order_id for order_id, one in orders_of(world).items() if one.data.customer_id == "c3"}
    stopped = {order_id for order_id, one in orders_of(world).items() if one.data.amount >= 20_000} - allowed
    after = {change.order_id: change.after for change in big.changes}
    live = {row["subject"]: events.decode(row["value"].encode()).data.outcome for row in world.topics["fraud.verdicts"]}
    outcome = live | after
    assert {order_id for order_id, said in outcome.items() if said != "clear"} >= stopped
    assert {outcome[order_id] for order_id in allowed} == {"clear"}
    blocked = {order_id for order_id, said in outcome.items() if said == "block"}
    assert blocked
    assert all(confirmed.get(orders_of(world)[order_id].data.customer_id) for order_id in blocked)
    assert big.candidate.block == len(blocked)


def test_changes_have_the_reasons_of_both_sides(world: World, big: Outcome) -> None:
    live = {row["subject"]: events.decode(row["value"].encode()).data for row in world.topics["fraud.verdicts"]}
    assert len(big.changes) == sum(move.orders for move in big.moves if move.before != move.after)
    for change in big.changes:
        said = live[change.order_id]
        assert (change.before, change.score_before) == (said.outcome, said.score)
        assert change.reasons_before == [f"{one.code} {one.points:+d}: {one.text}" for one in said.reasons]
        assert change.after != change.before
    stopped = next(change for change in big.changes if change.after == "review")
    assert stopped.reasons_after[0].startswith("amount-big +60: The order is over ")
    assert [change.time for change in big.changes] == sorted(change.time for change in big.changes)


def test_money_and_shares_follow_the_labels(world: World, big: Outcome) -> None:
    assert (big.fraud + big.good, big.unknown) == (120, 0)
    last_words = {}
    for row in sorted(world.topics["customer.events"], key=lambda row: row["time"]):
        if row["type"] in ("FraudConfirmed", "ChargebackOpened", "FraudCleared"):
            last_words[row["subject"]] = row["type"] != "FraudCleared"
    fraud = {order_id for order_id, word in last_words.items() if word}
    assert big.fraud == len(fraud)
    side = big.candidate
    caught, missed = (sum(one.orders for one in part) for part in (side.caught, side.missed))
    amount = sum(one.amount for part in (side.caught, side.missed) for one in part)
    assert caught + missed == len(fraud)
    assert amount == sum(orders_of(world)[order_id].data.amount for order_id in fraud)
    assert side.recall is not None
    assert (side.recall.hits, side.recall.of) == (caught, len(fraud))
    assert side.precision is not None
    assert side.precision.of == caught + sum(one.orders for one in side.wrong)


def test_currencies_are_never_added_up() -> None:
    incoming = []
    for number, currency in enumerate(("USD", "USD", "EUR", "JPY")):
        one = order(f"k{number}-1", f"k{number}", START + timedelta(hours=number), 30_000)
        bought = msgspec.structs.replace(one, data=msgspec.structs.replace(one.data, currency=currency))
        incoming += [bought, feedback(FraudConfirmed, bought, START + timedelta(days=3))]
    found = tried(World().stream(incoming), Judge(BIG))
    assert found.money == [Sum("USD", 2, 60_000), Sum("EUR", 1, 30_000), Sum("JPY", 1, 30_000)]
    assert found.candidate.caught == found.active.missed == found.money
    text = check(render(found))
    assert "600.00 USD, 300.00 EUR, 30,000 JPY" in text


def test_young_orders_are_neither_good_nor_wrongly_stopped(world: World) -> None:
    found = tried(world, Judge(BIG), mature_days=60)
    assert found.unknown > 60
    assert sum(one.orders for one in found.candidate.wrong) < sum(one.orders for one in found.candidate.unknown)
    assert "not known yet" in check(render(found))


def test_order_of_the_future_makes_nothing_else_look_old() -> None:
    incoming = full_traffic()
    far = order("far-1", "far", datetime(2099, 12, 31, tzinfo=UTC))
    expected = tried(World().stream(incoming), Judge(BIG), mature_days=60)
    found = tried(World().stream([*incoming, far]), Judge(BIG), mature_days=60)
    assert found.as_of == expected.as_of == max(event.time for event in incoming)
    assert (found.orders, found.unknown, found.good) == (expected.orders, expected.unknown, expected.good)
    assert found.unknown > 0


def test_pieces_that_never_fired_are_zombies(big: Outcome) -> None:
    assert {piece.code for piece in big.zombies} == {"amount-huge-never", "rule-never"}
    by_code = {piece.code: piece for piece in big.pieces}
    assert by_code["list.friend"].candidate is not None
    assert by_code["list.friend"].candidate.orders == 4
    assert by_code["device-shared"].candidate is None
    assert by_code["device-shared"].active is not None
    assert by_code["amount-big"].about == "order.amount from 20000: +60"
    assert {piece.code for piece in big.pieces if piece.active} == {
        one.code for line in SCORECARD.lines for one in line.bins
    }


def test_days_choose_the_orders_but_not_the_past_behind_them(world: World) -> None:
    day = sorted(one.time.date() for one in orders_of(world).values())[60]
    found = tried(world, PANEL.active, day, day)
    expected = sum(one.time.date() == day for one in orders_of(world).values())
    assert found.orders == found.proof.verdicts == expected < 120
    assert found.proof.candidate.identical, "histories reach back before the first day"
    with pytest.raises(NoOrders, match="no order of the days 2001-01-01 to 2001-01-02"):
        tried(world, PANEL.active, date(2001, 1, 1), date(2001, 1, 2))


def test_world_without_any_word_says_so() -> None:
    found = tried(World().stream([sign_up("c", START), order("c-1", "c", START)]), Judge(BIG))
    assert (found.fraud, found.candidate.recall, found.candidate.auc, found.auc_gain) == (0, None, None, None)
    assert "No order of these days is known to be fraud" in check(render(found))


def test_documents_have_every_change(big: Outcome) -> None:
    rows = list(csv.DictReader(io.StringIO(changes_csv(big).decode())))
    assert [row["order_id"] for row in rows] == [change.order_id for change in big.changes]
    assert rows[0]["reasons_after"] == " | ".join(big.changes[0].reasons_after)
    found = json.loads(document(big))
    assert len(found["changes"]) == found["outcome_changes"] == len(big.changes)
    assert found["document"] == json.loads(encode(BIG))
    assert found["identical"] == {"refolded": True, "candidate": False}
    assert load(dump(big)) == big


def test_page_lists_the_first_and_escapes_what_it_is_told(world: World) -> None:
    nasty = msgspec.structs.replace(BIG, reason="<script>alert(1)</script>", version="nasty")
    found = tried(world, Judge(nasty))
    many = msgspec.structs.replace(found, changes=found.changes * 20)
    text = check(render(many))
    assert "<script>alert(1)</script>" in text  # as text: `check` refuses the element
    assert f"The first {LISTED} of {len(many.changes):,}, in the order of business" in text
    assert "not published" in text


def test_candidate_of_the_form() -> None:
    world = mixed()
    known = read_panels(world.archive, PANEL).known
    mask = Masker("a masking key for tests")
    assert choose(known, None, None, mask.scorecard) is known.panel.active
    assert choose(known, " strict ", "", mask.scorecard).version == "strict"
    entry = ListEntry(code="e", effect="block", entity="ip", value="10.0.0.9", reason="known", owner="ann")
    pasted = msgspec.structs.replace(BIG, lists=(entry,))
    chosen = choose(known, None, encode(pasted).decode(), mask.scorecard)
    assert chosen.scorecard.lists[0].value == mask("10.0.0.9")
    assert choose(known, None, encode(SCORECARD).decode(), mask.scorecard).scorecard == SCORECARD
    other = msgspec.structs.replace(SCORECARD, owner="eve")
    for version, given, said in (
        ("strict", "{}", "are both given: empty one of them"),
        ("nope", None, r"'nope' was never published, or has not landed yet \(there are 1, strict, lax\)"),
        (None, "{", "candidate_document is no scorecard"),
        (None, '{"version": "x", "owner": "a", "reason": "b", "bands": [], "typo": 1}', "candidate_document is no"),
        (None, encode(other).decode(), "version '1', which was published with other content"),
    ):
        with pytest.raises(BadCandidate, match=said):
            choose(known, version, given, mask.scorecard)
