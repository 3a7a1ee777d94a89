"""The comparison of :mod:`lake.reconcile.parity` in several processes, for more than fits into one.

Each (hop, partition) is folded on its own, so the partitions are shared out. The hops are worked off from the last to
the first: when one is folded, the digests of every topic that it writes to are there, because they fell off when those
topics were read as inputs. Each value is thus read and unpacked once.

1. Verdicts, deliveries, orders: facts and digests, partition by partition.
2. Who judged each order.
3. The hops, last first.
4. What the archive does not hold byte for byte, and what nothing leads to, is read again in full and put into words by
   the code that also does so in one process.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from lake import labels
from lake.reconcile import facts, shards
from lake.reconcile.carried import Carried, Ledger, Unmet, Wrong
from lake.reconcile.digests import Archived, Keys
from lake.reconcile.facts import Facts
from lake.reconcile.panels import Panels, panels_of
from lake.reconcile.parity import (
    TARGET,
    TARGETS,
    Disagreement,
    HopParity,
    Parity,
    Target,
    conclude,
    settle,
    unexplained,
)
from lake.reconcile.pool import Part, Pool
from lake.reconcile.read import Lake
from lake.reconcile.refold import Refused
from lake.reconcile.shards import Folded, Since
from order_fraud.judge import Panel
from order_fraud.relay import ROUTE, Hop
from order_fraud.topics import CUSTOMER_EVENTS, DELIVERY_EVENTS, FRAUD_VERDICTS

log = logging.getLogger(__name__)

WORTH = 50_000
"""Records of customer.events from which the processes earn what it costs to start them."""


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


class Unfit(Exception):
    """What an earlier run left cannot be gone on from; the message says why. Folding everything is right."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a comparison begins: at the very start, or where an earlier one stopped.

    Attributes:
        since: how far that one had read.
        ledger: what it left.
        keys: of the digests that it left.
    """

    since: Since = field(default_factory=Since)
    ledger: Ledger = field(default_factory=Ledger)
    keys: Keys = field(default_factory=Keys)


@dataclass(frozen=True)
class Compared:
    """What a comparison brought to light, and what it leaves behind.

    Attributes:
        ledger: for the next run, beside the files that it needs.
        start: where it began.
    """

    parity: Parity
    facts: Facts
    panels: Panels
    ledger: Ledger
    start: Start


def compare(
    lake: Lake,
    bundled: Panel,
    first: date,
    last: date,
    workers: int,
    *,
    folder: Path | None = None,
    start: Start | None = None,
) -> Compared:
    """Return what :func:`lake.reconcile.parity.compare`, :meth:`Lake.facts` and
    :func:`lake.reconcile.parity.read_panels` return, by several processes.

    Args:
        lake: pinned; the workers read the same snapshots.
        bundled: judges until the archive says otherwise.
        first, last: business days, both included.
        workers: how many processes beside this one.
        folder: where to put, and leave, all that the next run can go on from; None leaves nothing.
        start: what an earlier run left, whose files lie in ``folder``; None folds everything.

    Raises:
        Unfit: see there.
        WorkerDied, WorkerFailed: see :class:`lake.reconcile.pool.Pool`.
    """
    start = start or Start()
    with tempfile.TemporaryDirectory(prefix="reconcile-") as name:
        at = folder or Path(name)
        run = _Run(lake, bundled, at, workers, start, keep=folder is not None)
        with Pool(workers) as pool:
            run.work(pool)
            records = run.records(pool)
        findings = _Findings(lake, at, run.folds, start, records)
        parity = findings.parity(run.panels, first, last)
        ledger = Ledger(run.carried(), findings.unmet)
        return Compared(parity, _facts(lake, at), run.panels, ledger, start)


JUDGED = "who judged"


class _Run:
    """What the worker processes do, and what must be done before what.

    Attributes:
        folds: the outcomes by hop, in the order of the partitions.
        panels: who judged each order.
    """

    panels: Panels

    def __init__(self, lake: Lake, bundled: Panel, folder: Path, workers: int, start: Start, *, keep: bool) -> None:
        self._lake, self._bundled, self._folder, self._keep = lake, bundled, folder, keep
        self._keys, self._since, self._ledger = start.keys, start.since, start.ledger
        self._rows = {
            topic: lake.partitions(topic, start.since.ends.get(topic))
            for topic in dict.fromkeys((*TARGETS, CUSTOMER_EVENTS.name, DELIVERY_EVENTS.name))
        }
        # One partition of a topic may hold most of it (a mail domain that everybody has). Whoever needs its digests
        # then does not wait until it is folded: they are made beforehand.
        self._heavy = {
            topic: {partition for partition, count in rows.items() if count * workers > sum(rows.values())}
            for topic, rows in self._rows.items()
            if len(rows) > 1
        }
        self.folds: dict[str, list[Folded]] = {hop.entity: [] for hop in ROUTE}

    def work(self, pool: Pool) -> None:
        verdicts = self._verdicts()
        there: set[str] = set()
        missing = {part.gives for part in verdicts}
        if not missing:
            self._judges()
            there.add(JUDGED)
        for part, answer in pool.run([*verdicts, *self._hops(), *self._open()], there):
            if isinstance(answer, Folded):
                self._folded(answer, str(part.arguments[1]))
            elif part.gives in missing:
                missing.discard(part.gives)
                if not missing:
                    self._judges()
                    there.add(JUDGED)
        for folds in self.folds.values():
            folds.sort(key=lambda folded: folded.partition)

    def records(self, pool: Pool) -> dict[str, pl.DataFrame]:
        """Return the archived records of all events that did not come out so, by topic, in full.

        The workers look for them, a batch at a time: a scan with a filter has whole files in memory.
        """
        wanted = {topic: pl.DataFrame({"event_id": sorted(ids)}) for topic, ids in _wrong_ids(self.folds).items()}
        parts = [
            Part(Lake.some, (self._lake, topic, partition, TARGET, event_ids))
            for topic, event_ids in wanted.items()
            for partition in self._lake.partitions(topic)
        ]
        found = {topic: [pl.DataFrame(schema=TARGET)] for topic in wanted}
        for part, rows in pool.run(parts, set()):
            found[str(part.arguments[1])].append(rows)
        return {topic: pl.concat(rows).sort("partition", "offset") for topic, rows in found.items()}

    def carried(self) -> dict[str, dict[int, Carried]]:
        """Return what each (hop, partition) leaves behind, by topic."""
        return {
            hop.reads.name: {folded.partition: folded.carried() for folded in self.folds[hop.entity]} for hop in ROUTE
        }

    def _folded(self, folded: Folded, topic: str) -> None:
        self.folds[shards.HOPS[topic].entity].append(folded)
        words = "%s, partition %d: %d records re-folded in %.1f s"
        new = folded.records - self._ledger.of(topic, folded.partition).records
        log.info(words, topic, folded.partition, new, folded.seconds)

    def _verdicts(self) -> list[Part]:
        topic = FRAUD_VERDICTS.name
        common = (self._keys, self._folder, self._since)
        return [
            Part(shards.open_verdicts, (self._lake, partition, *common), _digests(topic, partition))
            for partition in self._large_first(topic)
        ]

    def _hops(self) -> list[Part]:
        parts: list[Part] = []
        needed = {JUDGED, *(part.gives for part in self._verdicts())}
        for hop in reversed(ROUTE):
            topic = hop.reads.name
            needs, heavy = frozenset(needed), self._heavy.get(topic, set())
            common = (self._lake, topic)
            for partition in () if hop.first else sorted(heavy):
                digests = (*common, partition, self._keys, self._folder, self._since)
                parts.append(Part(shards.digest, digests, _digests(topic, partition)))
            old = sorted(self._ledger.folds.get(topic, {}).keys() - self._rows[topic].keys())
            for partition in (*self._large_first(topic), *old):
                gives = f"{topic}/{partition} folded" if partition in heavy else _digests(topic, partition)
                where = (*common, partition, self._keys, self._bundled, self._folder)
                arguments = (*where, self._since, self._ledger.of(topic, partition), self._keep)
                parts.append(Part(shards.fold, arguments, gives, needs))
                needed.add(_digests(topic, partition))
        return parts

    def _open(self) -> list[Part]:
        """Nobody waits for these, so they fill the gaps."""
        return [
            Part(shards.open_facts, (self._lake, topic, partition, self._folder, self._since))
            for topic in (CUSTOMER_EVENTS.name, DELIVERY_EVENTS.name)
            for partition in self._large_first(topic)
        ]

    def _large_first(self, topic: str) -> list[int]:
        rows = self._rows[topic]
        return sorted(rows, key=lambda partition: -rows[partition])

    def _judges(self) -> None:
        """See who judged each order, and let the workers know whom others than the usual panel judged."""
        known = self._lake.policies(self._bundled)
        columns = ("subject", "partition", "offset", "scorecard_version", "shadows")
        judges = shards.read(self._folder, "judges", columns)
        if judges is None:
            judges = pl.DataFrame(schema=dict.fromkeys(columns, pl.String()) | {"shadows": pl.List(pl.String)})
        self._same_judges(judges)
        shadows = [judge.version for judge in known.panel.shadows]
        usual = (pl.col("scorecard_version") == known.panel.active.version) & (
            pl.col("shadows").list.join("\n") == "\n".join(shadows)
        )
        exceptions = _first(judges).filter(~usual.fill_null(False))
        shards.write(exceptions, self._folder, shards.EXCEPTIONS, 0, 0)
        self.panels = panels_of(known, exceptions)

    def _same_judges(self, judges: pl.DataFrame) -> None:
        """See that nobody else judged an order that an earlier run has seen judged: its first verdict counts.

        Raises:
            Unfit: a verdict has landed that comes before the first known one: two customers share an order id.
        """
        ends = self._since.ends.get(FRAUD_VERDICTS.name)
        if not ends:
            return
        known = pl.DataFrame(list(ends.items()), {"partition": pl.Int32, "end": pl.Int64}, orient="row")
        told = judges.join(known, on="partition", how="left").with_columns(new=pl.col("offset") > pl.col("end"))
        told = told.with_columns(pl.col("new").fill_null(True))
        again = told.join(told.filter("new").select("subject"), on="subject", how="semi")
        before, now = _first(again.filter(~pl.col("new"))), _first(again)
        other = now.filter("new").join(before, on="subject", how="semi")
        if not other.is_empty():
            raise Unfit(f"a verdict on order {other['subject'][0]} has landed that comes before the one known so far")


def _first(judges: pl.DataFrame) -> pl.DataFrame:
    """Return the first verdict on each order."""
    return judges.sort("partition", "offset").unique("subject", keep="first", maintain_order=True)


def _digests(topic: str, partition: int) -> str:
    return f"digests of {topic}/{partition}"


class _Findings:
    """From digests that are not equal to disagreements in words.

    Attributes:
        unmet: where records stand that are equal to no output; filled by :meth:`parity`.
    """

    def __init__(
        self,
        lake: Lake,
        folder: Path,
        folds: Mapping[str, list[Folded]],
        start: Start,
        records: Mapping[str, pl.DataFrame],
    ) -> None:
        self._lake, self._folder, self._folds = lake, folder, folds
        self._start, self._records = start, records
        self._wrong_ids = _wrong_ids(folds)
        self.unmet: Unmet = {}

    def parity(self, panels: Panels, first: date, last: date) -> Parity:
        targets = {topic: Target(topic, rows) for topic, rows in self._records.items()}
        disagreements: list[Disagreement] = []
        refused: list[Refused] = []
        hops: list[HopParity] = []
        for hop in ROUTE:
            folds = self._folds[hop.entity]
            wrong = [one for folded in folds for one in self._check(hop, folded, targets)]
            disagreements += wrong
            refused += [one for folded in folds for one in folded.refused]
            passed = sum(folded.passed for folded in folds)
            hops.append(
                HopParity(
                    hop.entity,
                    hop.reads.name,
                    sum(folded.records for folded in folds),
                    sum(len(folded.refused) for folded in folds),
                    passed,
                    passed - len(wrong),
                    sum(folded.seconds for folded in folds),
                )
            )
            log.info("%s hop: %d of %d outputs come out again, byte for byte", hop.entity, hops[-1].equal, passed)
        for topic in TARGETS:
            disagreements += self._unexplained(topic)
        return conclude(disagreements, refused, hops, self._verdicts(first, last), panels)

    def _all(self) -> Iterator[Folded]:
        return (folded for folds in self._folds.values() for folded in folds)

    @staticmethod
    def _check(hop: Hop, folded: Folded, targets: Mapping[str, Target]) -> list[Disagreement]:
        wrong = [
            one
            for topic, unequal in folded.wrong.items()
            if unequal.event_id
            for one in targets[topic].explain(hop, folded.partition, _frame(unequal))
        ]
        unequal_reads = (at for unequal in folded.wrong.values() for at in unequal.read)
        return settle(wrong, (folded.answered, *unequal_reads))

    def _unexplained(self, topic: str) -> Iterator[Disagreement]:
        """Yield archived events to which nothing led.

        A record that is equal to an output is explained, and so is every other of the same event. Usually that is all
        of them, and nothing need be read.
        """
        digests = shards.archived(self._folder, topic)
        met = self._met(topic, digests)
        self.unmet[topic] = unmet = _places(digests, met)
        if not unmet:
            return
        columns = ("event_id", "subject", "partition", "offset")
        rows = self._lake.records_at(topic, columns, unmet)
        rows = rows.filter(~pl.col("event_id").is_in(list(self._wrong_ids.get(topic, ()))))
        if rows.is_empty():
            return
        # Another record of the same event may be equal to an output.
        others = self._lake.archive(topic, ("event_id", "partition", "offset"))
        others = others.join(rows, on="event_id", how="semi")
        nothing = pl.DataFrame(unmet, {"partition": pl.Int32, "offset": pl.Int64}, orient="row")
        explained = others.join(nothing, on=["partition", "offset"], how="anti")
        for row in rows.join(explained, on="event_id", how="anti").sort("partition", "offset").iter_rows(named=True):
            yield unexplained(topic, row)

    def _met(self, topic: str, digests: Sequence[Archived]) -> list[np.ndarray]:
        """Return for each part of the archive which of its rows are equal to an output."""
        before = self._start.ledger.unmet.get(topic, [])
        met = []
        for one in digests:
            bits = np.zeros(one.rows.shape[1], bool)
            if one.number < self._start.since.number:
                left = [offset for partition, offset in before if partition == one.partition]
                bits = ~np.isin(one.rows[2], np.array(left, np.uint64))
            for folded in self._all():
                hits = folded.hits.get((topic, one.partition, one.number))
                if hits is not None:
                    bits |= np.unpackbits(hits, count=bits.size).astype(bool)
            met.append(bits)
        # Of several equal records only one was met, and speaks for all.
        for one, bits in zip(digests, met, strict=True):
            left = np.flatnonzero(~bits)
            for other, its in zip(digests, met, strict=True) if left.size else ():
                place = other.find(one.rows[:2, left])
                bits[left[(place >= 0) & its[place]]] = True
        return met

    def _verdicts(self, first: date, last: date) -> pl.DataFrame:
        judges = shards.read(self._folder, "judges", ("event_id", "day", "scorecard_version"))
        if judges is None:
            return pl.DataFrame(schema={"event_id": pl.String, "scorecard_version": pl.String})
        return judges.filter(pl.col("day").is_between(first, last)).drop("day")


def _wrong_ids(folds: Mapping[str, list[Folded]]) -> dict[str, set[str]]:
    """Return the ids of all outputs that are not archived so, by the topic that they go to; none without any."""
    found: dict[str, set[str]] = {}
    for folded in (folded for its in folds.values() for folded in its):
        for topic, wrong in folded.wrong.items():
            if wrong.event_id:
                found.setdefault(topic, set()).update(wrong.event_id)
    return found


def _frame(wrong: Wrong) -> pl.DataFrame:
    return pl.DataFrame(
        {"event_id": wrong.event_id, "value": wrong.value, "read": wrong.read},
        schema={"event_id": pl.String, "value": pl.String, "read": pl.Int64},
    )


def _places(digests: Sequence[Archived], met: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Return partition and offset of all rows that are not met."""
    return [
        (one.partition, int(offset))
        for one, bits in zip(digests, met, strict=True)
        for offset in np.sort(one.rows[2][~bits])
    ]


def _facts(lake: Lake, folder: Path) -> Facts:
    """Return the facts of all systems; the parts of each archived topic are put together again."""

    def together(name: str, topic: str, empty: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
        parts = shards.read(folder, name)
        # With no record at all there is no part: an empty archive has the columns.
        return empty(lake.archive(topic, shards.COLUMNS)) if parts is None else parts

    streamed = together("streamed", CUSTOMER_EVENTS.name, facts.streamed)
    return lake.facts_with(
        streamed=streamed.unique("order_id", keep="first", maintain_order=True),
        sign_ups=together("sign_ups", CUSTOMER_EVENTS.name, facts.sign_ups).unique("customer_id", keep="first"),
        words=labels.words(together("said", CUSTOMER_EVENTS.name, shards.said)),
        verdicts=together("verdicts", FRAUD_VERDICTS.name, facts.verdicts),
        deliveries=together("deliveries", DELIVERY_EVENTS.name, facts.deliveries),
        alarms=together("alarms", DELIVERY_EVENTS.name, facts.alarms),
    )
