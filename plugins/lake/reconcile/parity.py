"""Compare every answer of the stream with the re-folded one, byte for byte.

A disagreement is one of five: the archived event *differs*; it is *unjudged* (a verdict that names a scorecard which
nobody published, so that it cannot be given again); it is *lost* (its input is there, and a later input of the
same partition was answered, so that no answer can still come); it is *pending* (no later input was answered either); or
it is *unexplained* (no archived input leads to it).
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal

import polars as pl

from lake.reconcile.explain import canonical, difference
from lake.reconcile.panels import PanelOf, Panels, known_policies, named, panels_of
from lake.reconcile.refold import Passed, Refold, Refused, Witness, refold
from order_fraud import topics
from order_fraud.events import BadEvent
from order_fraud.judge import Panel
from order_fraud.relay import ROUTE, Hop

log = logging.getLogger(__name__)

ARCHIVE_SCHEMA: dict[str, pl.DataType] = {
    "partition": pl.Int32(),
    "offset": pl.Int64(),
    "timestamp": pl.Datetime("us", "UTC"),
    "key": pl.String(),
    "type": pl.String(),
    "event_id": pl.String(),
    "subject": pl.String(),
    "time": pl.Datetime("us", "UTC"),
    "day": pl.Date(),
    "value": pl.String(),
}
"""Columns of an archived topic, one row a record; ``value`` is the canonical event JSON with ip addresses masked."""

Archive = Callable[[str, Sequence[str]], pl.DataFrame]
"""Reads columns of an archived topic: (topic name, columns) -> rows of ``ARCHIVE_SCHEMA`` in any order."""

Folder = Callable[[Hop, pl.DataFrame, PanelOf], Iterable[Refold]]
"""Re-folds every partition of one hop's topic."""

INPUT = ("partition", "offset", "timestamp", "key", "event_id", "subject", "value")
"""The columns that a fold needs."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}, partition {self.partition}, offset {self.offset}"


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One event on which the stream and the re-fold disagree.

    Attributes:
        state: see the module.
        event_id: of the event concerned.
        subject: its order id, or customer id for a sign-up.
        target: the topic where the event stands or should stand.
        read: the input record that leads to it; None if unexplained.
        found: the archived record; None if lost or pending.
        words: the difference in words.
    """

    state: Literal["differs", "unjudged", "lost", "pending", "unexplained"]
    event_id: str
    subject: str
    target: str
    read: Place | None
    found: Place | None
    words: str

    @property
    def of_order(self) -> bool:
        """Whether an order or its verdict is concerned, not a sign-up nor word of what an order was."""
        return is_order(self.event_id)


def is_order(event_id: str) -> bool:
    """Whether an event is an order or the verdict on one, by its id."""
    return event_id.startswith(("order/", "verdict/"))


@dataclass(frozen=True, slots=True)
class HopParity:
    """How one hop did: ``records`` folded, of which ``refused``; ``passed`` on, of which ``equal`` to the archive."""

    entity: str
    topic: str
    records: int
    refused: int
    passed: int
    equal: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Judged:
    """How many verdicts of the days asked for a scorecard gave.

    Attributes:
        threshold: the lowest score that it does not clear; None if the scorecard was never published.
        active: whether it is the one that judges now.
    """

    version: str
    threshold: int | None
    verdicts: int
    active: bool


@dataclass(frozen=True, slots=True)
class Parity:
    """Everything that re-folding brought to light.

    Attributes:
        verdicts: orders of the days asked for that have an archived verdict.
        verdicts_equal: those of them whose archived verdict came out again, byte for byte.
        disagreements: over all days, in the order of the route.
        refused: inputs that the stream refuses, over all days.
        hops: one line per hop, over all days.
        judged: the scorecards that judged on the days asked for, the one that judges now last.
    """

    verdicts: int
    verdicts_equal: int
    disagreements: tuple[Disagreement, ...]
    refused: tuple[Refused, ...]
    hops: tuple[HopParity, ...]
    judged: tuple[Judged, ...]


def fold_here(hop: Hop, rows: pl.DataFrame, panel_of: PanelOf, witness: Witness | None = None) -> Iterator[Refold]:
    """Re-fold a hop's partitions one after the other in this process."""
    for (partition,), part in sorted(rows.group_by("partition"), key=lambda group: group[0]):
        columns = part.sort("offset").select(
            "offset", pl.col("timestamp").dt.epoch("ms"), "key", "event_id", "subject", "value"
        )
        yield refold(hop, int(str(partition)), columns.iter_rows(), panel_of, part.height, witness)


def read_panels(archive: Archive, bundled: Panel) -> Panels:
    """Return who judged each archived order; ``bundled`` judges until the archive says otherwise."""
    known = known_policies(archive(topics.FRAUD_POLICIES.name, ("offset", "key", "value")), bundled)
    return panels_of(known, named(archive(topics.FRAUD_VERDICTS.name, ("subject", "partition", "offset", "value"))))


def compare(archive: Archive, judges: Panel | Panels, first: date, last: date, fold: Folder = fold_here) -> Parity:
    """Re-fold all hops and compare what they must have passed on with what is archived.

    Histories need the whole past, so all archived records are folded; only the verdict counts are of the days
    ``first`` to ``last``.

    Args:
        archive: reads the archived topics, the policies among them.
        judges: who judges until another scorecard is activated, or who judged each order, if that has been read.
        first, last: business days, both included.
        fold: re-folds a hop.
    """
    panels = read_panels(archive, judges) if isinstance(judges, Panel) else judges
    targets = {topic: Target(topic, archive(topic, tuple(TARGET))) for topic in TARGETS}
    disagreements: list[Disagreement] = []
    refused: list[Refused] = []
    hops: list[HopParity] = []
    for hop in ROUTE:
        rows = archive(hop.reads.name, INPUT)
        records = passed = equal = 0
        seconds = 0.0
        for folded in fold(hop, rows, panels):
            records += folded.records
            seconds += folded.seconds
            refused += folded.refused
            passed += sum(len(column.event_id) for column in folded.passed.values())
            wrong = _check(hop, folded, targets)
            equal -= len(wrong)
            disagreements += wrong
        refusals = sum(1 for one in refused if one.topic == hop.reads.name)
        equal += passed
        hops.append(HopParity(hop.entity, hop.reads.name, records, refusals, passed, equal, seconds))
        log.info("%s hop: %d of %d outputs come out again, byte for byte", hop.entity, equal, passed)
    for target in targets.values():
        disagreements += target.unexplained()
    verdicts = targets[topics.FRAUD_VERDICTS.name].rows.filter(pl.col("day").is_between(first, last))
    version = pl.col("value").str.json_path_match("$.data.scorecard_version").alias("scorecard_version")
    return conclude(disagreements, refused, hops, verdicts.select("event_id", version), panels)


def conclude(
    disagreements: list[Disagreement],
    refused: Sequence[Refused],
    hops: Sequence[HopParity],
    verdicts: pl.DataFrame,
    panels: Panels,
) -> Parity:
    """Return the whole from its parts.

    Args:
        disagreements, refused, hops: as in :class:`Parity`.
        verdicts: archived verdict records of the days asked for (columns event_id, scorecard_version).
        panels: who judged each order.
    """
    disagreements = [_by_whom(one, panels) for one in disagreements]
    ids = verdicts["event_id"].unique()
    wrong = [one.event_id for one in disagreements if one.found and one.target == topics.FRAUD_VERDICTS.name]
    equal_verdicts = ids.len() - ids.is_in(wrong).sum()
    judged = tuple(_judged(verdicts["scorecard_version"], panels))
    return Parity(ids.len(), equal_verdicts, tuple(disagreements), tuple(refused), tuple(hops), judged)


def _by_whom(one: Disagreement, panels: Panels) -> Disagreement:
    """Where nobody can judge as the stream did, say that instead of all that therefore comes out in another way."""
    if one.state != "differs" or one.target != topics.FRAUD_VERDICTS.name or one.subject not in panels.unpublished:
        return one
    return replace(one, state="unjudged", words=panels.unpublished[one.subject])


def _judged(versions: pl.Series, panels: Panels) -> Iterator[Judged]:
    active = panels.known.panel.active.version
    told = versions.value_counts(name="verdicts").drop_nulls()
    counts = dict.fromkeys([*sorted(set(told[versions.name]) - {active}), active], 0) | dict(told.iter_rows())
    for version, number in counts.items():
        scorecard = panels.known.scorecards.get(version)
        yield Judged(version, scorecard.bands[0].at if scorecard else None, number, version == active)


TARGETS: tuple[str, ...] = (*(hop.reads.name for hop in ROUTE[1:]), topics.FRAUD_VERDICTS.name)
"""The topics that hops write to."""

TARGET: Mapping[str, pl.DataType] = {
    "event_id": pl.String(), "subject": pl.String(), "partition": pl.Int32(), "offset": pl.Int64(), "day": pl.Date(),
    "value": pl.String(),
}  # fmt: skip
"""The columns of such a topic that a comparison needs."""


def _check(hop: Hop, folded: Refold, targets: Mapping[str, "Target"]) -> list[Disagreement]:
    """Compare all outputs of one (hop, partition)."""
    wrong = [
        one for topic, passed in folded.passed.items() for one in targets[topic].check(hop, folded.partition, passed)
    ]
    return settle(wrong, (at for passed in folded.passed.values() for at in passed.offset))


def settle(wrong: list[Disagreement], passed: Iterable[int]) -> list[Disagreement]:
    """Say which of the lost outputs of one (hop, partition) are only pending: those after the last answered input.

    Args:
        wrong: all disagreements of that (hop, partition).
        passed: offsets of the inputs that led to an output; at least the last one whose output was found.
    """
    lost = {one.read.offset for one in wrong if one.state == "lost" and one.read}
    if not lost:
        return wrong
    answered = max((at for at in passed if at not in lost), default=-1)
    return [
        replace(one, state="pending") if one.state == "lost" and one.read and one.read.offset > answered else one
        for one in wrong
    ]


class Target:
    """An archived topic that hops write to, and which of its events are explained by an input."""

    def __init__(self, topic: str, rows: pl.DataFrame) -> None:
        """Take its records (columns ``TARGET``)."""
        self.topic = topic
        self.rows = rows
        self._explained: list[pl.Series] = []

    def check(self, hop: Hop, partition: int, passed: Passed) -> Iterator[Disagreement]:
        """Yield every event that one (hop, partition) must have passed on and that is not archived just so."""
        must = pl.DataFrame(
            {"event_id": passed.event_id, "value": passed.value, "read": passed.offset},
            schema={"event_id": pl.String, "value": pl.String, "read": pl.Int64},
        )
        self._explained.append(must["event_id"])
        equal = must.join(self.rows.select("event_id", "value"), on=["event_id", "value"], how="semi")
        if equal.height == must.height:
            return
        yield from self.explain(hop, partition, must.join(equal.select("read"), on="read", how="anti"))

    def explain(self, hop: Hop, partition: int, rest: pl.DataFrame) -> Iterator[Disagreement]:
        """Yield what is wrong with each of those outputs (columns event_id, value, read) that are not archived so."""
        wrong = rest.join(self.rows.rename({"value": "archived"}), on="event_id", how="left", maintain_order="left")
        for row in wrong.unique("read", keep="first", maintain_order=True).iter_rows(named=True):
            if (found := self._judge(hop, partition, row)) is not None:
                yield found

    def _judge(self, hop: Hop, partition: int, row: Mapping[str, object]) -> Disagreement | None:
        event_id, must = str(row["event_id"]), str(row["value"])
        read = Place(hop.reads.name, partition, int(str(row["read"])))
        subject = event_id.partition("/")[2]
        if row["archived"] is None:
            words = f"{read} leads to {event_id} on {self.topic}, and no such record is there"
            return Disagreement("lost", event_id, subject, self.topic, read, None, words)
        archived = str(row["archived"])
        if _same(must, archived):
            return None
        found = Place(self.topic, int(str(row["partition"])), int(str(row["offset"])))
        return Disagreement("differs", event_id, subject, self.topic, read, found, difference(must, archived))

    def unexplained(self) -> Iterator[Disagreement]:
        """Yield every archived event to which no archived input led; to be asked after all checks."""
        explained = pl.concat([pl.Series("event_id", [], pl.String), *self._explained]).unique()
        rest = self.rows.join(explained.to_frame(), on="event_id", how="anti").sort("partition", "offset")
        for row in rest.iter_rows(named=True):
            yield unexplained(self.topic, row)


def unexplained(topic: str, row: Mapping[str, Any]) -> Disagreement:
    """Return that no archived input leads to the archived record of ``row``."""
    found = Place(topic, row["partition"], row["offset"])
    words = f"{found} holds {row['event_id']}, and no archived input leads to it"
    return Disagreement("unexplained", row["event_id"], row["subject"], topic, None, found, words)


def _same(must: str, archived: str) -> bool:
    """Whether two unequal documents are equal in canonical form."""
    try:
        return canonical(must) == canonical(archived)
    except BadEvent:
        return False
