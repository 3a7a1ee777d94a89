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
from lake.reconcile import facts, quick, sayings
from lake.reconcile.digests import Archived, Keys
from lake.reconcile.panels import Panels, panels_of
from lake.reconcile.read import Lake
from lake.reconcile.refold import Refused
from order_fraud import topics
from order_fraud.judge import Panel
from order_fraud.relay import ROUTE, Shelf

BATCH = 2048
"""Records in hand at a time, so few that their values stay in the processor's cache and the allocator's pools."""

HOPS = {hop.reads.name: hop for hop in ROUTE}
JUDGES = ("partition", "offset", "event_id", "subject", "day", "scorecard_version", "shadows")


@dataclass(slots=True)
class Wrong:
    """Outputs for one topic that the archive does not hold byte for byte, with the offsets of their inputs."""

    event_id: list[str] = field(default_factory=list)
    value: list[str] = field(default_factory=list)
    read: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Folded:
    """The outcome of one (hop, partition).

    Attributes:
        records: inputs folded, refused ones included.
        passed: how many went on.
        wrong: those that are not archived so, by topic in the order in which each was first written to.
        answered: offset of the last input whose output is archived just so, -1 if there is none.
        hits: by target topic and partition, a bit per row of its digests: whether an output is equal to it.
        refused: inputs that led to nothing.
        seconds: how long it took.
    """

    partition: int
    records: int = 0
    passed: int = 0
    wrong: dict[str, Wrong] = field(default_factory=dict)
    answered: int = -1
    hits: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    seconds: float = 0.0


def open_facts(lake: Lake, topic: str, partition: int, folder: Path) -> int:
    """Write the facts of customer.events or delivery.events to ``folder``, and return how many records there are."""
    count = 0
    opened: dict[str, list[pl.DataFrame]] = {name: [] for name in FACTS[topic]}
    for batch in lake.stream(topic, COLUMNS, partition, 8 * BATCH):
        count += batch.height
        for name, of in FACTS[topic].items():
            opened[name].append(of(batch))
    for name, frames in opened.items():
        write(pl.concat(frames), folder, name, partition)
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


def open_verdicts(lake: Lake, partition: int, keys: Keys, folder: Path) -> int:
    """Write facts, judges and digests of a partition of fraud.verdicts to ``folder``; return how many records."""
    columns = dict.fromkeys((*facts.ARCHIVE_COLUMNS, "event_id", "subject"))
    opened, judges, digests, offsets = [], [], [], []
    for batch in lake.stream(topics.FRAUD_VERDICTS.name, tuple(columns), partition, BATCH):
        said, by = sayings.opened(batch)
        opened.append(said)
        judges.append(by)
        digests.append(keys.of(batch["event_id"], batch["value"]))
        offsets.append(batch["offset"].to_numpy())
    write(pl.concat(opened), folder, "verdicts", partition)
    write(pl.concat(judges).select(JUDGES), folder, "judges", partition)
    made = Archived.of(partition, digests, offsets)
    _put(folder, topics.FRAUD_VERDICTS.name, made)
    return made.rows.shape[1]


def digest(lake: Lake, topic: str, partition: int, keys: Keys, folder: Path) -> None:
    """Put the digests of one partition into ``folder``, without folding it."""
    digests, offsets = [], []
    for batch in lake.stream(topic, ("offset", "event_id", "value"), partition, BATCH):
        digests.append(keys.of(batch["event_id"], batch["value"]))
        offsets.append(batch["offset"].to_numpy())
    _put(folder, topic, Archived.of(partition, digests, offsets))


def _put(folder: Path, topic: str, made: Archived) -> None:
    """Put digests where :func:`archived` finds them; another worker may look at this very moment."""
    file = digest_file(folder, topic, made.partition)
    fresh = file.with_suffix(".new")
    with fresh.open("wb") as stream:
        np.save(stream, made.rows)
    fresh.replace(file)


def fold(lake: Lake, topic: str, partition: int, keys: Keys, bundled: Panel, folder: Path) -> Folded:
    """Fold one partition of the topic that a hop reads, and compare with the archive what must have gone on.

    The digests of all topics that come after must lie in ``folder`` already; those of this one are put there, unless
    they are there.
    """
    started = monotonic()
    hop, folded, histories = HOPS[topic], Folded(partition), Shelf()
    panels = _panels(lake, bundled, folder)
    targets: dict[str, _Target] = {}
    digests, offsets = [], []
    digesting = not hop.first and not digest_file(folder, topic, partition).exists()
    columns = ("offset", "timestamp", "key", "event_id", "subject", "value")
    for batch in lake.stream(topic, columns, partition, BATCH):
        folded.records += batch.height
        if digesting:
            digests.append(keys.of(batch["event_id"], batch["value"]))
            offsets.append(batch["offset"].to_numpy())
        outputs = quick.refold(hop, partition, histories, _records(batch), panels, folded.refused)
        for target, passed in _by_topic(outputs).items():
            if target not in targets:
                targets[target] = _Target(folder, target)
            _compare(folded, targets[target], passed, keys)
    if digesting:
        _put(folder, topic, Archived.of(partition, digests, offsets))
    for target in targets.values():
        folded.hits |= {(target.topic, number): np.packbits(hit) for number, hit in target.hits.items()}
    folded.seconds = monotonic() - started
    return folded


class _Target:
    """The digests of a topic, and which of them have been met."""

    def __init__(self, folder: Path, topic: str) -> None:
        self.topic = topic
        self.archived = archived(folder, topic)
        self.hits = {one.partition: np.zeros(one.rows.shape[1], bool) for one in self.archived}


def _compare(folded: Folded, target: _Target, passed: Sequence[quick.Passed], keys: Keys) -> None:
    _, event_ids, values, reads = zip(*passed, strict=True)
    digests = keys.of(pl.Series(event_ids, dtype=pl.String), pl.Series(values, dtype=pl.Binary))
    missing = np.arange(len(values))
    for one in target.archived:
        place = one.find(digests[:, missing])
        target.hits[one.partition][place[place >= 0]] = True
        missing = missing[place < 0]
        if not missing.size:
            break
    folded.passed += len(values)
    wrong = folded.wrong.setdefault(target.topic, Wrong())
    for at in missing.tolist():
        wrong.event_id.append(event_ids[at])
        wrong.value.append(quick.exact(values[at]).decode())
        wrong.read.append(reads[at])
    if missing.size < len(values):
        unequal = set(missing.tolist())
        last = next(at for at in range(len(values) - 1, -1, -1) if at not in unequal)
        folded.answered = max(folded.answered, reads[last])


def _records(batch: pl.DataFrame) -> Iterator[quick.Record]:
    return zip(
        batch["offset"].to_list(),
        batch["timestamp"].dt.epoch("ms").to_list(),
        batch["key"].to_list(),
        batch["event_id"].to_list(),
        batch["subject"].to_list(),
        batch["value"].cast(pl.Binary).to_list(),
        strict=True,
    )


def _by_topic(outputs: Iterator[quick.Passed]) -> Mapping[str, list[quick.Passed]]:
    parted: dict[str, list[quick.Passed]] = {}
    for output in outputs:
        parted.setdefault(output[0], []).append(output)
    return parted


def archived(folder: Path, topic: str) -> list[Archived]:
    """Return the digests of all partitions of a topic that lie in ``folder``."""
    files = sorted(folder.glob(f"{topic}.*.npy"))
    return [Archived(int(file.suffixes[-2][1:]), np.load(file, mmap_mode="r")) for file in files]


def digest_file(folder: Path, topic: str, partition: int) -> Path:
    """Return where the digests of a partition lie."""
    return folder / f"{topic}.{partition}.npy"


def write(frame: pl.DataFrame, folder: Path, name: str, partition: int) -> None:
    """Put facts of a partition where :func:`read` finds them."""
    frame.write_ipc(folder / f"{name}.{partition}.arrow", compression="zstd")


def read(folder: Path, name: str, columns: Sequence[str] | None = None) -> pl.DataFrame | None:
    """Return facts of all partitions, one after the other; None if no partition has any."""
    files = sorted(folder.glob(f"{name}.*.arrow"), key=lambda file: int(file.suffixes[-2][1:]))
    parts = [pl.read_ipc(file, columns=columns, memory_map=False) for file in files]
    return pl.concat(parts) if parts else None


EXCEPTIONS = "exceptions"
_known: dict[Path, Panels] = {}


def _panels(lake: Lake, bundled: Panel, folder: Path) -> Panels:
    """Return who judged each order; the parent has put aside in ``folder`` whom others than the usual panel judged."""
    if folder not in _known:
        exceptions = read(folder, EXCEPTIONS)
        assert exceptions is not None  # noqa: S101 - for the type checker: the parent writes it, if only empty
        _known[folder] = panels_of(lake.policies(bundled), exceptions)
    return _known[folder]
