"""What changes from one scorecard to another, in plain words, for those who are asked to say yes to it."""

from collections.abc import Callable, Iterable, Iterator

from order_fraud.judge import plain
from order_fraud.scorecard import Band, Bin, Condition, Line, ListEntry, Rule, Scorecard, Snooze


def differences(before: Scorecard, after: Scorecard) -> list[str]:
    """Return a sentence for each change that can change a judgement or its reasons; empty if there is none.

    Version, owner and reason of the scorecards themselves are no changes.
    """
    found = [
        *_lines(before.lines, after.lines),
        *_by_name(before.rules, after.rules, lambda rule: f"rule {rule.code}", _rule),
        *_bands(before.bands, after.bands),
        *_by_name(before.lists, after.lists, lambda entry: f"{entry.effect} list, {entry.code}", _entry),
        *_by_name(before.snoozes, after.snoozes, lambda one: f"snooze of customer {one.customer_id}", _snooze),
    ]
    if not found and _content(before) != _content(after):
        found.append(
            "order: the same lines, rules or entries in another order, so that reasons are told in another one"
        )
    return found


def _content(one: Scorecard) -> tuple[object, ...]:
    return one.lines, one.rules, one.bands, one.lists, one.snoozes


def _lines(before: Iterable[Line], after: Iterable[Line]) -> Iterator[str]:
    old, new = ({line.signal: line.bins for line in lines} for lines in (before, after))
    for signal in dict.fromkeys((*old, *new)):
        bins = old.get(signal, ()), new.get(signal, ())
        yield from (f"signal {signal}, {change}" for change in _by_name(*bins, lambda one: f"bin {one.code}", _bin))


def _by_name[T](
    before: Iterable[T], after: Iterable[T], name: Callable[[T], str], words: Callable[[T], list[str]]
) -> Iterator[str]:
    """Compare what has the same name word by word; say of the rest that it is new or gone."""
    old, new = ({name(one): one for one in ones} for ones in (before, after))
    for called, one in old.items():
        if called not in new:
            yield f"{called}: removed ({', '.join(words(one))})"
            continue
        pairs = zip(words(one), words(new[called]), strict=True)
        if changed := [f"{was} becomes {now}" for was, now in pairs if was != now]:
            yield f"{called}: {'; '.join(changed)}"
    for called, one in new.items():
        if called not in old:
            yield f"{called}: added ({', '.join(words(one))})"


def _bands(before: tuple[Band, ...], after: tuple[Band, ...]) -> Iterator[str]:
    if before != after:
        yield f"bands: {_all_bands(before)} becomes {_all_bands(after)}"


def _all_bands(bands: Iterable[Band]) -> str:
    return ", ".join(f"{band.outcome} from {band.at} points (priority {band.priority})" for band in bands)


def _bin(one: Bin) -> list[str]:
    return [f"{one.points} points", f"for {_range(one)}", f"“{one.text}”"]


def _rule(rule: Rule) -> list[str]:
    when = " and ".join(f"{condition.signal} {_range(condition)}" for condition in rule.when)
    return [rule.outcome, f"if {when}", f"“{rule.text}”"]


def _entry(entry: ListEntry) -> list[str]:
    until = "for ever" if entry.until is None else f"until {entry.until.isoformat()}"
    return [f"{entry.entity} {entry.value!r}", until, f"“{entry.reason}”", f"by {entry.owner}"]


def _snooze(snooze: Snooze) -> list[str]:
    return [f"until {snooze.until.isoformat()}", f"“{snooze.reason}”", f"by {snooze.owner}"]


def _range(one: Bin | Condition) -> str:
    if one.low is None and one.high is None:
        return "any value"
    if one.high is None:
        return f"{_number(one.low)} or more"
    if one.low is None:
        return f"less than {_number(one.high)}"
    return f"{_number(one.low)} to below {_number(one.high)}"


def _number(value: float | None) -> str:
    """Write a bound so that two that differ look different: more digits than in a sentence, if it has them."""
    shown = plain(value or 0.0)
    return shown if float(shown.replace(",", "")) == (value or 0.0) else repr(value)
