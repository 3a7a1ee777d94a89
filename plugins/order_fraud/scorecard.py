"""A scorecard: one version of the rules, as data. It is written, checked, published, tried and activated as JSON.

The document is immutable: whatever changes - a bin, a list entry, a snooze - makes a new version, so that a verdict
which names its version can be judged again for ever.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

MOST_RULES = 100
"""All of them could be true of one order, and a verdict may not hold more than :data:`order_fraud.events.MAX_OPENED`
objects: one per rule that is met, per signal, per list entry and per scorecard on trial."""

_END = r"$(?!\n)"
"""The very end: Python's ``$`` alone lets a line break pass. Written so that the published JSON Schema stays ECMA-262,
which has no ``\\Z``."""

Text = Annotated[
    str, Meta(min_length=1, max_length=500, description="sentence for a customer; {value} is the signal's number")
]
Code = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=100,
        pattern=rf"^[a-z0-9][a-z0-9._-]*{_END}",
        description="stable name; means the same in every version",
    ),
]
Number = Annotated[float, Meta(description="of the signal, in its unit")]
EntityId = Annotated[str, Meta(min_length=1, max_length=200, description="id of the entity, as on the orders")]
Person = Annotated[str, Meta(min_length=1, max_length=200, description="who answers for it")]
Why = Annotated[str, Meta(min_length=1, max_length=2000, description="why, for people")]
Until = Annotated[datetime, Meta(tz=True, description="UTC; orders of this time and later are not concerned")]
Entity = Annotated[
    Literal["customer", "device", "ip", "card", "email_domain", "address"], Meta(description="what the id is of")
]
SignalName = Annotated[str, Meta(description="from the catalogue of signals")]
PointsOf = Annotated[int, Meta(ge=-10_000, le=10_000, description="more means more like fraud")]


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a scorecard: a field that is not known is an error, not a wish that nobody hears."""


class Bin(_Document, frozen=True, kw_only=True):
    """Values from ``low`` (included) to ``high`` (excluded) give ``points``, and ``text`` says why."""

    code: Code
    low: Annotated[Number | None, Meta(description="included; open if left out")] = None
    high: Annotated[Number | None, Meta(description="excluded; open if left out")] = None
    points: PointsOf
    text: Text


class Line(_Document, frozen=True, kw_only=True):
    """One signal and its bins, which do not overlap. A signal that an order does not have gives no points."""

    signal: SignalName
    bins: Annotated[tuple[Bin, ...], Meta(min_length=1, description="they do not overlap")]


class Condition(_Document, frozen=True, kw_only=True):
    """True for an order whose signal is known and lies from ``low`` (included) to ``high`` (excluded)."""

    signal: SignalName
    low: Annotated[Number | None, Meta(description="included; open if left out")] = None
    high: Annotated[Number | None, Meta(description="excluded; open if left out")] = None


class Rule(_Document, frozen=True, kw_only=True):
    """If all conditions are true, the outcome is given, whatever the score; ``{value}`` is of the first condition."""

    code: Code
    when: Annotated[tuple[Condition, ...], Meta(min_length=1, description="all must be true")]
    outcome: Annotated[Literal["clear", "review", "block"], Meta(description="whatever the score")]
    text: Text


class Band(_Document, frozen=True, kw_only=True, rename={"at": "from"}):
    """Scores from ``from`` up have this outcome, until the next band."""

    at: Annotated[int, Meta(description="lowest score of the band")]
    outcome: Annotated[Literal["review", "block"], Meta(description="below the first band an order is clear")]
    priority: Annotated[int, Meta(ge=1, le=100, description="the lowest number is looked at first")] = 50


class ListEntry(_Document, frozen=True, kw_only=True):
    """One customer, device, ip … that is always cleared (``allow``) or never shipped to (``block``)."""

    code: Code
    effect: Annotated[Literal["allow", "block"], Meta(description="an allow beats a block")]
    entity: Entity
    value: EntityId
    until: Until | None = None
    reason: Why
    owner: Person


class Snooze(_Document, frozen=True, kw_only=True):
    """Until then, this customer's orders are not held for review; a block stays a block."""

    customer_id: EntityId
    until: Until
    reason: Why
    owner: Person


class Scorecard(_Document, frozen=True, kw_only=True):
    """A version of the rules.

    What decides, the first that applies:

    1. an ``allow`` entry: clear;
    2. a ``block`` entry: block;
    3. a rule: block before review before clear;
    4. the band of the score; below the first band, clear.

    A snooze of the customer then turns *review* into *clear*. The score and all reasons are told in every case.
    """

    version: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            pattern=rf"^[A-Za-z0-9][A-Za-z0-9._-]*{_END}",
            description="unique; never used again",
        ),
    ]
    owner: Person
    reason: Annotated[Why, Meta(description="why this version was made")]
    based_on: Annotated[str | None, Meta(description="the version that was changed")] = None
    lines: Annotated[tuple[Line, ...], Meta(description="signals and their points")] = ()
    rules: Annotated[tuple[Rule, ...], Meta(max_length=MOST_RULES, description="conditions with a hard effect")] = ()
    bands: Annotated[tuple[Band, ...], Meta(min_length=1, description="of the score, rising")]
    lists: Annotated[tuple[ListEntry, ...], Meta(description="allowed and blocked entities")] = ()
    snoozes: Annotated[tuple[Snooze, ...], Meta(description="customers whose reviews are suspended")] = ()
