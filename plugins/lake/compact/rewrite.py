"""Put the small data files of a table together, one commit for each file that comes of it.

A commit is conditional on the snapshot that the table had when it was loaded, as a landing's is
(:mod:`lake.landing.progress`), so that neither can lose rows of the other. Nothing is deleted from the store: a
snapshot that an earlier run read stays readable. :mod:`lake.compact.undo` tells of each file which ones it was made of.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.conversions import from_bytes
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan, _dataframe_to_data_files
from pyiceberg.table import FileScanTask, Table
from pyiceberg.types import LongType

from lake.compact.choose import FEWEST, LARGE_BYTES, Piece, together
from lake.landing.progress import RUN_ID, committing, retrying_conflicts

log = logging.getLogger(__name__)

COMPACTED = "countersign.compacted"
"""Property of a snapshot that only put files together: how many."""


class RowsDiffer(RuntimeError):
    """What was read of some files is not as much as they say that they hold; nothing of it was committed."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """What was put together: how many files became how many, their rows and bytes before, and the seconds it took."""

    table: str
    files: int
    became: int
    rows: int
    bytes: int
    seconds: float


def compact(
    catalog: Catalog, name: str, run_id: str, large: int = LARGE_BYTES, fewest: int = FEWEST
) -> Compacted | None:
    """Put the small files of a table together; None if there are too few of them.

    Args:
        name: of the table, ``namespace.table``.
        run_id: is noted in the snapshots.
        large, fewest: see :func:`lake.compact.choose.together`.

    Raises:
        Conflict: others kept writing to the table; what was put together until then stays, trying again is safe.
        RowsDiffer: see there.
    """
    begun = monotonic()
    done: list[Compacted] = []

    def rest() -> None:
        table = catalog.load_table(name)
        for tasks in _chosen(table, large, fewest):
            done.append(_rewrite(table, tasks, run_id))
            log.info("%s: %d files became %d, %d rows", name, done[-1].files, done[-1].became, done[-1].rows)

    retrying_conflicts(rest)
    if not done:
        return None
    files, became = sum(one.files for one in done), sum(one.became for one in done)
    rows, size = sum(one.rows for one in done), sum(one.bytes for one in done)
    return Compacted(name, files, became, rows, size, round(monotonic() - begun, 3))


def _chosen(table: Table, large: int, fewest: int) -> Iterator[list[FileScanTask]]:
    """Yield the files that become one. Those of another partitioning, or with rows deleted, are not looked at."""
    now = table.spec().spec_id
    offset = next((field.field_id for field in table.schema().fields if field.name == "offset"), None)
    tasks = {
        task.file.file_path: task
        for task in table.scan().plan_files()
        if not task.delete_files and task.file.spec_id == now
    }
    pieces = [
        Piece(path, tuple(task.file.partition), _place(task, offset), task.file.file_size_in_bytes)
        for path, task in tasks.items()
    ]
    for run in together(pieces, large, fewest):
        yield [tasks[piece.path] for piece in run]


def _place(task: FileScanTask, offset: int | None) -> int:
    """Return the first offset in a file of a topic; all files of other tables are neighbours."""
    value = None if offset is None else (task.file.lower_bounds or {}).get(offset)
    return -1 if value is None else int(from_bytes(LongType(), value))


def _rewrite(table: Table, tasks: list[FileScanTask], run_id: str) -> Compacted:
    begun = monotonic()
    rows = _rows(table, tasks)
    held = sum(task.file.record_count for task in tasks)
    if rows.num_rows != held:
        raise RowsDiffer(
            f"{len(tasks)} files of {'.'.join(table.name())} say that they hold {held} rows, and {rows.num_rows} were "
            f"read of them, {tasks[0].file.file_path} first: look into the store before anything is written over them"
        )
    with committing(table), table.transaction() as transaction:
        properties = {COMPACTED: str(len(tasks)), RUN_ID: run_id}
        with transaction.update_snapshot(snapshot_properties=properties).overwrite() as snapshot:
            made = list(_dataframe_to_data_files(transaction.table_metadata, rows, table.io))
            for task in tasks:
                snapshot.delete_data_file(task.file)
            for file in made:
                snapshot.append_data_file(file)
    size = sum(task.file.file_size_in_bytes for task in tasks)
    return Compacted(".".join(table.name()), len(tasks), len(made), held, size, round(monotonic() - begun, 3))


def _rows(table: Table, tasks: list[FileScanTask]) -> pa.Table:
    """Return the rows of some files, one file after the other; those of a topic by offset."""
    rows = ArrowScan(table.metadata, table.io, table.schema(), AlwaysTrue()).to_table(tasks)
    names = set(rows.column_names)
    return rows.sort_by("offset") if {"partition", "offset", "value"} <= names else rows
