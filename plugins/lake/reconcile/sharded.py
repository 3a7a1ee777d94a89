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
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from lake import labels
from lake.reconcile import facts, shards
from lake.reconcile.digests import Keys
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
from lake.reconcile.shards import Folded, Wrong
from order_fraud.judge import Panel
from order_fraud.relay import ROUTE, Hop
from order_fraud.topics import CUSTOMER_EVENTS, DELIVERY_EVENTS, FRAUD_VERDICTS

log = logging.getLogger(__name__)

WORTH = 50_000
"""Records of customer.events from which the processes earn what it costs to start them."""
ASKED = 500
"""Event ids that one look into the lake names."""


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


def compare(lake: Lake, bundled: Panel, first: date, last: date, workers: int) -> tuple[Parity, Facts, Panels]:
    """Return what :func:`lake.reconcile.parity.compare`, :meth:`Lake.facts` and
    :func:`lake.reconcile.parity.read_panels` return, by several processes.

    Args:
        lake: pinned; the workers read the same snapshots.
        bundled: judges until the archive says otherwise.
        first, last: business days, both included.
        workers: how many processes beside this one.

    Raises:
        WorkerDied, WorkerFailed: see :class:`lake.reconcile.pool.Pool`.
    """
    with tempfile.TemporaryDirectory(prefix="reconcile-") as name:
        folder = Path(name)
        with Pool(workers) as pool:
            run = _Run(lake, bundled, folder, workers)
            run.work(pool)
        parity = _Findings(lake, folder, run.folds).parity(run.panels, first, last)
        return parity, _facts(lake, folder), run.panels


JUDGED = "who judged"


class _Run:
    """What the worker processes do, and what must be done before what.

    Attributes:
        folds: the outcomes by hop, in the order of the partitions.
        panels: who judged each order.
    """

    panels: Panels

    def __init__(self, lake: Lake, bundled: Panel, folder: Path, workers: int) -> None:
        self._lake, self._bundled, self._folder = lake, bundled, folder
        self._keys = Keys()
        self._rows = {
            topic: lake.partitions(topic)
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

    def _folded(self, folded: Folded, topic: str) -> None:
        self.folds[shards.HOPS[topic].entity].append(folded)
        words = "%s, partition %d: %d records re-folded in %.1f s"
        log.info(words, topic, folded.partition, folded.records, folded.seconds)

    def _verdicts(self) -> list[Part]:
        topic = FRAUD_VERDICTS.name
        return [
            Part(shards.open_verdicts, (self._lake, partition, self._keys, self._folder), _digests(topic, partition))
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
                digests = (*common, partition, self._keys, self._folder)
                parts.append(Part(shards.digest, digests, _digests(topic, partition)))
            for partition in self._large_first(topic):
                gives = f"{topic}/{partition} folded" if partition in heavy else _digests(topic, partition)
                arguments = (*common, partition, self._keys, self._bundled, self._folder)
                parts.append(Part(shards.fold, arguments, gives, needs))
                needed.add(_digests(topic, partition))
        return parts

    def _open(self) -> list[Part]:
        """Nobody waits for these, so they fill the gaps."""
        return [
            Part(shards.open_facts, (self._lake, topic, partition, self._folder))
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
        shadows = [judge.version for judge in known.panel.shadows]
        usual = (pl.col("scorecard_version") == known.panel.active.version) & (
            pl.col("shadows").list.join("\n") == "\n".join(shadows)
        )
        first = judges.sort("partition", "offset").unique("subject", keep="first", maintain_order=True)
        exceptions = first.filter(~usual.fill_null(False))
        shards.write(exceptions, self._folder, shards.EXCEPTIONS, 0)
        self.panels = panels_of(known, exceptions)


def _digests(topic: str, partition: int) -> str:
    return f"digests of {topic}/{partition}"


class _Findings:
    """From digests that are not equal to disagreements in words."""

    def __init__(self, lake: Lake, folder: Path, folds: Mapping[str, list[Folded]]) -> None:
        self._lake, self._folder, self._folds = lake, folder, folds
        self._wrong_ids: dict[str, set[str]] = {topic: set() for topic in TARGETS}

    def parity(self, panels: Panels, first: date, last: date) -> Parity:
        for folded in self._all():
            for topic, wrong in folded.wrong.items():
                self._wrong_ids[topic].update(wrong.event_id)
        targets = {topic: Target(topic, self._records(topic, ids)) for topic, ids in self._wrong_ids.items() if ids}
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

    def _records(self, topic: str, event_ids: set[str]) -> pl.DataFrame:
        """Return the archived records of these events in full."""
        asked = sorted(event_ids)
        parts = [
            self._lake.records(topic, TARGET, asked[start : start + ASKED]) for start in range(0, len(asked), ASKED)
        ]
        return pl.concat(parts)

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
        met: dict[int, np.ndarray] = {}
        for folded in self._all():
            for (target, partition), bits in folded.hits.items():
                if target == topic:
                    met[partition] = bits if partition not in met else met[partition] | bits
        digests = {one.partition: one.rows for one in shards.archived(self._folder, topic)}
        places = [
            pl.DataFrame({"offset": rows[2].astype(np.int64)}).with_columns(
                partition=pl.lit(partition, pl.Int32), met=_bits(met.get(partition), rows.shape[1])
            )
            for partition, rows in digests.items()
        ]
        if all(frame["met"].all() for frame in places):
            return
        rows = self._lake.archive(topic, ("event_id", "subject", "partition", "offset")).join(
            pl.concat(places), on=["partition", "offset"], how="left", maintain_order="left"
        )
        explained = rows.filter("met").select("event_id")
        led_to = pl.concat([explained, pl.DataFrame({"event_id": list(self._wrong_ids[topic])}, explained.schema)])
        for row in rows.filter(~pl.col("met")).join(led_to, on="event_id", how="anti").iter_rows(named=True):
            yield unexplained(topic, row)

    def _verdicts(self, first: date, last: date) -> pl.DataFrame:
        judges = shards.read(self._folder, "judges", ("event_id", "day", "scorecard_version"))
        if judges is None:
            return pl.DataFrame(schema={"event_id": pl.String, "scorecard_version": pl.String})
        return judges.filter(pl.col("day").is_between(first, last)).drop("day")


def _frame(wrong: Wrong) -> pl.DataFrame:
    return pl.DataFrame(
        {"event_id": wrong.event_id, "value": wrong.value, "read": wrong.read},
        schema={"event_id": pl.String, "value": pl.String, "read": pl.Int64},
    )


def _bits(bits: np.ndarray | None, count: int) -> pl.Series:
    return pl.Series(np.zeros(count, bool) if bits is None else np.unpackbits(bits, count=count).astype(bool))


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
