"""No scorecard that is accepted can make a verdict that nobody can read, whatever order comes."""

import json
from datetime import UTC, datetime
from functools import cache

import msgspec
import pytest

from order_fraud import events, signals
from order_fraud.events import MAX_BYTES, MAX_OPENED, NewOrder, Order
from order_fraud.judge import Judge, Panel
from order_fraud.policy import BadScorecard, check, encode, parse
from order_fraud.relay import verdict
from order_fraud.room import MOST_BYTES, OTHER_BYTES
from order_fraud.scorecard import MOST_RULES, Band, Bin, Condition, Line, ListEntry, Rule, Scorecard, Snooze

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
ENTITIES = ("customer", "device", "ip", "card", "email_domain", "address")
UGLY = "\x01"
"""Six bytes in JSON: no character takes more."""
ID = "{[" * 50 + UGLY * 100


def worst(length: int, rules: int = MOST_RULES, listed: int = 500) -> Scorecard:
    """A scorecard of which everything fires at once, with texts of a certain length."""
    text = "{{" + UGLY * (length - len("{{{value}")) + "{value}"
    when = (Condition(signal="order.amount"),)
    return Scorecard(
        version="v" * 64,
        owner="x",
        reason="x",
        lines=tuple(
            Line(
                signal=name,
                bins=(
                    Bin(code=f"{name}.{'b' * 60}", low=0, points=10_000, text=text),
                    Bin(code=f"{name}.short", high=0, points=1, text="x"),
                ),
            )
            for name in sorted(signals.NAMES)
        ),
        rules=tuple(
            Rule(code=f"{number}-{'r' * 90}", when=when, outcome="review", text=text) for number in range(rules)
        ),
        bands=(Band(at=1, outcome="review"),),
        lists=tuple(
            ListEntry(
                code=f"{effect}-{entity}", effect=effect, entity=entity, value=ID, reason=UGLY * listed, owner="x"
            )
            for entity in ENTITIES
            for effect in ("allow", "block")
        ),
        snoozes=(Snooze(customer_id=ID, until=NOON, reason="x", owner="x"),),
    )


def accepted(scorecard: Scorecard) -> bool:
    try:
        check(scorecard)
    except BadScorecard:
        return False
    return True


@cache
def longest() -> int:
    """The longest texts that are accepted."""
    return max(length for length in range(20, 500) if accepted(worst(length)))


def judged(scorecard: Scorecard) -> events.PossibleFraud | events.NoFraudDetected:
    """The verdict on an order that has everything, with as many scorecards on trial as there may be."""
    entities = {name: ID for name in ("device_id", *ENTITIES[2:])}
    stamped = dict.fromkeys(sorted(signals.NAMES), 987_654_321_987_654_321.0)
    order = Order(
        order_id=ID, customer_id=ID, amount=10**12, currency="EUR", ip_country="x", signals=stamped, **entities
    )
    event = NewOrder(id=f"order/{ID}", source="/shop", subject=ID, time=NOON, data=order)
    shadows = tuple(Judge(msgspec.structs.replace(scorecard, version=f"{n}{'s' * 63}")) for n in range(4))
    return verdict(event, order, 0, Panel(Judge(scorecard), shadows))


def test_the_worst_verdict_of_an_accepted_scorecard_is_read() -> None:
    made = judged(parse(encode(worst(longest()))))
    assert len(made.data.reasons) == len(signals.NAMES) + MOST_RULES + 2 * len(ENTITIES)
    value = events.encode(made)
    assert value.count(b"{") > MAX_OPENED, "those within texts open nothing"
    assert MAX_BYTES * 0.9 < len(value) <= MAX_BYTES, "the bound is no tighter than it must be"
    assert events.decode(value) == made
    bare = msgspec.structs.replace(made, data=msgspec.structs.replace(made.data, reasons=()))
    assert len(events.encode(bare)) < OTHER_BYTES


def test_objects_of_the_worst_verdict_stay_below_the_bound_with_room_for_new_signals() -> None:
    def opened(value: object) -> int:
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if parts is None else 1 + sum(map(opened, parts))

    found = opened(json.loads(events.encode(judged(worst(longest())))))
    assert found + 1 <= MAX_OPENED, "a snooze makes one more, where no list entry decides"


def test_reasons_too_long_for_a_verdict_are_refused_with_their_share() -> None:
    with pytest.raises(BadScorecard) as refused:
        check(worst(longest() + 1))
    said = str(refused.value)
    assert said.startswith("the reasons of one verdict could take ")
    assert f"more than {MOST_BYTES}: shorten the texts - at `$.lines`" in said
    with pytest.raises(BadScorecard, match=r"lists \d+.*at `\$\.lists`"):
        check(worst(150, rules=1, listed=2_000))


def test_more_rules_than_a_verdict_can_tell_are_refused() -> None:
    with pytest.raises(BadScorecard, match=rf"length <= {MOST_RULES} - at `\$\.rules`"):
        parse(encode(worst(20, MOST_RULES + 1)))
    assert accepted(parse(encode(worst(20))))
