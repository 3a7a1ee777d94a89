"""Scorecards: what is refused and where, what decides before what, and reasons with the number in them."""

import json
from datetime import UTC, datetime, timedelta
from math import nextafter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from docs.contracts.pages import scorecard_schema
from order_fraud import signals
from order_fraud.codes import clashes
from order_fraud.events import Order
from order_fraud.judge import Judge, Judgement
from order_fraud.policy import BadScorecard, encode, parse
from scorecards import HAND_SET, PANEL, SCORECARD

NOON = datetime(2015, 6, 1, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)

PLAIN: dict[str, Any] = {
    "version": "t",
    "owner": "fraud team",
    "reason": "a test",
    "lines": [
        {
            "signal": "customer.orders_1h",
            "bins": [
                {"code": "low", "high": 0, "points": -10, "text": "{value} is low"},
                {"code": "mid", "low": 0, "high": 10, "points": 20, "text": "{value} is middling"},
            ],
        },
        {"signal": "ip.customers", "bins": [{"code": "any", "points": 30, "text": "b is {value}"}]},
    ],
    "bands": [{"from": 50, "outcome": "review", "priority": 7}, {"from": 60, "outcome": "block", "priority": 3}],
}
REVIEW, CLEAR = {"customer.orders_1h": 5.0, "ip.customers": 1.0}, {"customer.orders_1h": 5.0}


def made(**changes: Any) -> Judge:
    return Judge(parse(json.dumps(PLAIN | changes).encode()))


def order(found: dict[str, float], **who: Any) -> Order:
    return Order(order_id="7-1", customer_id="7", amount=1, currency="USD", signals=found, **who)


def outcome(judge: Judge, found: dict[str, float], **who: Any) -> tuple[str, int]:
    judgement = judge(order(found, **who), NOON_MS)
    return judgement.outcome, judgement.priority


@pytest.mark.parametrize(
    ("value", "codes"),
    [(-0.01, ["low"]), (0.0, ["mid"]), (nextafter(10.0, 0.0), ["mid"]), (10.0, []), (1e12, [])],
)
def test_a_bin_holds_its_low_end_and_not_its_high_end(value: float, codes: list[str]) -> None:
    judgement = made()(order({"customer.orders_1h": value}), NOON_MS)
    assert [reason.code for reason in judgement.reasons] == codes


@pytest.mark.parametrize(
    ("points", "said"),
    [(49, ("clear", 0)), (50, ("review", 7)), (59, ("review", 7)), (60, ("block", 3)), (9_000, ("block", 3))],
)
def test_the_band_is_the_last_one_reached(points: int, said: tuple[str, int]) -> None:
    bins = [{"code": "all", "points": points, "text": "it is"}]
    judge = made(lines=[{"signal": "order.amount", "bins": bins}])
    assert outcome(judge, {"order.amount": 1.0}) == said
    assert judge.threshold == 50


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (5.0, "5 is middling"),
        (3.14159, "3.14 is middling"),
        (2.5, "2.50 is middling"),
        (1.999, "2 is middling"),
        (-1234.5, "-1,234.50 is low"),
        (-0.001, "0 is low"),
        (-100.0, "-100 is low"),
    ],
)
def test_a_reason_has_the_number_in_plain_writing(value: float, words: str) -> None:
    assert made()(order({"customer.orders_1h": value}), NOON_MS).reasons[0].text == words


def entry(effect: str, entity: str, value: str, **more: Any) -> dict[str, Any]:
    code = f"{effect}-{entity}"
    return {"code": code, "effect": effect, "entity": entity, "value": value, "reason": "so", "owner": "me"} | more


def rule(code: str, result: str, **condition: Any) -> dict[str, Any]:
    return {"code": code, "when": [condition], "outcome": result, "text": "{value} it is"}


IP_ALLOWED, DEVICE_BLOCKED = entry("allow", "ip", "1.1.1.1"), entry("block", "device", "D")
BLOCKING, CLEARING = (
    rule("many", "block", signal="customer.orders_1h", low=5),
    rule("few", "clear", signal="customer.orders_1h", high=6),
)
REVIEWING = rule("look", "review", signal="ip.customers", low=1)
SNOOZED = {"customer_id": "7", "until": "2015-06-01T12:00:01Z", "reason": "known", "owner": "me"}


@pytest.mark.parametrize(
    ("changes", "found", "said"),
    [
        ({"lists": [DEVICE_BLOCKED]}, {}, "block"),
        ({"lists": [IP_ALLOWED, DEVICE_BLOCKED]}, {"customer.orders_1h": 5.0}, "clear"),
        ({"lists": [IP_ALLOWED], "rules": [BLOCKING]}, REVIEW, "clear"),
        ({"lists": [DEVICE_BLOCKED], "rules": [CLEARING]}, CLEAR, "block"),
        ({"rules": [CLEARING]}, REVIEW, "clear"),
        ({"rules": [CLEARING, REVIEWING]}, REVIEW, "review"),
        ({"rules": [CLEARING, REVIEWING, BLOCKING]}, REVIEW, "block"),
        ({"rules": [BLOCKING]}, {}, "clear"),
        ({"snoozes": [SNOOZED]}, REVIEW, "clear"),
        ({"snoozes": [SNOOZED], "rules": [REVIEWING]}, REVIEW, "clear"),
        ({"snoozes": [SNOOZED], "rules": [BLOCKING]}, REVIEW, "block"),
        ({"snoozes": [SNOOZED], "lists": [DEVICE_BLOCKED]}, REVIEW, "block"),
    ],
)
def test_allow_beats_block_beats_rules_beat_the_score_and_a_snooze_spares_reviews_alone(
    changes: dict[str, Any], found: dict[str, float], said: str
) -> None:
    judgement = made(**changes)(order(found, device_id="D", ip="1.1.1.1"), NOON_MS)
    assert judgement.outcome == said
    assert (judgement.priority == 0) == (said == "clear")
    assert judgement.score == made()(order(found), NOON_MS).score, "the score is told in every case"
    assert len(judgement.reasons) > len(made()(order(found), NOON_MS).reasons) or found == {}


@pytest.mark.parametrize("entity", ["customer", "device", "ip", "card", "email_domain", "address"])
def test_every_entity_can_be_listed(entity: str) -> None:
    judge = made(lists=[entry("block", entity, "X")])
    named = {"customer": "customer_id", "device": "device_id"}.get(entity, entity)
    who: dict[str, Any] = {"order_id": "1", "customer_id": "7", "amount": 1, "currency": "USD"}
    assert judge(Order(**who | {named: "X"}), NOON_MS).outcome == "block"
    assert judge(Order(**who | {named: "Y"}), NOON_MS).outcome == "clear"
    (reason,) = judge(Order(**who | {named: "X"}), NOON_MS).reasons
    assert (reason.code, reason.points) == (f"list.block-{entity}", 0)
    assert "X" not in reason.text, "an id is nobody's business"


@pytest.mark.parametrize(("seconds", "still"), [(-1, False), (0, False), (1, True)])
def test_an_entry_and_a_snooze_end_by_the_time_of_the_order(seconds: int, still: bool) -> None:
    until = (NOON + timedelta(seconds=seconds)).isoformat()
    listed = made(lists=[entry("block", "customer", "7", until=until)])
    assert outcome(listed, {})[0] == ("block" if still else "clear")
    snoozed = made(snoozes=[SNOOZED | {"until": until}])
    assert outcome(snoozed, REVIEW)[0] == ("clear" if still else "review")


ONE_BIN = {"code": "b", "points": 1, "text": "x"}


def with_bins(*bins: dict[str, Any]) -> dict[str, Any]:
    return {"lines": [{"signal": "ip.customers", "bins": list(bins)}]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "a b"}, "$.version"),
        ({"version": "t\n"}, "$.version"),
        (with_bins(ONE_BIN | {"code": "b\n"}), "$.lines[0].bins[0].code"),
        (with_bins(ONE_BIN | {"code": "snooze"}), "'snooze' is taken by the snooze - at `$.lines[0].bins[0].code`"),
        (with_bins(ONE_BIN | {"code": "list.b"}), "'list.b' is taken by entries of lists - at `$.lines[0].bins[0].co"),
        ({"rules": [REVIEWING, BLOCKING | {"code": "snooze"}]}, "taken by the snooze - at `$.rules[1].code`"),
        ({"rules": [BLOCKING | {"code": "list.x"}]}, "taken by entries of lists - at `$.rules[0].code`"),
        ({"verson": "1"}, "unknown field `verson`"),
        ({"bands": []}, "$.bands"),
        ({"bands": [{"from": 5, "outcome": "clear"}]}, "$.bands[0].outcome"),
        ({"bands": [{"from": 5, "outcome": "review"}, {"from": 5, "outcome": "block"}]}, "must rise"),
        ({"bands": [{"from": 5, "outcome": "block"}, {"from": 9, "outcome": "review"}]}, "must not lie below"),
        ({"lines": [{"signal": "ip.custmers", "bins": [ONE_BIN]}]}, "no signal 'ip.custmers'"),
        (with_bins(ONE_BIN | {"low": 3, "high": 3}), "low 3 is not below high 3 - at `$.lines[0].bins[0]`"),
        (with_bins(ONE_BIN | {"high": 3}, ONE_BIN | {"code": "c", "low": 2}), "'b' and 'c' overlap from 2 to 3"),
        (with_bins(ONE_BIN | {"high": 3}, ONE_BIN | {"low": 3}), "code 'b' is used 2 times"),
        (with_bins(ONE_BIN | {"text": "{value.__class__}"}), "{value.__class__} is no placeholder"),
        (with_bins(ONE_BIN | {"text": "{value:>9999999999}"}), "no placeholder"),
        (with_bins(ONE_BIN | {"text": "{value"}), "$.lines[0].bins[0].text"),
        (with_bins(ONE_BIN | {"points": 1.5}), "$.lines[0].bins[0].points"),
        ({"rules": [rule("r", "block", signal="nothing")]}, "$.rules[0].when[0].signal"),
        ({"rules": [{**BLOCKING, "when": []}]}, "$.rules[0].when"),
        ({"rules": [BLOCKING | {"code": "any"}]}, "code 'any' is used 2 times"),
        ({"lists": [entry("allow", "phone", "1")]}, "$.lists[0].entity"),
        (
            {"lists": [entry("block", "ip", "1", until="2015-06-01T12:00:00+02:00")]},
            "not in UTC - at `$.lists[0].until`",
        ),
        ({"lists": [DEVICE_BLOCKED, DEVICE_BLOCKED | {"code": "z"}]}, "device 'D' stands 2 times on the block list"),
        ({"snoozes": [SNOOZED, SNOOZED]}, "customer_id '7' is used 2 times"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadScorecard) as refused:
        made(**changes)
    assert words in str(refused.value)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    bad = with_bins(ONE_BIN | {"low": 3, "high": 2}) | {"rules": [rule("r", "block", signal="nothing")]}
    with pytest.raises(BadScorecard) as refused:
        made(**bad)
    assert len(str(refused.value).splitlines()) == 2


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"version": 1e999}'])
def test_what_is_no_scorecard_at_all_is_refused(document: bytes) -> None:
    with pytest.raises(BadScorecard):
        parse(document)


def test_it_is_the_same_after_a_journey_and_the_schema_takes_it() -> None:
    full = made(lists=[IP_ALLOWED, DEVICE_BLOCKED], rules=[BLOCKING], snoozes=[SNOOZED], based_on="s").scorecard
    assert parse(encode(full)) == full
    assert encode(parse(encode(full))) == encode(full)
    validator = Draft202012Validator(json.loads(scorecard_schema()))
    for scorecard in (full, SCORECARD):
        assert list(validator.iter_errors(json.loads(encode(scorecard)))) == []
    assert list(validator.iter_errors(PLAIN | {"verson": 1}))


SIGNALS = st.dictionaries(
    st.sampled_from(sorted(signals.NAMES)), st.floats(-1e9, 1e15, allow_nan=False), max_size=len(signals.NAMES)
)


@given(SIGNALS)
def test_score_is_the_sum_of_the_reasons_and_decides_alone(found: dict[str, float]) -> None:
    judgement = PANEL.active(order(found), NOON_MS)
    assert judgement.score == sum(reason.points for reason in judgement.reasons)
    assert (judgement.outcome == "clear") == (judgement.score < PANEL.active.threshold)
    assert len({reason.code for reason in judgement.reasons}) == len(judgement.reasons)
    assert PANEL.active(order(dict(reversed(found.items()))), NOON_MS) == judgement
    assert isinstance(judgement, Judgement)


def test_the_bundled_scorecards_mean_the_same_by_the_same_code() -> None:
    assert {one.code for line in HAND_SET.lines for one in line.bins} & {
        one.code for line in SCORECARD.lines for one in line.bins
    }
    assert list(clashes(HAND_SET, [SCORECARD])) == []


def test_the_scorecard_that_comes_with_the_code_lists_no_ip() -> None:
    """The stream would judge raw ips by it, and the lake masked ones by the same raw list."""
    judges = (PANEL.active, *PANEL.shadows)
    assert [entry.code for judge in judges for entry in judge.scorecard.lists if entry.entity == "ip"] == []
