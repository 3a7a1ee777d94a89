"""Changes of scorecards: published, activated, put on trial, and what is none but is written all the same."""

import random
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from order_fraud.events import Activation, PolicyPublished, encode
from order_fraud.policies import PolicyEvent, activation, publication, record
from order_fraud.scorecard import Band, Scorecard
from scorecards import SCORECARD

PAUSE_S = 0.4
"""Between two records of one change."""
_TIME = datetime(2026, 1, 1, tzinfo=UTC)


class Change(NamedTuple):
    """A record of ``fraud.policies``.

    Attributes:
        after: seconds after the fault.
        key: of the record.
        value: of the record, None for a deletion.
    """

    after: float
    key: bytes
    value: bytes | None


def changes(draw: random.Random, number: int) -> list[Change]:
    """Return what policy fault ``number`` writes, counted from 0.

    A new version is published and judges, beside it up to two on trial that were there before. Every other fault has
    also three records that must change nothing. The version is none that an earlier fault has published.
    """
    version = f"chaos-{number}"
    before = [SCORECARD.version, *(f"chaos-{one}" for one in range(number))]
    trial = draw.sample(before, min(len(before), draw.randrange(3)))
    at = _TIME + timedelta(minutes=number)
    records = [record(publication(_scorecard(version, number), at)), record(_active(version, trial, at))]
    if number % 2:
        records += draw.sample(_useless(number, at), 3)
    if draw.random() < 0.5:  # back to an old one, as after a change that was a mistake
        records.append(record(_active(draw.choice(before), [], at + timedelta(seconds=1))))
    return [Change(place * PAUSE_S, key, value) for place, (key, value) in enumerate(records)]


def _scorecard(version: str, number: int) -> Scorecard:
    """Return the bundled scorecard with points and bands of its own: hardly an order is judged to the same score."""
    lines = tuple(
        msgspec.structs.replace(
            line,
            bins=tuple(msgspec.structs.replace(one, points=one.points + number % 17 + 1) for one in line.bins),
        )
        for line in SCORECARD.lines
    )
    bands = (Band(at=30 + number % 40, outcome="review", priority=number % 100 + 1), Band(at=120, outcome="block"))
    return msgspec.structs.replace(SCORECARD, version=version, lines=lines, bands=bands, reason=f"fault {number}")


def _active(active: str, shadows: list[str], at: datetime) -> PolicyEvent:
    return activation(Activation(active=active, shadows=tuple(shadows), owner="chaos", reason="a fault"), at)


def _useless(number: int, at: datetime) -> list[tuple[bytes, bytes | None]]:
    """Return records of which each would be a disaster, were it believed."""
    stranger, last = _scorecard(f"stranger-{number}", number), f"chaos-{number}"
    empty = msgspec.structs.replace(stranger, lines=(stranger.lines[0], stranger.lines[0]))
    let_all_pass = msgspec.structs.replace(stranger, version=last, bands=(Band(at=10_000, outcome="review"),))
    misnamed = PolicyPublished(id="policy/x", source="/x", subject="x", time=at, data=stranger)
    return [
        (b"active", b'{"type":"PolicyActivated","data":{"active":"'),
        (b"active", None),
        record(_active(f"stranger-{number}", [], at)),
        record(_active(last, [last], at)),
        record(publication(empty, at)),
        record(publication(let_all_pass, at)),
        (f"policy/{last}".encode(), None),
        (f"policy/stranger-{number}".encode(), encode(misnamed)),
    ]
