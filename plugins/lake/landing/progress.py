"""How far a table has landed its source: kept in the properties of the snapshot that brought the data.

Data and progress are one commit. pyiceberg 0.11 makes every commit conditional on the snapshot that the table had
when it was loaded (``AssertRefSnapshotId`` and a compare-and-swap of the metadata location) and never retries by
itself. So whoever loads a table, reads its progress and appends, appends exactly what follows that progress, or fails
with :class:`Conflict` and leaves no trace.
"""

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table

from lake.errors import Hopeless

if TYPE_CHECKING:
    from collections.abc import Iterator

OFFSET = "countersign.next-offset."
TOPIC_ID = "countersign.topic-id"
WATERMARK = "countersign.watermark"
RUN_ID = "countersign.run-id"


@dataclass(frozen=True, slots=True)
class Landed:
    """What one landing brought: rows new or changed, rows newly set aside, the seconds it took, rows filtered out."""

    table: str
    rows: int
    quarantined: int
    seconds: float
    filtered: int = 0


class Conflict(RuntimeError):
    """Somebody else committed to the table since it was loaded; nothing of ours landed, trying again is safe."""


class ProgressLost(Hopeless):
    """The table has rows, but none of its snapshots says how far they reach."""


def latest(table: Table, prefix: str) -> dict[str, str]:
    """Return the properties under ``prefix`` of the newest snapshot that has any; every landing commit carries all of
    them.

    Walking back along the parents passes over snapshots of others (a compaction, a correction by hand).

    Raises:
        ProgressLost: there are snapshots with data, but none with such properties.
    """
    snapshot = table.current_snapshot()
    if snapshot is None:
        return {}
    while snapshot is not None:
        summary = snapshot.summary
        found = _under(summary.additional_properties, prefix) if summary is not None else {}
        if found:
            return found
        parent = snapshot.parent_snapshot_id
        snapshot = table.snapshot_by_id(parent) if parent is not None else None
    if table.scan(limit=1).to_arrow().num_rows == 0:
        return {}
    raise ProgressLost(
        f"{'.'.join(table.name())} has rows, but no snapshot in its history carries {prefix}*: the one that did was "
        "expired. Roll the table back to a landing snapshot, or drop it and land it anew"
    )


def _under(properties: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): value for name, value in properties.items() if name.startswith(prefix)}


@contextmanager
def committing(table: Table) -> "Iterator[None]":
    """Give the conflict of a commit inside the block its own name.

    Raises:
        Conflict: as its docstring says.
    """
    try:
        yield
    except CommitFailedException as error:
        raise Conflict(
            f"{'.'.join(table.name())}: another run committed meanwhile, nothing of this one landed; run it again "
            f"({error})"
        ) from error


def retrying_conflicts[Result](work: Callable[[], Result], attempts: int = 4) -> Result:
    """Do ``work`` again, from loading the table on, after each lost race.

    Raises:
        Conflict: ``attempts`` times in a row somebody else was faster.
    """
    for _ in range(attempts - 1):
        try:
            return work()
        except Conflict:
            continue
    return work()
