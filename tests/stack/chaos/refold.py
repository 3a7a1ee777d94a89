"""Folds every hop's topic again, in offset order, with the kernel alone: what must lie on the topics after it.

Which scorecards judge an order is not asked of the clock: its verdict names them, and they are taken at its word
(:mod:`tests.stack.chaos.panels`). Whether they were the ones to judge is a question of its own.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from order_fraud.events import BadEvent, encode
from order_fraud.history import EXPIRY_MS, pack, unpack
from order_fraud.judge import Panel
from order_fraud.relay import ROUTE, Hop, Relayed, Shelf, receive, step
from tests.stack.chaos.topics import Log, Record


class Output(NamedTuple):
    """A record that a hop must have written."""

    topic: str
    key: bytes | None
    value: bytes | None


@dataclass
class Fold:
    """What the kernel makes of the hop topics.

    Attributes:
        outputs: of each hop (its entity) and partition, in the order in which it must have written them, each
            with the time stamp that it must have: that of the record it came from.
        refused: (topic, partition, offset) to the reason.
        histories: of each hop and partition.
    """

    outputs: dict[tuple[str, int], list[tuple[Output, int | None]]] = field(default_factory=lambda: defaultdict(list))
    refused: dict[tuple[str, int, int], str] = field(default_factory=dict)
    histories: dict[tuple[str, int], Shelf] = field(default_factory=dict)


PanelFor = Callable[[Relayed], Panel]
"""Gives the scorecards that judge an order; of what is no order, any will do."""


def fold(log: Log, panel_for: PanelFor) -> Fold:
    """Fold all hops."""
    done = Fold()
    for hop in ROUTE:
        for partition, records in groupby(log[hop.reads.name], key=lambda record: record.partition):
            _fold_one(done, hop, partition, records, panel_for)
    return done


def _fold_one(done: Fold, hop: Hop, partition: int, records: Iterable[Record], panel_for: PanelFor) -> None:
    shelf = done.histories[hop.entity, partition] = Shelf()
    outputs = done.outputs[hop.entity, partition]
    for record in records:
        try:
            event = receive(hop, record.key, record.value, record.appended)
            onward = step(hop, shelf, event, panel_for(event))
        except BadEvent as error:
            done.refused[hop.reads.name, partition, record.offset] = str(error)
            continue
        if onward is not None:
            value = encode(onward.event)
            outputs.append((Output(onward.topic.name, onward.key.encode(), value), record.appended))


def differing(done: Fold, log: Log, written: tuple[str, ...], foreign: str) -> list[str]:
    """Return what the stream wrote and the fold did not, or the other way round, byte for byte.

    Args:
        done: the fold.
        log: the topics.
        written: names of the topics that the hops write to.
        foreign: the header of records that the hops did not write.
    """
    expected = Counter(output for outputs in done.outputs.values() for output, _ in outputs)
    found = Counter(
        Output(topic, record.key, record.value)
        for topic in written
        for record in log[topic]
        if foreign not in record.headers
    )
    return [f"{one.topic}: not written, but follows from the log: {_show(one)}" for one in expected - found] + [
        f"{one.topic}: written, but does not follow from the log: {_show(one)}" for one in found - expected
    ]


def _show(output: Output) -> str:
    return f"key {output.key!r}, value {(output.value or b'')[:300]!r}"


def misplaced(done: Fold, log: Log, written: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return outputs of one hop and partition that overtook each other, and those with another record time.

    Feedback may be said twice in the same words; both come from one partition, so the first written is the first said.
    """
    places: dict[tuple[str, bytes | None], deque[Record]] = defaultdict(deque)
    for topic in written:
        for record in log[topic]:
            places[topic, record.value].append(record)
    overtaken, mistimed = [], []
    for (entity, _), outputs in done.outputs.items():
        last: dict[tuple[str, int], int] = {}
        for output, appended in outputs:
            found = places[output.topic, output.value]
            if not found:
                continue  # differing() says so
            record = found.popleft()
            where = f"{output.topic}[{record.partition}]@{record.offset}"
            before = last.get((output.topic, record.partition), -1)
            if record.offset <= before:
                overtaken.append(f"{where} comes before @{before}, which the {entity} hop gave earlier")
            last[output.topic, record.partition] = record.offset
            if record.appended != appended:
                mistimed.append(f"{where} has the time stamp {record.appended}, the record it came from {appended}")
    return overtaken, mistimed


def histories_differing(done: Fold, log: Log) -> Iterator[str]:
    """Yield entities whose last changelog record is not the history that the log gives.

    An entity that counts as forgotten (400 days behind the partition's latest event) may be dropped or not yet.
    """
    for hop in ROUTE:
        kept: dict[int, dict[bytes, bytes | None]] = defaultdict(dict)
        for record in log[hop.changelog.name]:
            kept[record.partition][record.key or b""] = record.value
        partitions = kept.keys() | {partition for entity, partition in done.histories if entity == hop.entity}
        for partition in sorted(partitions):
            shelf = done.histories.get((hop.entity, partition), Shelf())
            for entity_id, history in shelf.items():
                found = kept[partition].pop(entity_id.encode(), None)
                forgotten = shelf.latest - history.seen_at > EXPIRY_MS
                if found != pack(history) and not (found is None and forgotten):
                    shown = None if found is None else unpack(found)
                    yield f"{hop.changelog.name}[{partition}] {entity_id}: {shown} instead of {history}"
            for key, value in kept[partition].items():
                if value is not None:
                    yield f"{hop.changelog.name}[{partition}] {key!r}: the log knows no such entity"
