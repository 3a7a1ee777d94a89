"""State files: only what was committed is in them, and files whose past is not known for certain are built anew."""

import logging
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from streams.state import Codec, Spec, StateError, Table, Unreadable, folder, rocks
from streams.state.folder import Folder
from streams.state.memory import MemoryStore
from streams.state.rocks import Past, RocksStore, new_cache, open_store
from tests.unit.state_log import Log, Record, restored, transaction

CODEC: Codec[int] = Codec(msgspec.msgpack.encode, msgspec.msgpack.decode)
SPEC = Spec("log", "input", CODEC)
HOUR_MS = 3_600_000
BROKER = "127.0.0.1:1"


class Disk:
    """Opens the files of one table again and again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = Log()
        self._store: RocksStore | None = None

    def open(self, *, identity: str = "this one", first: int = 0, end: int | None = None) -> RocksStore:
        self.close()
        past = Past(identity, first, self.log.end if end is None else end, HOUR_MS)
        self._store = open_store(self.path, past, None, new_cache())
        return self._store

    def table(self) -> Table[int]:
        return restored(SPEC, self.log, self.open())

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    found = Disk(tmp_path / "folder" / "table")
    yield found
    found.close()


def test_a_restart_reads_on_where_the_last_commit_ended(disk: Disk) -> None:
    table = disk.table()
    transaction(table, disk.log, ("a", 1), ("b", 1))
    transaction(table, disk.log, ("a", 2), ("b", None))
    disk.log.records.clear()  # nothing can be read again
    table = disk.table()
    assert dict(table.items()) == {"a": 2}
    assert table.next_offset == disk.log.end - 1, "only the commit marker lies behind the last record"


def test_what_was_aborted_never_reaches_the_files_nor_moves_the_marker(disk: Disk) -> None:
    table = disk.table()
    transaction(table, disk.log, ("a", 1))
    reached = table.next_offset
    table["a"] = 2
    disk.log.skip(table.changes())  # its delivery is reported all the same
    table.rollback()
    table["b"] = 3
    table.commit()  # sent, but not reported as delivered
    assert table.next_offset == reached
    assert dict(table.items()) == {"a": 1, "b": 3}


def test_a_crash_between_commit_and_files_is_healed(disk: Disk) -> None:
    table = disk.table()
    transaction(table, disk.log, ("a", 1), ("b", 1))
    table["a"] = 2
    del table["b"]
    disk.log.append(table.changes())  # through, and the worker is killed before its commit()
    table = disk.table()
    assert dict(table.items()) == {"a": 2}


def test_a_partition_that_comes_back_has_what_others_did_meanwhile(disk: Disk, tmp_path: Path) -> None:
    ours = disk.table()
    transaction(ours, disk.log, ("a", 1), ("b", 1), ("c", 1))
    disk.close()
    other = Disk(tmp_path / "another")
    other.log = disk.log
    theirs = other.table()
    transaction(theirs, disk.log, ("a", 2), ("b", None))
    other.close()
    disk.log.compact(1, tombstones=False)
    assert dict(disk.table().items()) == {"a": 2, "c": 1}


def test_a_worker_that_lost_its_partition_unawares_does_not_mark_what_it_never_saw(disk: Disk, tmp_path: Path) -> None:
    """It wakes between its commit and its files, when a successor has committed already."""
    ours = disk.table()
    ours["a"] = 1
    disk.log.append(ours.changes())
    other = Disk(tmp_path / "another")
    other.log = disk.log
    transaction(other.table(), disk.log, ("a", 2), ("b", 2))
    other.close()
    ours.commit()
    assert ours.next_offset == 1
    assert dict(disk.table().items()) == {"a": 2, "b": 2}


def test_a_load_that_was_cut_short_leaves_the_marker_where_it_was(disk: Disk) -> None:
    """Between its tombstones and the rest any time may pass; whoever goes on must begin where it was complete."""
    transaction(disk.table(), disk.log, ("a", 1))
    transaction(Table(SPEC, 1, MemoryStore(None)), disk.log, ("a", 2), ("b", 2))  # by another worker
    half = disk.open()
    reached = half.next_offset
    half.load(disk.log.records[:2])  # type: ignore[arg-type]
    assert half.next_offset > reached
    assert disk.open().next_offset == reached
    assert dict(disk.table().items()) == {"a": 2, "b": 2}


def test_a_first_load_that_was_cut_short_is_begun_anew(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    transaction(Table(SPEC, 1, MemoryStore(None)), disk.log, ("a", 1), ("b", 1))
    disk.open().load(disk.log.records[:1])  # type: ignore[arg-type]
    store = disk.open()
    assert (len(store), store.next_offset) == (0, 0)
    assert "they were never complete" in caplog.text


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"identity": "another"}, "another cluster, another topic"),
        ({"end": 0}, "end at offset 1, but the changelog goes from 0 to 0"),
        ({"first": 2, "end": 9}, "end at offset 1, but the changelog goes from 2 to 9"),
    ],
)
def test_files_of_another_past_are_built_anew(
    disk: Disk, caplog: pytest.LogCaptureFixture, changed: dict[str, object], reason: str
) -> None:
    transaction(disk.table(), disk.log, ("a", 1))
    with caplog.at_level(logging.WARNING):
        store = disk.open(**changed)  # type: ignore[arg-type]
    assert (len(store), store.next_offset) == (0, changed.get("first", 0))
    assert reason in caplog.text
    assert str(disk.path) in caplog.text


@pytest.mark.parametrize("hours", [1.01, -0.01])
def test_files_that_may_have_missed_a_tombstone_are_built_anew(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, hours: float
) -> None:
    """Also those from the future: some clock was set, so their age is not known."""
    transaction(disk.table(), disk.log, ("a", 1))
    later = time.time_ns() // 1_000_000 + int(hours * HOUR_MS)
    monkeypatch.setattr(rocks, "_now_ms", lambda: later)
    assert len(disk.open()) == 0
    assert "a deletion may have been missed" in caplog.text


def test_broken_files_are_built_anew(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    transaction(disk.table(), disk.log, ("a", 1))
    disk.close()
    (disk.path / "CURRENT").write_text("?")
    assert dict(disk.table().items()) == {"a": 1}
    assert "they are broken (Corruption" in caplog.text


def test_a_record_that_cannot_be_read_is_named(disk: Disk) -> None:
    table: Table[int] = Table(SPEC, 1, disk.open())
    with pytest.raises(Unreadable, match="changelog log, partition 1: key at offset 5"):
        table.load([Record(None, b"?", 5)])  # type: ignore[list-item]
    failing = open_store(disk.path.with_name("dated"), Past("", 0, 9, HOUR_MS), lambda packed: int(packed), new_cache())
    with pytest.raises(Unreadable, match="value at offset 7"):
        failing.load([Record(b"a", b"no date", 7)])  # type: ignore[list-item]
    failing.close()


def test_files_that_cannot_be_written_end_the_worker_with_a_reason(disk: Disk) -> None:
    """A full disk, made by forbidding this process files of more than 64 kB."""
    plain: Codec[str] = Codec(msgspec.msgpack.encode, msgspec.msgpack.decode)
    table: Table[str] = Table(Spec("log", "input", plain), 1, disk.open())
    table["a"] = "x" * 200_000
    disk.log.append(table.changes())
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64_000, hard))
    try:
        with pytest.raises(StateError, match=rf"state files {disk.path} cannot be written: .*Nothing is lost"):
            table.commit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert dict(restored(SPEC, disk.log, disk.open()).items()) == {"a": "x" * 200_000}


def test_two_workers_never_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "LOCK_WAIT_S", 0.2)
    first = Folder(str(tmp_path), "group", "worker-1", BROKER)
    second = Folder(str(tmp_path), "group", "worker-2", BROKER)
    assert first.path != second.path
    with pytest.raises(StateError, match=rf"{first.path} belongs to a worker .*process {os.getpid()}.*--index"):
        Folder(str(tmp_path), "group", "worker-1", BROKER)
    first.close()
    Folder(str(tmp_path), "group", "worker-1", BROKER).close()
    second.close()


def test_the_lock_goes_with_a_process_that_is_killed(tmp_path: Path) -> None:
    code = (
        f"from streams.state.folder import Folder; folder = Folder({str(tmp_path)!r}, 'g', 'w', '{BROKER}'); "
        "print('locked', flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | _PATH
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"locked\n"
    holder.kill()
    Folder(str(tmp_path), "g", "w", BROKER).close()
    holder.communicate()


_PATH = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}


@pytest.mark.parametrize("name", ["..", "a/b", "../../etc", "ü"])
def test_a_name_stays_inside_the_folder(tmp_path: Path, name: str) -> None:
    found = Folder(str(tmp_path), name, name, BROKER)
    assert found.path.resolve().parent.parent == tmp_path.resolve()
    found.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=rf"COUNTERSIGN_STATE_DIR: the folder {tmp_path}/file/g/w cannot be made"):
        Folder(str(tmp_path / "file"), "g", "w", BROKER)
