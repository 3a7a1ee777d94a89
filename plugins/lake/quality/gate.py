"""Says whether the landed objects are good enough to be reconciled: share of good rows against the threshold of each.

The checks themselves run when rows land (:mod:`lake.quality.expectations`); here their outcome is counted, for the
days asked for, from the tables and their quarantines.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, GreaterThanOrEqual, IsNull, LessThanOrEqual, Or
from pyiceberg.table import Table

from lake import tables
from lake.errors import Hopeless
from lake.landing.flows import BadFlow, load_all, table_of
from lake.tables import TableSpec
from order_fraud.topics import ARCHIVED, Topic

EVENTS_THRESHOLD = 0.95
"""Least share of decodable records of a topic whose records are business."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """How good one object is.

    Attributes:
        object: ``namespace.table``.
        good: rows in the table.
        failing: rows set aside that have not landed since, and rows whose id is there more than once.
        threshold: least share of good rows.
    """

    object: str
    good: int
    failing: int
    threshold: float

    @property
    def share(self) -> float:
        """Good rows among all, 1.0 if there are none at all."""
        return self.good / (self.good + self.failing) if self.good + self.failing else 1.0

    @property
    def passed(self) -> bool:
        """Whether the object may be reconciled."""
        return self.share >= self.threshold

    def __str__(self) -> str:
        return (
            f"{self.object}: {self.share:.2%} of {self.good + self.failing} rows pass, {self.threshold:.2%} are "
            f"needed, "
            f"{self.failing} fail"
        )


class SourceBelowThreshold(Hopeless):
    """An object is too bad, or was never landed, so that reconciling it would raise findings about nothing."""


def gate(catalog: Catalog, flows: Path, from_day: date | None = None, to_day: date | None = None) -> list[GateResult]:
    """Return the result of every object that a reconciliation reads, if all of them pass; see :func:`judge`.

    Raises:
        SourceBelowThreshold: an object fails; the message names all that do, where to look and what to do.
        BadFlow: as :func:`judge`.
    """
    results = judge(catalog, flows, from_day, to_day)
    require(results)
    return results


def judge(catalog: Catalog, flows: Path, from_day: date | None = None, to_day: date | None = None) -> list[GateResult]:
    """Return the result of every object that a reconciliation reads, whether it passes or not.

    Of the objects that it can do without, those that have landed must pass, too. What other flows land stops nobody:
    no finding is made from it.

    Args:
        catalog: of the lake.
        flows: folder of the flow files, which hold the thresholds.
        from_day, to_day: first and last business day (UTC) to judge, both included; None is open.

    Raises:
        SourceBelowThreshold: an object was never landed.
        BadFlow: a flow file cannot be used, or no flow lands what the reconciliation reads.
    """
    found = load_all(flows)
    if missing := [name for name in tables.RECONCILED if name not in found]:
        raise BadFlow(f"{flows}: no flow lands in {' or '.join(missing)}, which the reconciliation reads")
    days = days_between(from_day, to_day)
    results = [_judge(catalog, tables.records(topic), "", _threshold(topic), days) for topic in ARCHIVED]
    judged = [found[name] for name in tables.RECONCILED]
    judged += [
        found[name] for name in tables.WITNESSES if name in found and _has_landed(catalog, table_of(found[name]))
    ]
    for flow in judged:
        results.append(_judge(catalog, table_of(flow), flow.row_id, flow.threshold, days))
    return results


def judge_others(
    catalog: Catalog, flows: Path, from_day: date | None = None, to_day: date | None = None
) -> list[GateResult]:
    """Return the result of every other object that has landed by a flow: for the page, since it stops nobody.

    Raises:
        BadFlow: a flow file cannot be used.
    """
    days, results = days_between(from_day, to_day), []
    for name, flow in sorted(load_all(flows).items()):
        spec = table_of(flow)
        if name not in (*tables.RECONCILED, *tables.WITNESSES) and _has_landed(catalog, spec):
            results.append(_judge(catalog, spec, flow.row_id, flow.threshold, days))
    return results


def require(results: Iterable[GateResult]) -> None:
    """Check that all of them pass.

    Raises:
        SourceBelowThreshold: one does not; the message names all, where to look and what to do.
    """
    failed = [result for result in results if not result.passed]
    if failed:
        hints = "; ".join(f"see quarantine.{result.object.partition('.')[2]}" for result in failed)
        raise SourceBelowThreshold(
            f"{'; '.join(map(str, failed))}. Nothing was reconciled. For the reasons {hints}; mend the source or "
            f"the flow, "
            "land it again (land_sources with `everything`), then clear this task"
        )


def _threshold(topic: Topic) -> float:
    """A compacted topic has a handful of records for ever, and the stream goes on without those that it cannot use: one
    of them must not stop every reconciliation to come."""
    return 0.0 if topic.compacted else EVENTS_THRESHOLD


def _judge(catalog: Catalog, spec: TableSpec, row_id: str, threshold: float, days: BooleanExpression) -> GateResult:
    table = _landed(catalog, spec)
    if not row_id:  # a topic: offsets cannot repeat, and a record that is no event has no day
        return GateResult(
            spec.name, table.scan(row_filter=days).count(), len(_set_aside(catalog, spec, None)), threshold
        )
    ids = pl.DataFrame(pl.from_arrow(table.scan(row_filter=days, selected_fields=(row_id,)).to_arrow()))[row_id]
    good = ids.n_unique()
    return GateResult(
        spec.name, good, len(_set_aside(catalog, spec, days) - set(ids.to_list())) + len(ids) - good, threshold
    )


def table_or_none(catalog: Catalog, spec: TableSpec) -> Table | None:
    """Return a table, None if it was never made."""
    try:
        return catalog.load_table(spec.identifier)
    except NoSuchTableError:
        return None


def _has_landed(catalog: Catalog, spec: TableSpec) -> bool:
    table = table_or_none(catalog, spec)
    return table is not None and table.current_snapshot() is not None


def _landed(catalog: Catalog, spec: TableSpec) -> Table:
    table = table_or_none(catalog, spec)
    if table is None or table.current_snapshot() is None:
        dag = "land_events" if spec.identifier[0] == "kafka" else "land_sources"
        raise SourceBelowThreshold(f"{spec.name} was never landed: run the DAG {dag} first, then clear this task")
    return table


def _set_aside(catalog: Catalog, spec: TableSpec, days: BooleanExpression | None) -> set[str]:
    """Ids of rows in the quarantine: of these days, and those whose day is unknown."""
    table = table_or_none(catalog, tables.quarantine(spec))
    if table is None:
        return set()
    found = table.scan(row_filter=or_unknown(days), selected_fields=("quarantine_id", "row_id")).to_arrow().to_pylist()
    return {row["row_id"] or row["quarantine_id"] for row in found}


def or_unknown(days: BooleanExpression | None) -> BooleanExpression:
    """Return what selects rows of a quarantine: of these days, and those whose day is unknown; None is all."""
    return AlwaysTrue() if days is None else Or(days, IsNull("day"))


def days_between(from_day: date | None, to_day: date | None) -> BooleanExpression:
    """Return what selects rows of these business days, both included; None is open."""
    first = AlwaysTrue() if from_day is None else GreaterThanOrEqual("day", from_day)
    last = AlwaysTrue() if to_day is None else LessThanOrEqual("day", to_day)
    return And(first, last)
