"""What a worker process does with one partition: everything that needs the records' values.

Values are read batch by batch, once, and stay here. What leaves is narrow: digests, facts, counts, and in full only
what the archive does not hold byte for byte.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import numpy as np
import polars as pl

from lake import labels
from lake.reconcile import facts, histories, quick, sayings
from lake.reconcile.carried import Carried, Wrong, again, orders_of
from lake.reconcile.digests import Archived, Keys
from lake.reconcile.histories import parts
from lake.reconcile.panels import Panels, panels_of
from lake.reconcile.read import Lake
from lake.reconcile.refold import Refused
from order_fraud import topics
from order_fraud.judge import Panel
from order_fraud.relay import ROUTE

BATCH = 2048
"""Records in hand at a time, so few that their values stay in the processor's cache and the allocator's pools."""

HOPS = {hop.reads.name: hop for hop in ROUTE}
JUDGES = ("partition", "offset", "event_id", "subject", "day", "scorecard_version", "shadows")


@dataclass(frozen=True, slots=True)
class Since:
    """Where a run goes on.

    Attributes:
        number: how many runs there were since the last one that folded everything; this one's files bear it.
        ends: by topic and partition, the last offset that those have read.
    """

    number: int = 0
    ends: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def after(self, topic: str, partition: int) -> int:
        """Return the last offset that was read, -1 if none was."""
        return self.ends.get(topic, {}).get(partition, -1)


@dataclass(slots=True)
class Folded:
    """The outcome of one (hop, partition).

    Attributes:
        records: inputs folded, refused ones included.
        passed: how many went on.
        wrong: those that are not archived so, by topic in the order in which each was first written to.
        answered: offset of the last input whose output is archived just so, -1 if there is none.
        hits: by target topic, partition and number of the run, a bit per row of those digests: whether an output is
            equal to it.
        refused: inputs that led to nothing.
        latest: the latest event time that the hop has accepted.
        seconds: how long it took.
    """

    partition: int
    records: int = 0
    passed: int = 0
    wrong: dict[str, Wrong] = field(default_factory=dict)
    answered: int = -1
    hits: dict[tuple[str, int, int], np.ndarray] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    latest: int = 0
    seconds: float = 0.0

    def carried(self) -> Carried:
        """Return what the next fold of this partition needs to know of this one."""
        equal = self.passed - sum(len(wrong.read) for wrong in self.wrong.values())
        return Carried(self.latest, self.records, equal, self.answered, self.wrong, self.refused)


def open_facts(lake: Lake, topic: str, partition: int, folder: Path, since: Since) -> int:
    """Write the facts of customer.events or delivery.events to ``folder``, and return how many records there are."""
    count = 0
    opened: dict[str, list[pl.DataFrame]] = {name: [] for name in FACTS[topic]}
    for batch in lake.stream(topic, COLUMNS, partition, 8 * BATCH, since.after(topic, partition)):
        count += batch.height
        for name, of in FACTS[topic].items():
            opened[name].append(of(batch))
    for name, frames in opened.items():
        write(pl.concat(frames), folder, name, partition, since.number)
    return count


def said(customer_events: pl.DataFrame) -> pl.DataFrame:
    """Return the records that say what an order turned out to be. Few do, and only all together are they words."""
    return customer_events.filter(pl.col("type").is_in(list(labels.WORDS))).select(labels.COLUMNS)


COLUMNS = tuple(dict.fromkeys((*facts.ARCHIVE_COLUMNS, *facts.SIGN_UP_COLUMNS, *labels.COLUMNS)))
"""The columns that ``FACTS`` are made of."""

FACTS: Mapping[str, Mapping[str, Callable[[pl.DataFrame], pl.DataFrame]]] = {
    topics.CUSTOMER_EVENTS.name: {"streamed": facts.streamed, "sign_ups": facts.sign_ups, "said": said},
    topics.DELIVERY_EVENTS.name: {"deliveries": facts.deliveries, "alarms": facts.alarms},
}
"""Which facts an archived topic holds, by the name of their files."""


def open_verdicts(lake: Lake, partition: int, keys: Keys, folder: Path, since: Since) -> int:
    """Write facts, judges and digests of a partition of fraud.verdicts to ``folder``; return how many records."""
    columns = dict.fromkeys((*facts.ARCHIVE_COLUMNS, "event_id", "subject"))
    opened, judges, digests, offsets = [], [], [], []
    topic = topics.FRAUD_VERDICTS.name
    for batch in lake.stream(topic, tuple(columns), partition, BATCH, since.after(topic, partition)):
        said, by = sayings.opened(batch)
        opened.append(said)
        judges.append(by)
        digests.append(keys.of(batch["event_id"], batch["value"]))
        offsets.append(batch["offset"].to_numpy())
    write(pl.concat(opened), folder, "verdicts", partition, since.number)
    write(pl.concat(judges).select(JUDGES), folder, "judges", partition, since.number)
    made = Archived.of(partition, digests, offsets, since.number)
    _put(folder, topic, made)
    return made.rows.shape[1]


def digest(lake: Lake, topic: str, partition: int, keys: Keys, folder: Path, since: Since) -> None:
    """Put the digests of one partition into ``folder``, without folding it."""
    digests, offsets = [], []
    after = since.after(topic, partition)
    for batch in lake.stream(topic, ("offset", "event_id", "value"), partition, BATCH, after):
        digests.append(keys.of(batch["event_id"], batch["value"]))
        offsets.append(batch["offset"].to_numpy())
    _put(folder, topic, Archived.of(partition, digests, offsets, since.number))


def _put(folder: Path, topic: str, made: Archived) -> None:
    """Put digests where :func:`archived` finds them; another worker may look at this very moment."""
    file = digest_file(folder, topic, made.partition, made.number)
    fresh = file.with_suffix(".new")
    with fresh.open("wb") as stream:
        np.save(stream, made.rows)
    fresh.replace(file)


def fold(
    lake: Lake,
    topic: str,
    partition: int,
    keys: Keys,
    bundled: Panel,
    folder: Path,
    since: Since,
    carried: Carried,
    keep: bool,
) -> Folded:
    """Fold one partition of the topic that a hop reads, and compare with the archive what must have gone on.

    The digests of all topics that come after must lie in ``folder`` already; those of this one are put there, unless
    they are there.

    Args:
        carried: what the fold until ``since`` left behind; its histories lie in ``folder``.
        keep: whether to put the histories there for the next one.
    """
    started = monotonic()
    hop, after = HOPS[topic], since.after(topic, partition)
    folded = Folded(partition, carried.records, carried.equal, answered=carried.answered, refused=carried.refused)
    shelf = histories.of(lake, topic, partition, folder, after)
    shelf.latest = carried.latest
    panels = _panels(lake, bundled, folder)
    targets = _Targets(folder, folded, keys)
    for target, wrong in carried.wrong.items():
        folded.wrong[target] = Wrong()
        if wrong.read:
            inputs = dict(zip(wrong.read, map(str.encode, wrong.order), strict=True))
            targets.compare(target, list(again(target, wrong, panels)), inputs)
    digests, offsets = [], []
    digesting = not hop.first and not digest_file(folder, topic, partition, since.number).exists()
    columns = ("offset", "timestamp", "key", "event_id", "subject", "value")
    for batch in lake.stream(topic, columns, partition, BATCH, after):
        folded.records += batch.height
        if digesting:
            digests.append(keys.of(batch["event_id"], batch["value"]))
            offsets.append(batch["offset"].to_numpy())
        reads, values = batch["offset"].to_list(), batch["value"].cast(pl.Binary).to_list()
        outputs = quick.refold(hop, partition, shelf, _records(batch, reads, values), panels, folded.refused)
        by_topic = _by_topic(outputs)
        inputs = dict(zip(reads, values, strict=True)) if topics.FRAUD_VERDICTS.name in by_topic else {}
        for target, passed in by_topic.items():
            targets.compare(target, passed, inputs)
    if digesting and offsets:
        _put(folder, topic, Archived.of(partition, digests, offsets, since.number))
    folded.hits = targets.hits()
    if keep:
        histories.put(shelf, topic, partition, folder, since.number)
    folded.latest = shelf.latest
    folded.seconds = monotonic() - started
    return folded


class _Targets:
    """The topics that one partition's outputs go to, opened when the first one does."""

    def __init__(self, folder: Path, folded: Folded, keys: Keys) -> None:
        self._folder, self._folded, self._keys = folder, folded, keys
        self._opened: dict[str, _Target] = {}

    def compare(self, topic: str, passed: Sequence[quick.Passed], inputs: Mapping[int, bytes]) -> None:
        """Look for outputs in the archive; ``inputs`` are the records that led to verdicts, by offset."""
        if topic not in self._opened:
            self._opened[topic] = _Target(self._folder, topic)
        _compare(self._folded, self._opened[topic], passed, self._keys, inputs)

    def hits(self) -> dict[tuple[str, int, int], np.ndarray]:
        """Return what :class:`Folded` keeps of them."""
        return {
            (topic, *part): np.packbits(hit)
            for topic, opened in self._opened.items()
            for part, hit in opened.hits.items()
        }


class _Target:
    """The digests of a topic, what was read last first, and which of them have been met."""

    def __init__(self, folder: Path, topic: str) -> None:
        self.topic = topic
        self.archived = archived(folder, topic)[::-1]
        self.hits = {(one.partition, one.number): np.zeros(one.rows.shape[1], bool) for one in self.archived}

    def missing(self, keys: Keys, event_ids: Sequence[str], values: Sequence[bytes], asked: np.ndarray) -> np.ndarray:
        """Return which of the outputs asked for the archive does not hold byte for byte; take note of what it holds."""
        chosen = asked.tolist()
        digests = keys.of(
            pl.Series([event_ids[at] for at in chosen], dtype=pl.String),
            pl.Series([values[at] for at in chosen], dtype=pl.Binary),
        )
        left = np.arange(len(chosen))
        for one in self.archived:
            place = one.find(digests[:, left])
            self.hits[one.partition, one.number][place[place >= 0]] = True
            left = left[place < 0]
            if not left.size:
                break
        return asked[left]


def _compare(
    folded: Folded, target: _Target, passed: Sequence[quick.Passed], keys: Keys, inputs: Mapping[int, bytes]
) -> None:
    _, event_ids, values, reads = zip(*passed, strict=True)
    missing = target.missing(keys, event_ids, values, np.arange(len(values)))
    if missing.size:  # few: it costs nothing to go the long way, which a carried output has gone already
        values = list(values)
        for at in missing.tolist():
            values[at] = quick.exact(values[at])
        missing = target.missing(keys, event_ids, values, missing)
    folded.passed += len(values)
    wrong = folded.wrong.setdefault(target.topic, Wrong())
    for at in missing.tolist():
        wrong.event_id.append(event_ids[at])
        wrong.value.append(values[at].decode())
        wrong.read.append(reads[at])
    wrong.order += orders_of(target.topic, [reads[at] for at in missing.tolist()], inputs)
    if missing.size < len(values):
        unequal = set(missing.tolist())
        last = next(at for at in range(len(values) - 1, -1, -1) if at not in unequal)
        folded.answered = max(folded.answered, reads[last])


def _records(batch: pl.DataFrame, offsets: list[int], values: list[bytes]) -> Iterator[quick.Record]:
    return zip(
        offsets,
        batch["timestamp"].dt.epoch("ms").to_list(),
        batch["key"].to_list(),
        batch["event_id"].to_list(),
        batch["subject"].to_list(),
        values,
        strict=True,
    )


def _by_topic(outputs: Iterator[quick.Passed]) -> Mapping[str, list[quick.Passed]]:
    parted: dict[str, list[quick.Passed]] = {}
    for output in outputs:
        parted.setdefault(output[0], []).append(output)
    return parted


def archived(folder: Path, topic: str) -> list[Archived]:
    """Return the digests of all partitions of a topic that lie in ``folder``, by partition and number of the run."""
    return [
        Archived(partition, np.load(file, mmap_mode="r"), number)
        for partition, number, file in parts(folder, topic, "npy")
    ]


def digest_file(folder: Path, topic: str, partition: int, number: int) -> Path:
    """Return where the digests of a partition lie."""
    return folder / f"{topic}.{partition}.{number}.npy"


def write(frame: pl.DataFrame, folder: Path, name: str, partition: int, number: int) -> None:
    """Put facts of a partition where :func:`read` finds them."""
    frame.write_ipc(folder / f"{name}.{partition}.{number}.arrow", compression="zstd")


def read(folder: Path, name: str, columns: Sequence[str] | None = None) -> pl.DataFrame | None:
    """Return facts of all partitions, one after the other; None if no partition has any."""
    found = [pl.read_ipc(file, columns=columns, memory_map=False) for _, _, file in parts(folder, name, "arrow")]
    return pl.concat(found) if found else None


EXCEPTIONS = "exceptions"
_known: dict[Path, Panels] = {}


def _panels(lake: Lake, bundled: Panel, folder: Path) -> Panels:
    """Return who judged each order; the parent has put aside in ``folder`` whom others than the usual panel judged."""
    if folder not in _known:
        exceptions = read(folder, EXCEPTIONS)
        assert exceptions is not None  # noqa: S101 - for the type checker: the parent writes it, if only empty
        _known[folder] = panels_of(lake.policies(bundled), exceptions)
    return _known[folder]
