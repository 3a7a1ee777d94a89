"""Reads scorecards, checks what a schema cannot, and says everything that is wrong at once."""

import string
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC
from itertools import pairwise
from math import inf, isfinite

import msgspec

from order_fraud import room, signals
from order_fraud.judge import LISTED, SNOOZED
from order_fraud.scorecard import Bin, Condition, Scorecard

_decoder = msgspec.json.Decoder(Scorecard)
_encoder = msgspec.json.Encoder(order="deterministic")


class BadScorecard(ValueError):
    """A document that is no scorecard; the message has one line per error, each ending with the field's path."""


def parse(document: bytes) -> Scorecard:
    """Return the checked scorecard of a JSON document.

    Raises:
        BadScorecard: not JSON, a field missing, unknown or of the wrong type, or any error of :func:`check`.
    """
    try:
        scorecard = _decoder.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadScorecard(str(error)) from error
    return check(scorecard)


def encode(scorecard: Scorecard) -> bytes:
    """Return the canonical JSON of a scorecard: the same scorecard always gives the same bytes."""
    return _encoder.encode(scorecard)


def check(scorecard: Scorecard) -> Scorecard:
    """Return the scorecard if nothing is wrong with it.

    Raises:
        BadScorecard: everything that is wrong, one line each: unknown signals, bins that overlap or are empty, codes
            used twice or reserved, placeholders other than ``{value}``, bands out of order, times not in UTC; or, if
            nothing else is, reasons too long for a verdict.
    """
    if errors := list(_errors(scorecard)) or list(room.too_long(scorecard)):
        raise BadScorecard("\n".join(errors))
    return scorecard


def _errors(scorecard: Scorecard) -> Iterator[str]:
    for n, line in enumerate(scorecard.lines):
        at = f"$.lines[{n}]"
        yield from _unknown(line.signal, f"{at}.signal")
        for m, one in enumerate(line.bins):
            yield from _reserved(one.code, f"{at}.bins[{m}].code")
            yield from _range(one, f"{at}.bins[{m}]")
            yield from _placeholders(one.text, f"{at}.bins[{m}].text")
        yield from _overlaps(line.bins, f"{at}.bins")
    yield from _twice((line.signal for line in scorecard.lines), "signal", "$.lines")
    for n, rule in enumerate(scorecard.rules):
        for m, condition in enumerate(rule.when):
            yield from _unknown(condition.signal, f"$.rules[{n}].when[{m}].signal")
            yield from _range(condition, f"$.rules[{n}].when[{m}]")
        yield from _reserved(rule.code, f"$.rules[{n}].code")
        yield from _placeholders(rule.text, f"$.rules[{n}].text")
    codes = [one.code for line in scorecard.lines for one in line.bins] + [rule.code for rule in scorecard.rules]
    yield from _twice(codes, "code", "$.lines and $.rules")
    yield from _bands(scorecard)
    yield from _lists(scorecard)


def _unknown(signal: str, path: str) -> Iterator[str]:
    if signal not in signals.NAMES:
        yield f"there is no signal {signal!r}: see the catalogue in docs/signals.md - at `{path}`"


def _reserved(code: str, path: str) -> Iterator[str]:
    """Refuse what would be taken for another piece among the reasons of a verdict."""
    if code == SNOOZED or code.startswith(LISTED):
        yield f"code {code!r} is taken by {'the snooze' if code == SNOOZED else 'entries of lists'} - at `{path}`"


def _range(one: Bin | Condition, path: str) -> Iterator[str]:
    for name, value in (("low", one.low), ("high", one.high)):
        if value is not None and not isfinite(value):
            yield f"{name} is no finite number: leave it out for an open end - at `{path}.{name}`"
    if one.low is not None and one.high is not None and one.low >= one.high:
        yield f"low {one.low:g} is not below high {one.high:g} - at `{path}`"


def _placeholders(text: str, path: str) -> Iterator[str]:
    """Refuse what ``str.format`` would obey beyond ``{value}``: attributes, widths of a gigabyte."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        yield f"{error}: write {{{{ for a brace - at `{path}`"
        return
    for _, name, spec, conversion in parts:
        if name is not None and (name != "value" or spec or conversion):
            yield f"{{{name}}} is no placeholder: only {{value}} is - at `{path}`"


def _overlaps(bins: Iterable[Bin], path: str) -> Iterator[str]:
    spans = sorted((_low(one), _high(one), one.code) for one in bins)
    for (_, high, first), (low, _, second) in pairwise(spans):
        if low < high:
            yield f"bins {first!r} and {second!r} overlap from {low:g} to {high:g} - at `{path}`"


def _twice(names: Iterable[str], what: str, path: str) -> Iterator[str]:
    for name, times in Counter(names).items():
        if times > 1:
            yield f"{what} {name!r} is used {times} times - at `{path}`"


def _bands(scorecard: Scorecard) -> Iterator[str]:
    starts = [band.at for band in scorecard.bands]
    if starts != sorted(set(starts)):
        yield "bands must rise: each `from` above the one before - at `$.bands`"
    outcomes = [band.outcome for band in scorecard.bands]
    if outcomes != sorted(outcomes, reverse=True):
        yield "a block band must not lie below a review band - at `$.bands`"


def _lists(scorecard: Scorecard) -> Iterator[str]:
    yield from _twice((entry.code for entry in scorecard.lists), "code", "$.lists")
    for n, entry in enumerate(scorecard.lists):
        if entry.until is not None and entry.until.tzinfo is not UTC:
            yield f"until {entry.until.isoformat()} is not in UTC - at `$.lists[{n}].until`"
    same = Counter((entry.effect, entry.entity, entry.value) for entry in scorecard.lists)
    for (effect, entity, value), times in same.items():
        if times > 1:
            yield f"{entity} {value!r} stands {times} times on the {effect} list - at `$.lists`"
    yield from _twice((snooze.customer_id for snooze in scorecard.snoozes), "customer_id", "$.snoozes")
    for n, snooze in enumerate(scorecard.snoozes):
        if snooze.until.tzinfo is not UTC:
            yield f"until {snooze.until.isoformat()} is not in UTC - at `$.snoozes[{n}].until`"


def _low(one: Bin) -> float:
    return -inf if one.low is None else one.low


def _high(one: Bin) -> float:
    return inf if one.high is None else one.high
