"""Re-folding gives the stream's answers again, byte for byte, and says where it does not."""

from datetime import date, timedelta

import pytest

from lake.reconcile.explain import canonical, difference
from lake.reconcile.parity import compare
from lake.reconcile.refold import refold
from order_fraud import relay
from scorecards import PANEL
from tests.lake.reconcile_world import START, World, calm, edit, full_traffic, order, sign_up

AT = 1_800_000_000_000
EVER = (date(2000, 1, 1), date(2100, 1, 1))


@pytest.mark.parametrize("seed", range(4))
def test_everything_comes_out_again(seed: int) -> None:
    world = World().stream(full_traffic(customers=40, orders=5, seed=seed))
    parity = compare(world.archive, PANEL, *EVER)
    assert (parity.verdicts, parity.verdicts_equal) == (200, 200)
    assert parity.disagreements == ()
    assert [(hop.entity, hop.passed == hop.equal, hop.refused) for hop in parity.hops] == [
        ("customer", True, 0),
        ("device", True, 0),
        ("ip", True, 0),
        ("card", True, 0),
        ("email_domain", True, 0),
        ("address", True, 0),
    ]
    assert all(hop.passed > 100 for hop in parity.hops)
    assert [hop.records for hop in parity.hops] == [len(world.topics[hop.topic]) for hop in parity.hops]


def test_verdicts_are_counted_for_the_days_asked_for() -> None:
    world = calm()
    day = world.topics["fraud.verdicts"][0]["day"]
    expected = sum(row["day"] == day for row in world.topics["fraud.verdicts"])
    parity = compare(world.archive, PANEL, day, day)
    assert 0 < parity.verdicts == parity.verdicts_equal == expected < 48


def test_no_ip_and_no_device_go_straight_to_the_verdict() -> None:
    incoming = [sign_up("c", START), order("c-1", "c", START + timedelta(days=1))]
    world = World().stream(incoming)
    assert "relay.by-device" not in world.topics
    parity = compare(world.archive, PANEL, *EVER)
    assert (parity.verdicts, parity.verdicts_equal, parity.disagreements) == (1, 1, ())


def test_tampered_verdict_is_counted_and_explained() -> None:
    world = calm()
    row = world.topics["fraud.verdicts"][5]
    edit(row, amount=1)
    parity = compare(world.archive, PANEL, *EVER)
    assert (parity.verdicts, parity.verdicts_equal) == (48, 47)
    (one,) = parity.disagreements
    assert (one.state, one.event_id, one.target) == ("differs", row["event_id"], "fraud.verdicts")
    assert one.words.startswith("amount is 1, re-derived ")
    assert (one.found.partition, one.found.offset) == (row["partition"], row["offset"])


def test_changed_order_of_inputs_gives_other_signals() -> None:
    world = calm()
    rows = [row for row in world.topics["customer.events"] if row["key"] == "c1"]
    first, last = rows[1], rows[-1]
    first["offset"], last["offset"] = last["offset"], first["offset"]
    parity = compare(world.archive, PANEL, *EVER)
    assert parity.disagreements
    assert {one.state for one in parity.disagreements} == {"differs"}
    assert all("signal customer." in one.words for one in parity.disagreements)


def test_lost_needs_a_later_answer_else_it_is_pending() -> None:
    incoming = [sign_up("c", START)] + [order(f"c-{n}", "c", START + timedelta(days=n)) for n in (1, 2, 3)]
    world = World().stream(incoming)
    world.drop("fraud.verdicts", "verdict/c-1")
    world.drop("fraud.verdicts", "verdict/c-3")
    parity = compare(world.archive, PANEL, *EVER)
    assert [(one.subject, one.state) for one in parity.disagreements] == [("c-1", "lost"), ("c-3", "pending")]
    assert (parity.verdicts, parity.verdicts_equal) == (1, 1)


def test_repeat_is_refused_now_as_then() -> None:
    repeat = order("c-1", "c", START + timedelta(days=1))
    world = World().stream([sign_up("c", START), repeat, repeat])
    parity = compare(world.archive, PANEL, *EVER)
    (refused,) = parity.refused
    assert (refused.topic, refused.subject) == ("customer.events", "c-1")
    assert "is a repeat" in refused.reason
    assert (parity.verdicts_equal, parity.disagreements) == (1, ())


def test_record_that_is_no_event_is_refused_and_stops_nothing() -> None:
    good = order("c-1", "c", START)
    folded = refold(
        relay.ROUTE[0],
        2,
        [
            (4, AT, "c", "?", "?", "{"),
            (9, AT, "c", "order/c-1", "c-1", World().append("customer.events", "c", good)["value"]),
        ],
        lambda order_id: PANEL,
    )  # fmt: skip
    assert [(one.partition, one.offset) for one in folded.refused] == [(2, 4)]
    assert folded.passed["fraud.verdicts"].event_id == ["verdict/c-1"]
    assert folded.passed["fraud.verdicts"].offset == [9]


def test_numbers_in_another_spelling_are_no_difference() -> None:
    world = calm()
    row = world.topics["fraud.verdicts"][0]
    assert '.customers":' in "".join(row["value"] for row in world.topics["fraud.verdicts"])
    row["value"] = canonical(row["value"]).replace(".0,", ".00,")
    assert compare(world.archive, PANEL, *EVER).disagreements == ()


def test_difference_in_words() -> None:
    world = calm()
    row = next(row for row in world.topics["fraud.verdicts"] if '"reasons":[{' in row["value"])
    changed = row["value"].replace('"points":', '"points":1')
    words = difference(row["value"], changed)
    assert words.startswith("reason ")
    assert "re-derived +" in words
    assert difference(row["value"], row["value"] + " ") == "the same fields in another spelling"
    many = row["value"].replace('"customer.', '"kunde.')
    assert difference(row["value"], many).endswith(" more")
    assert difference(row["value"], "no json").startswith("the archived value is no JSON (")
