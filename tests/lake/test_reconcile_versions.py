"""Each order is judged again by the scorecards that its verdict names, whatever judges now."""

from bisect import bisect_left
from datetime import date, timedelta
from typing import Any

import msgspec
import pytest

from lake.masking import Masker
from lake.policies import PolicyRefused, refuse_too_long
from lake.reconcile.match import match
from lake.reconcile.parity import compare, read_panels
from order_fraud import events
from order_fraud.judge import Judge, Panel
from order_fraud.policies import Refused, publication, receive, record
from order_fraud.scorecard import Band, ListEntry, Scorecard
from scorecards import PANEL, SCORECARD
from tests.lake.reconcile_world import START, World, edit, full_traffic, order, outcome_of, sign_up

EVER = (date(2000, 1, 1), date(2100, 1, 1))
STRICT = msgspec.structs.replace(
    SCORECARD, version="strict", bands=(Band(at=15, outcome="review"), Band(at=60, outcome="block", priority=5))
)
LAX = msgspec.structs.replace(SCORECARD, version="lax", bands=(Band(at=500, outcome="review"),))


def mixed() -> World:
    """A world in which scorecards were changed twice, and shadows came and went."""
    world = World()
    world.publish(STRICT)
    world.publish(LAX, START + timedelta(days=1))
    world.activate("strict", "1", at=START + timedelta(days=1))
    world.activate("lax", at=START + timedelta(days=2))
    judges = {"1": PANEL.active, "strict": Judge(STRICT), "lax": Judge(LAX)}
    panels = (PANEL, Panel(judges["strict"], (judges["1"],)), Panel(judges["lax"]))
    return world.stream(full_traffic(customers=20), lambda order_id: panels[len(order_id) * int(order_id[-1]) % 3])


def judged_by(world: World, version: str, outcome: str = "clear") -> dict[str, Any]:
    """Return the first verdict of a version with an outcome."""
    for row in world.topics["fraud.verdicts"]:
        said = events.decode(row["value"].encode()).data
        if (said.scorecard_version, said.outcome) == (version, outcome):
            return row
    raise AssertionError(f"version {version} gave no such verdict")


def test_every_version_and_its_shadows_come_out_again() -> None:
    world = mixed()
    parity = compare(world.archive, PANEL, *EVER)
    assert (parity.verdicts, parity.verdicts_equal, parity.disagreements) == (80, 80, ())
    judged = {one.version: (one.verdicts > 5, one.threshold, one.active) for one in parity.judged}
    assert judged == {"1": (True, 50, False), "strict": (True, 15, False), "lax": (True, 500, True)}
    assert [one.version for one in parity.judged][-1] == "lax"
    assert sum(one.verdicts for one in parity.judged) == 80
    assert any('"shadows":[{' in row["value"] for row in world.topics["fraud.verdicts"])


def test_order_without_a_verdict_is_judged_by_who_judges_now() -> None:
    world = mixed()
    panels = read_panels(world.archive, PANEL)
    assert panels("nobody knows it").active.version == "lax"
    row = judged_by(world, "1")
    assert panels(row["subject"]).active.version == "1"
    world.drop("fraud.verdicts", row["event_id"])
    assert read_panels(world.archive, PANEL)(row["subject"]).active.version == "lax"


def test_other_outcome_under_the_right_version_is_found() -> None:
    world = mixed()
    row = judged_by(world, "strict", "block")
    edit(row, scorecard_version="lax")
    (one,) = compare(world.archive, PANEL, *EVER).disagreements
    assert (one.state, one.subject) == ("differs", row["subject"])


def test_version_that_nobody_published_is_a_finding_of_its_own_words() -> None:
    world = mixed()
    row = judged_by(world, "lax")
    edit(row, scorecard_version="ghost")
    parity = compare(world.archive, PANEL, *EVER)
    (one,) = parity.disagreements
    assert one.state == "unjudged"
    assert (parity.verdicts, parity.verdicts_equal) == (80, 79)
    assert {one.version: one.threshold for one in parity.judged}["ghost"] is None
    (finding,) = (one.finding for one in match(world.scope()) if one.finding.kind == "verdict-not-reproducible")
    assert finding.order_id == row["subject"]
    assert finding.cause == (
        f"Nobody can judge order {row['subject']} again as the stream did: its verdict names scorecard version "
        "'ghost', and no such scorecard has landed from fraud.policies."
    )
    assert outcome_of(world, "r").not_reproducible == 1


def test_unpublished_shadow_is_named_too() -> None:
    world = mixed()
    row = next(row for row in world.topics["fraud.verdicts"] if '"shadows":[{' in row["value"])
    edit(row, shadows=(events.Shadow(scorecard_version="trial", outcome="clear", score=1),))
    (one,) = compare(world.archive, PANEL, *EVER).disagreements
    assert "scorecard version 'trial'" in one.words


def test_policies_that_the_stream_refuses_are_passed_over_here_too() -> None:
    world = mixed()
    again = msgspec.structs.replace(LAX, bands=STRICT.bands)
    world.publish(again, START + timedelta(days=3))
    world.activate("unheard-of", at=START + timedelta(days=4))
    parity = compare(world.archive, PANEL, *EVER)
    assert (parity.verdicts_equal, parity.disagreements) == (80, ())
    assert parity.judged[-1].version == "lax"


@pytest.mark.parametrize("effect", ["allow", "block"])
def test_masked_orders_meet_masked_lists(effect: str) -> None:
    """Live: raw ips on orders and lists. Archive: tokens on both."""
    entry = ListEntry(code="e", effect=effect, entity="ip", value="10.0.0.9", reason="known", owner="ann")
    listed = msgspec.structs.replace(SCORECARD, version="listed", lists=(entry,))
    mask = Masker("a masking key for tests")
    masked: Scorecard = mask.scorecard(listed)
    assert masked.lists[0].value == mask("10.0.0.9") != "10.0.0.9"
    assert mask.scorecard(masked) == masked
    live = World().stream(
        [sign_up("c", START), order("c-1", "c", START, ip="10.0.0.9")], lambda _: Panel(Judge(listed))
    )
    (verdict,) = live.topics["fraud.verdicts"]
    assert f"on the {effect} list" in verdict["value"]
    archived = World()
    archived.publish(masked)
    archived.activate("listed")
    archived.topics |= {topic: rows for topic, rows in live.topics.items()}
    for rows in archived.topics.values():
        for row in rows:
            row["value"] = row["value"].replace("10.0.0.9", mask("10.0.0.9"))
            row["key"] = row["key"].replace("10.0.0.9", mask("10.0.0.9"))
    parity = compare(archived.archive, PANEL, *EVER)
    assert (parity.verdicts, parity.verdicts_equal, parity.disagreements) == (1, 1, ())


def listing(ips: int) -> Scorecard:
    """A scorecard that blocks so many ips, each shorter than its token."""
    entries = tuple(
        ListEntry(code=f"b{n}", effect="block", entity="ip", value=f"10.{n >> 8}.0.{n & 255}", reason="bot", owner="x")
        for n in range(ips)
    )
    return msgspec.structs.replace(SCORECARD, version="long", lists=entries)


def test_the_longest_list_of_ips_that_is_published_can_be_read_in_the_lake() -> None:
    """One entry more, and the stream could judge by it, but nobody could judge again."""

    def refused(ips: int) -> bool:
        try:
            refuse_too_long(publication(listing(ips), START))
        except PolicyRefused:
            return True
        return False

    longest = bisect_left(range(20_000), True, key=refused) - 1
    mask, world = Masker("a masking key for tests"), World()
    world.publish(mask.scorecard(listing(longest)))
    assert "long" in read_panels(world.archive, PANEL).known.scorecards
    assert receive(*record(publication(listing(longest + 1), START))), "the stream would take it"
    with pytest.raises(Refused, match="bytes, more than"):
        receive(*record(publication(mask.scorecard(listing(longest + 1)), START)))
    with pytest.raises(PolicyRefused, match=r"'long' is \d+ bytes as a record, and \d+ once each ip .* shorten their"):
        refuse_too_long(publication(listing(longest + 1), START))


def test_lost_word_of_a_fraud_is_told_and_blames_no_order() -> None:
    world = mixed()
    row = next(row for row in world.topics["relay.by-ip"] if row["event_id"].startswith("chargeback/"))
    world.drop("relay.by-ip", row["event_id"])
    outcome = outcome_of(world, "r")
    assert any(row["event_id"] in line for line in outcome.parity.others)
    assert all(row["subject"] != one.finding.order_id for one in outcome.differences if "verdict" in one.finding.kind)
