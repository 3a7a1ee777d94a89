"""How much room a scorecard's reasons can take in a verdict: one that no reader could decode must never be made.

The bounds are of the worst order that could come: one that falls into the longest bin of every line, meets every rule,
and stands on a list with each of its entities.
"""

from collections.abc import Iterable, Iterator

import msgspec

from order_fraud.events import MAX_BYTES, Reason
from order_fraud.judge import listed, snoozed
from order_fraud.scorecard import Scorecard

OTHER_BYTES = 24 * 1024
"""A verdict without its reasons takes less: four ids of 200 characters, of up to six bytes each where they have to be
escaped, all signals there are, and four scorecards on trial."""

MOST_BYTES = MAX_BYTES - OTHER_BYTES
"""The reasons of one verdict may take so many."""

_NUMBER = "9" * 32
"""Longer than any signal in a sentence: a billion orders of the largest amount, say."""

_MOST_POINTS = -10_000


def too_long(scorecard: Scorecard) -> Iterator[str]:
    """Say what is wrong if the reasons of one verdict could take more than ``MOST_BYTES``.

    Args:
        scorecard: with texts that have no other placeholder than ``{value}``.
    """
    parts = {"lines": _lines(scorecard), "rules": _rules(scorecard), "lists": _lists(scorecard)}
    parts["snoozes"] = max((_size(snoozed(one)) for one in scorecard.snoozes), default=0)
    total = sum(parts.values())
    if total > MOST_BYTES:
        shares = ", ".join(f"{name} {size}" for name, size in parts.items() if size)
        longest = max(parts, key=lambda name: parts[name])
        yield (
            f"the reasons of one verdict could take {total} bytes ({shares}), more than {MOST_BYTES}: shorten the "
            f"texts - at `$.{longest}`"
        )


def _lines(scorecard: Scorecard) -> int:
    return sum(_longest(_spoken(one.code, one.text) for one in line.bins) for line in scorecard.lines)


def _rules(scorecard: Scorecard) -> int:
    return sum(_size(_spoken(rule.code, rule.text)) for rule in scorecard.rules)


def _lists(scorecard: Scorecard) -> int:
    """An order has one id of each entity, and each id stands once on each list."""
    longest: dict[tuple[str, str], int] = {}
    for entry in scorecard.lists:
        key = entry.effect, entry.entity
        longest[key] = max(longest.get(key, 0), _size(listed(entry)))
    return sum(longest.values())


def _spoken(code: str, text: str) -> Reason:
    return Reason(code=code, points=_MOST_POINTS, text=text.format(value=_NUMBER))


def _longest(reasons: Iterable[Reason]) -> int:
    return max(map(_size, reasons))


def _size(reason: Reason) -> int:
    return len(msgspec.json.encode(reason)) + len(",")
