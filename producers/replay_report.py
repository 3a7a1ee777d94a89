"""What a replay found and did, counted and shown."""

import re
import time
from collections import Counter
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from order_fraud import events
from order_fraud.relay import ROUTE, receive
from order_fraud.topics import CUSTOMER_EVENTS, DEAD_LETTERS, TOPICS, Topic
from producers.replay_source import Found

SHOWN = 5
_BY_NAME: dict[str, Topic] = {topic.name: topic for topic in TOPICS}
_HOPS = {hop.reads.name: hop for hop in ROUTE}


@dataclass
class Tally:
    """What happened to the records that were selected.

    Attributes:
        going: by target and kind of reason.
        unusable: would be refused again, by kind of reason.
        before: were sent before.
        left_out: have no topic to go to, by what is wrong.
        first: the first of those that go.
    """

    going: Counter[tuple[str, str]] = field(default_factory=Counter)
    unusable: Counter[str] = field(default_factory=Counter)
    before: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    first: list[Found] = field(default_factory=list)


def harm(target: str | None, stands_on: str, *, allow_repeats: bool) -> str | None:
    """Return what harm it would do to send records of one topic to another, None if none is known."""
    topic = _BY_NAME.get(target or "")
    if topic is None or topic is CUSTOMER_EVENTS:
        return None
    if not topic.writers:
        return f"nothing can be sent to {topic.name}: it holds the services' own records"
    if stands_on != DEAD_LETTERS.name and not allow_repeats:
        return (
            f"the readers of {topic.name} would take what they have had before for something new, and orders would be "
            "judged or delivered twice. --allow-repeats if that is meant"
        )
    return None


def refusal(found: Found) -> list[str]:
    """Return why the readers of the target would refuse the record today, empty if they would not.

    A repeat is not among the reasons: only the target's history knows it.
    """
    target = _BY_NAME.get(found.target or "")
    try:
        if target is not None and target.name in _HOPS:
            receive(_HOPS[target.name], found.key, found.value, int(time.time() * 1000))
        elif target is not None and type(events.decode(found.value)) not in target.writers:
            return [f"no event of {target.name}"]
    except events.BadEvent as error:
        return [kind(str(error))]
    return []


def kind(reason: str | None) -> str:
    """Return a reason without the ids and numbers in it, so that the same reasons count as one."""
    return re.sub(r"'[^']*'|\S*/\S+|\d+", "…", reason or "")[:120]


def show(tally: Tally, done: str, screen: Console, *, examples: bool) -> None:
    """Print the counts, and the first records if asked for; ``done`` says what was done with them."""
    if tally.going:
        table = Table(title=f"{done}: {tally.going.total():,}", title_justify="left")
        for name in ("to", "refused before because", "records"):
            table.add_column(name, justify="right" if name == "records" else "left", overflow="fold")
        for (target, reason), times in tally.going.most_common():
            table.add_row(target, reason or "-", f"{times:,}")
        screen.print(table, markup=False)
    for one in tally.first if examples else []:
        shown = (one.value or b"")[:160].decode(errors="replace")
        say(screen, f"{one.place} -> {one.target}, key {one.key!r}: {one.reason or ''}\n    {shown}")
    for reason, times in tally.unusable.most_common():
        say(screen, f"would be refused again: {times:,} x {reason}")
    for reason, times in tally.left_out.most_common():
        say(screen, f"left out: {times:,} x {reason}")
    if tally.before:
        say(screen, f"sent before, so not again: {tally.before:,} (--again sends them once more)")


def say(screen: Console, line: str) -> None:
    """Print a line as it is, however long and whatever brackets it has."""
    screen.print(line, highlight=False, markup=False, soft_wrap=True)
