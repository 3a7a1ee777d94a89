"""The data files of a snapshot as they would be had nobody put any together: what landed once has a name for ever."""

from collections.abc import Collection, Iterator

from pyiceberg.manifest import DataFile, ManifestEntryStatus
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from lake.compact.rewrite import COMPACTED


def as_known(table: Table, snapshot_id: int | None, known: Collection[str]) -> list[DataFile]:
    """Return the data files of a snapshot, those that were put together of known ones as these.

    Args:
        table: not changed.
        snapshot_id: of which snapshot; None has no files.
        known: paths of files of an earlier snapshot. Compactions are undone, the latest first, until all are there
            again or none is left to be undone: a path of these that is missing in the answer is really gone.
    """
    if snapshot_id is None:
        return []
    there = {task.file.file_path: task.file for task in table.scan(snapshot_id=snapshot_id).plan_files()}
    missing = {*known} - there.keys()
    for snapshot in _compactions(table, snapshot_id):
        if not missing:
            break
        made, of = _entries(table, snapshot)
        if made and made <= there.keys():
            for path in made:
                del there[path]
            there |= of
            missing -= of.keys()
    return list(there.values())


def _compactions(table: Table, snapshot_id: int) -> Iterator[Snapshot]:
    """Yield the snapshots that only put files together, along the parents."""
    snapshot = table.snapshot_by_id(snapshot_id)
    while snapshot is not None:
        if snapshot.summary is not None and COMPACTED in snapshot.summary.additional_properties:
            yield snapshot
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else table.snapshot_by_id(parent)


def _entries(table: Table, snapshot: Snapshot) -> tuple[set[str], dict[str, DataFile]]:
    """Return the paths of the files that a compaction wrote, and the files that it put together."""
    made: set[str] = set()
    of: dict[str, DataFile] = {}
    for manifest in snapshot.manifests(table.io):
        if manifest.added_snapshot_id != snapshot.snapshot_id:
            continue
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False):
            if entry.status == ManifestEntryStatus.ADDED:
                made.add(entry.data_file.file_path)
            elif entry.status == ManifestEntryStatus.DELETED:
                of[entry.data_file.file_path] = entry.data_file
    return made, of
