"""Policies as a fold: what is taken, what is refused and why, and that refusals and repeats change nothing."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_fraud import events
from order_fraud.events import (
    MAX_BYTES,
    MAX_OPENED,
    MAX_POLICY_BYTES,
    MAX_POLICY_DEPTH,
    Activation,
    BadEvent,
    NewOrder,
    Order,
    PolicyPublished,
)
from order_fraud.policies import Policies, PolicyEvent, Refused, activation, initial, publication, receive, record
from order_fraud.policy_diff import differences
from order_fraud.relay import verdict
from order_fraud.scorecard import Band, Bin, Condition, Line, ListEntry, Rule, Scorecard, Snooze
from scorecards import PANEL, SCORECARD

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
BUNDLED = SCORECARD.version


def version(name: str, **changes: object) -> Scorecard:
    return msgspec.structs.replace(SCORECARD, version=name, **changes)


def active(name: str, *shadows: str, at: datetime = NOON) -> PolicyEvent:
    return activation(Activation(active=name, shadows=shadows, owner="ann", reason="it is time"), at)


def fold(*found: PolicyEvent) -> Policies:
    known = initial(PANEL)
    for event in found:
        known = known.apply(event)
    return known


def names(known: Policies) -> list[str]:
    return [judge.version for judge in (known.panel.active, *known.panel.shadows)]


def test_the_bundled_scorecard_judges_until_another_is_activated() -> None:
    two = publication(version("2"), NOON)
    assert names(initial(PANEL)) == names(fold(two)) == [BUNDLED]
    assert names(fold(two, active("2"))) == ["2"]
    assert names(fold(two, active(BUNDLED, "2"))) == [BUNDLED, "2"]
    assert names(fold(two, active("2", BUNDLED), active("2"))) == ["2"]
    assert fold(two, active("2")).panel.active.scorecard == version("2")


def test_a_version_stays_what_it_was() -> None:
    known = fold(publication(version("2"), NOON), active("2"))
    with pytest.raises(Refused, match="version '2' exists with other content") as refused:
        known.apply(publication(version("2", owner="somebody else"), NOON))
    assert refused.value.why == "version-exists"
    with pytest.raises(Refused, match=f"version '{BUNDLED}' exists with other content"):
        known.apply(publication(version(BUNDLED, owner="somebody else"), NOON))
    assert known.apply(publication(version("2"), NOON + timedelta(days=1))) is known, "the first publication counts"
    assert fold(publication(SCORECARD, NOON)).published == {BUNDLED: NOON}


@pytest.mark.parametrize(
    ("event", "why", "message"),
    [
        (active("3"), "unknown-version", "version '3' was never published"),
        (active("2", "3"), "unknown-version", "version '3' was never published"),
        (active("2", "2"), "malformed", "a version is named twice: active '2'"),
        (active("2", BUNDLED, BUNDLED), "malformed", "a version is named twice"),
    ],
)
def test_an_activation_of_what_is_not_there_is_refused(event: PolicyEvent, why: str, message: str) -> None:
    with pytest.raises(Refused, match=message) as refused:
        fold(publication(version("2"), NOON)).apply(event)
    assert refused.value.why == why


def other(event: PolicyEvent, **changes: object) -> bytes:
    return events.encode(msgspec.structs.replace(event, **changes))


TWO, CHOICE = publication(version("2"), NOON), active("2")
ORDER = NewOrder(
    id="order/7",
    source="/shop",
    subject="7",
    time=NOON,
    data=Order(order_id="7", customer_id="7", amount=1, currency="EUR"),
)


@pytest.mark.parametrize(
    ("key", "value", "why", "message"),
    [
        (b"policy/2", None, "malformed", "the record of key 'policy/2' is a deletion: a version stays"),
        (None, None, "malformed", "the record of no key is a deletion"),
        (b"policy/2", b"", "malformed", "the record has no value"),
        (b"policy/2", b"\xff", "malformed", "."),
        (b"policy/2", b'{"type":"PolicyPublished"', "malformed", "truncated"),
        (b"policy/2", other(TWO).replace(b'"bands":', b'"bonds":'), "malformed", r"bonds.*\$\.data"),
        (
            b"policy/2",
            other(TWO).replace(b'"from":50', b'"from":500'),
            "malformed",
            r"policy/2: bands must rise.*\$\.bands",
        ),
        (b"active", other(CHOICE).replace(b'"owner":"ann"', b'"owner":""'), "malformed", r"\$\.data\.owner"),
        (b"order/7", events.encode(ORDER), "misplaced", "NewOrder has no business on fraud.policies"),
        (b"policy/3", other(TWO), "misplaced", "policy/2 has key 'policy/3' instead of 'policy/2'"),
        (None, other(CHOICE), "misplaced", "has no key instead of 'active'"),
        (b"policy/3", other(TWO, id="policy/3", subject="3"), "misplaced", "must be 'policy/2' and '2'"),
        (b"active", other(CHOICE, subject="3"), "misplaced", "must be 'activation/2/2026-06-01T12:00:00Z' and '2'"),
    ],
)
def test_a_record_that_holds_no_policy_is_refused(
    key: bytes | None, value: bytes | None, why: str, message: str
) -> None:
    with pytest.raises(Refused, match=message) as refused:
        receive(key, value)
    assert refused.value.why == why


@pytest.mark.parametrize("event", [TWO, CHOICE])
def test_what_is_written_is_read(event: PolicyEvent) -> None:
    assert receive(*record(event)) == event


def crowded(entries: int) -> PolicyPublished:
    lists = tuple(
        ListEntry(
            code=f"b{n}", effect="block", entity="ip", value=f"10.0.{n // 256}.{n % 256}", reason="{[{[", owner="x"
        )
        for n in range(entries)
    )
    return publication(version("long", lists=lists), NOON)


def test_a_policy_may_be_longer_and_hold_more_than_any_order() -> None:
    event = crowded(5_000)
    key, value = record(event)
    assert MAX_BYTES < len(value) < MAX_POLICY_BYTES
    assert value.count(b"{") > MAX_OPENED
    assert receive(key, value) == event
    disguised = value.replace(b'{"type":"PolicyPublished"', b'{"type":"NewOrder"')
    with pytest.raises(BadEvent, match=f"more than {MAX_BYTES}"):
        events.decode(disguised)
    with pytest.raises(Refused, match=f"more than {MAX_POLICY_BYTES}"):
        receive(b"policy/long", record(crowded(12_000))[1])


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", [b"PolicyPublished", b"NewOrder"])
def test_a_string_that_nobody_closes_takes_no_longer_than_its_length(kind: bytes) -> None:
    """Looked for anew at each of its quotes, the end of this one would take hours."""
    value = b'{"type":"' + kind + b'","more":' + b"[" * 300 + rb"\"" * 120_000
    with pytest.raises(Refused, match=r"deeper than|opens 301 objects"):
        receive(b"policy/x", value)


@pytest.mark.parametrize("depth", [MAX_POLICY_DEPTH, 5_000, 200_000])
def test_a_policy_that_nests_deep_is_refused_before_it_reaches_the_recursion_limit(depth: int) -> None:
    value = b'{"type":"PolicyPublished","more":' + b"[" * depth + b'"]"' + b"]" * depth + b"," + b'"x":[' + b"[]," * 400
    with pytest.raises(Refused, match="deeper than"):
        receive(b"policy/x", value)


def test_a_verdict_s_own_panel_judges_again_to_the_byte() -> None:
    strict = version("strict", bands=(Band(at=-1_000, outcome="block"),))
    known = fold(publication(strict, NOON), active("strict", BUNDLED))
    first = verdict(ORDER, ORDER.data, 0, known.panel)
    later = known.apply(active(BUNDLED))
    named = first.data.scorecard_version, tuple(shadow.scorecard_version for shadow in first.data.shadows)
    assert named == ("strict", (BUNDLED,))
    assert events.encode(verdict(ORDER, ORDER.data, 0, later.bench(*named))) == events.encode(first)
    assert events.encode(verdict(ORDER, ORDER.data, 0, later.panel)) != events.encode(first)
    with pytest.raises(Refused, match="'strict' was never published"):
        initial(PANEL).bench(*named)


VERSIONS = ("2", "3", "4", BUNDLED)
policy_events = st.one_of(
    st.builds(
        lambda name, owner: publication(version(name, owner=owner), NOON),
        st.sampled_from(VERSIONS),
        st.sampled_from(["ann", "bob"]),
    ),
    st.lists(st.sampled_from(VERSIONS), min_size=1, max_size=4).map(lambda found: active(*found)),
)


@given(st.lists(policy_events, max_size=12))
def test_any_history_leaves_one_content_per_version_and_a_panel_of_published_versions(found: list[PolicyEvent]) -> None:
    known, first, last = initial(PANEL), {BUNDLED: SCORECARD}, [BUNDLED]
    for event in found:
        before = known
        try:
            known = known.apply(event)
        except Refused:
            continue
        assert known.apply(event) == known, "once more changes nothing"
        if isinstance(event, PolicyPublished):
            assert known.panel is before.panel, "publishing changes no judge"
            first.setdefault(event.subject, event.data)
        else:
            last = [event.data.active, *event.data.shadows]
    assert known.scorecards == first
    assert names(known) == last
    assert [judge.scorecard for judge in (known.panel.active, *known.panel.shadows)] == [first[name] for name in last]


@given(st.lists(policy_events, max_size=12))
def test_compaction_changes_neither_the_panel_nor_a_scorecard(found: list[PolicyEvent]) -> None:
    """As the publisher writes only what changes something, the last record of each key says as much as all of them.

    A version that was published once more after its activation would stand behind it when the first record is gone.
    """
    taken, known = [], initial(PANEL)
    for event in found:
        with suppress(Refused):
            after = known.apply(event)
            if after != known:
                known = after
                taken.append(event)
    last = {record(event)[0]: place for place, event in enumerate(taken)}
    compacted = fold(*(taken[place] for place in sorted(last.values())))
    assert compacted.scorecards == known.scorecards
    assert names(compacted) == names(known)


def test_a_difference_is_told_in_words() -> None:
    line = Line(signal="device.customers", bins=(Bin(code="two", low=2, high=3, points=50, text="{value} of them"),))
    before = version(
        "2",
        lines=(line, Line(signal="ip.customers", bins=(Bin(code="any", points=1, text="t"),))),
        rules=(Rule(code="r", when=(Condition(signal="ip.customers", low=1_000),), outcome="block", text="no"),),
        lists=(
            ListEntry(code="l", effect="block", entity="ip", value="10.0.0.1", until=NOON, reason="bot", owner="ann"),
        ),
        snoozes=(),
    )
    wider = Line(
        signal="device.customers", bins=(Bin(code="two", low=2, high=3.125, points=40, text="{value} of them"),)
    )
    after = version(
        "3",
        owner="bob",
        lines=(wider,),
        rules=(),
        bands=(Band(at=30, outcome="review"),),
        lists=(ListEntry(code="l", effect="block", entity="ip", value="10.0.0.1", reason="bot", owner="bob"),),
        snoozes=(Snooze(customer_id="7", until=NOON, reason="a good one", owner="ann"),),
    )
    assert differences(before, after) == [
        "signal device.customers, bin two: 50 points becomes 40 points; for 2 to below 3 becomes for 2 to below 3.125",
        "signal ip.customers, bin any: removed (1 points, for any value, “t”)",
        "rule r: removed (block, if ip.customers 1,000 or more, “no”)",
        "bands: review from 50 points (priority 50), block from 100 points (priority 10) becomes "
        "review from 30 points (priority 50)",
        "block list, l: until 2026-06-01T12:00:00+00:00 becomes for ever; by ann becomes by bob",
        "snooze of customer 7: added (until 2026-06-01T12:00:00+00:00, “a good one”, by ann)",
    ]
    assert differences(before, msgspec.structs.replace(before, version="9", owner="x", reason="y")) == []
    turned = msgspec.structs.replace(before, lines=before.lines[::-1])
    (said,) = differences(before, turned)
    assert said.startswith("order: the same lines")


def test_every_change_of_a_scorecard_has_a_sentence() -> None:
    """Whatever is taken away from the document is a difference."""
    document = json.loads(msgspec.json.encode(crowded(1).data))
    for part in ("lines", "bands", "lists"):
        for place in range(len(document[part])):
            less = dict(document)
            less[part] = document[part][:place] + document[part][place + 1 :]
            if less[part]:
                assert differences(crowded(1).data, msgspec.convert(less, Scorecard)), (part, place)
