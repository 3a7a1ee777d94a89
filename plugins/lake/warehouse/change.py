"""What differs between the snapshot that the warehouse has and the newest one: told by files, and only those are read.

Landings write whole files and never a part of one, so a file that both snapshots have holds the same rows in both.
"""

from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.table import FileScanTask, Table


@dataclass(frozen=True, slots=True)
class Change:
    """From one snapshot to another.

    Attributes:
        snapshot_id: the newer one.
        gone: keys of rows whose files are gone; None if everything is to be replaced.
        rows: rows of the files that came.
    """

    snapshot_id: int
    gone: pa.Table | None
    rows: pa.Table


def between(table: Table, loaded: int | None, key: tuple[str, ...]) -> Change | None:
    """Return what a warehouse lacks that has the snapshot ``loaded``; None if it lacks nothing.

    A snapshot that has been expired cannot be compared with: then everything is to be replaced.
    """
    snapshot = table.current_snapshot()
    if snapshot is None or snapshot.snapshot_id == loaded:
        return None
    now = _files(table, snapshot.snapshot_id)
    before = {} if loaded is None or table.snapshot_by_id(loaded) is None else _files(table, loaded)
    whole = loaded is None or table.snapshot_by_id(loaded) is None or _has_deletes(now) or _has_deletes(before)
    if whole:
        return Change(snapshot.snapshot_id, None, _read(table, list(now.values()), None))
    came = [task for path, task in now.items() if path not in before]
    went = [task for path, task in before.items() if path not in now]
    return Change(snapshot.snapshot_id, _read(table, went, key), _read(table, came, None))


def _files(table: Table, snapshot_id: int) -> dict[str, FileScanTask]:
    return {task.file.file_path: task for task in table.scan(snapshot_id=snapshot_id).plan_files()}


def _has_deletes(files: dict[str, FileScanTask]) -> bool:
    """Whether rows are deleted by files of their own, as other writers do it: then files alone do not tell."""
    return any(task.delete_files for task in files.values())


def _read(table: Table, tasks: list[FileScanTask], columns: tuple[str, ...] | None) -> pa.Table:
    schema = table.schema() if columns is None else table.schema().select(*columns)
    return ArrowScan(table.metadata, table.io, schema, AlwaysTrue()).to_table(tasks)
