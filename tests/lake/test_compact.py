"""Small files become large ones: no row is lost or doubled, whoever else writes, and runs go on as before."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.table import Table

from lake import tables
from lake.catalog import open_catalog
from lake.compact import rewrite, undo
from lake.compact.choose import Piece, together
from lake.compact.rewrite import COMPACTED, RowsDiffer, compact
from lake.landing.progress import OFFSET, Conflict, latest
from lake.reconcile import checkpoint, resume, sharded
from lake.reconcile.checkpoints import Checkpoints
from lake.reconcile.read import Lake
from lake.settings import from_environment
from lake.warehouse.change import between
from order_fraud import topics
from order_fraud.topics import ARCHIVED
from tests.lake.conftest import ROOT
from tests.lake.reconcile_world import World
from tests.lake.test_landing_dags import Airflow
from tests.lake.test_reconcile_checkpoints import Here, cut, run, same, small, whole
from tests.lake.test_reconcile_lake import land

NAMES = [tables.records(topic).name for topic in ARCHIVED]
BY_IP = tables.records(topics.RELAY_BY_IP)


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(sharded, "Pool", Here)
    caplog.set_level(logging.INFO)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = load_catalog("t", type="sql", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}/w")
    yield opened
    opened.close()


@pytest.fixture
def store(tmp_path: Path) -> Checkpoints:
    return Checkpoints.in_folder(tmp_path / "checkpoints")


def pieces(*sizes: int, partition: int = 0) -> list[Piece]:
    return [Piece(f"{partition}-{place}", partition, place, size) for place, size in enumerate(sizes)]


def chosen(found: list[Piece], large: int = 100, fewest: int = 2) -> list[list[int]]:
    return [[piece.place for piece in run] for run in together(found, large, fewest)]


def test_small_neighbours_become_one() -> None:
    assert chosen(pieces(1, 2, 3)) == [[0, 1, 2]]
    assert chosen(pieces(1, 2, 3), fewest=4) == []
    assert chosen(pieces(40, 40, 40, 40)) == [[0, 1], [2, 3]]
    assert chosen(pieces(40, 40, 40)) == [[0, 1]], "one alone is nothing to put together"
    assert chosen([]) == []


def test_a_large_file_is_left_alone_and_none_is_put_together_across_it() -> None:
    assert chosen(pieces(1, 1, 50, 1, 1)) == [[0, 1], [3, 4]]
    assert chosen(pieces(1, 50, 1)) == []
    assert chosen(pieces(1, 49, 1)) == [[0, 1, 2]]


def test_partitions_stay_apart_and_places_decide_the_order() -> None:
    mixed = [*pieces(1, 1), *pieces(1, 1, 1, partition=7)]
    assert [[piece.path for piece in run] for run in together(reversed(mixed), 100, 2)] == [
        ["0-0", "0-1"],
        ["7-0", "7-1", "7-2"],
    ]


def test_what_is_written_daily_is_written_anew_a_bounded_number_of_times() -> None:
    large, fewest = 100, 4
    there: list[int] = []
    written = landed = 0
    for _ in range(1000):
        there.append(1)
        landed += 1
        for found in together(pieces(*there), large, fewest):
            first, last = found[0].place, found[-1].place
            written += sum(piece.size for piece in found)
            there[first : last + 1] = [sum(piece.size for piece in found)]
    assert len(there) < 3 * landed / large + 2 * fewest
    assert written < landed * large / fewest


def rows(table: Table) -> list[dict[str, object]]:
    found = table.scan().to_arrow().to_pylist()
    return sorted(found, key=lambda row: (row["partition"], row["offset"]))


def files(catalog: Catalog) -> int:
    return sum(len(list(catalog.load_table(name).scan().plan_files())) for name in NAMES)


def compact_all(catalog: Catalog, fewest: int = 2) -> None:
    for name in NAMES:
        compact(catalog, name, "tidy", fewest=fewest)


@pytest.mark.parametrize("seed", [1, 2])
def test_runs_go_on_from_their_checkpoint_after_files_were_put_together(
    catalog: Catalog, store: Checkpoints, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    """Files that a checkpoint read become one with later ones, again and again."""
    for number, landing in enumerate(cut(small(), 6, seed)):
        land(catalog, landing)
        if number % 2:
            before = {name: rows(catalog.load_table(name)) for name in NAMES}
            held = files(catalog)
            compact_all(catalog)
            assert files(catalog) < held
            assert {name: rows(catalog.load_table(name)) for name in NAMES} == before
        caplog.clear()
        found = run(catalog, store)
        assert ("going on from checkpoint" in caplog.text) == (number > 0), caplog.text
        assert ("folding everything" in caplog.text) == (number == 0)
    same(found, whole(catalog))


def test_two_compactions_between_two_runs_are_both_undone(
    catalog: Catalog, store: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, third = cut(small(), 3, 3)
    land(catalog, first)
    run(catalog, store)
    known = {file.path for file in Lake(catalog).files("relay.by-ip")}
    for landing in (second, third):
        land(catalog, landing)
        compact_all(catalog)
    found = Lake(catalog)
    assert not known & {file.path for file in found.files("relay.by-ip")}
    assert known <= {file.path for file in found.files_as_known("relay.by-ip", known)}
    assert sum(file.rows for file in found.files_as_known("relay.by-ip", known)) == found.rows("relay.by-ip")
    caplog.clear()
    same(run(catalog, store), whole(catalog))
    assert "going on from checkpoint" in caplog.text


def test_rows_that_are_really_gone_are_still_seen(
    catalog: Catalog, store: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = cut(small(), 2, 4)
    land(catalog, first)
    run(catalog, store)
    land(catalog, second)
    compact_all(catalog)
    table = catalog.load_table(BY_IP.name)
    table.overwrite(table.scan().to_arrow())
    compact_all(catalog)
    caplog.clear()
    same(run(catalog, store), whole(catalog))
    assert "data files of relay.by-ip that were folded are not in the table any more" in caplog.text


def test_an_earlier_snapshot_reads_what_it_read(catalog: Catalog) -> None:
    for landing in cut(small(), 3, 5):
        land(catalog, landing)
    recorded = Lake(catalog).snapshots
    before = Lake(catalog, recorded).archive("relay.by-ip", ("partition", "offset", "value"))
    compact_all(catalog)
    again = Lake(catalog, recorded)
    assert again.archive("relay.by-ip", ("partition", "offset", "value")).equals(before)
    assert {file.path for file in again.files("relay.by-ip")}.isdisjoint(
        file.path for file in Lake(catalog).files("relay.by-ip")
    )


def test_the_rows_of_a_topic_lie_by_offset_and_are_read_in_turn(catalog: Catalog) -> None:
    for landing in cut(small(), 4, 6):
        land(catalog, landing)
    compact_all(catalog)
    lake = Lake(catalog)
    for partition, count in lake.partitions("relay.by-ip").items():
        offsets = [
            offset
            for batch in lake.stream("relay.by-ip", ("offset",), partition, 7)
            for offset in batch["offset"].to_list()
        ]
        assert len(offsets) == count
        assert all(one < other for one, other in pairwise(offsets))
        for after in (offsets[0], offsets[len(offsets) // 2], offsets[-1]):
            rest = [key for batch in lake.stream("relay.by-ip", ("key",), partition, 7, after) for key in batch["key"]]
            assert len(rest) == sum(offset > after for offset in offsets)


def record(partition: int, offset: int) -> dict[str, object]:
    row = small().topics["relay.by-ip"][0]
    return row | {"partition": partition, "offset": offset, "value": f'{{"n": {offset}}}'}


def append(table: Table, *offsets: int, **properties: str) -> None:
    records = [record(0, offset) for offset in offsets]
    table.append(pa.Table.from_pylist(records, schema=table.schema().as_arrow()), properties)


def test_a_landing_that_commits_meanwhile_loses_nothing(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tables.ensure(catalog, BY_IP)
    for offset in range(4):
        append(table, offset, **{f"{OFFSET}0": str(offset + 1)})
    really, interruptions = rewrite._rows, iter([4, 5])

    def late(*arguments: object) -> pa.Table:
        for offset in interruptions:
            append(catalog.load_table(BY_IP.name), offset, **{f"{OFFSET}0": str(offset + 1)})
            break
        return really(*arguments)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(rewrite, "_rows", late)
    found = compact(catalog, BY_IP.name, "tidy", fewest=2)
    assert found is not None
    assert (found.files, found.became, found.rows) == (6, 1, 6), "it lost two races and began again"
    table = catalog.load_table(BY_IP.name)
    assert [row["offset"] for row in rows(table)] == [0, 1, 2, 3, 4, 5]
    assert latest(table, OFFSET) == {"0": "6"}, "how far the table has landed is known as before"
    append(table, 6)
    assert len(rows(catalog.load_table(BY_IP.name))) == 7


def test_a_landing_that_is_late_itself_loses_its_race(catalog: Catalog) -> None:
    table = tables.ensure(catalog, BY_IP)
    for offset in range(3):
        append(table, offset)
    late = catalog.load_table(BY_IP.name)
    compact(catalog, BY_IP.name, "tidy", fewest=2)
    with pytest.raises(Conflict, match="another run committed meanwhile"), rewrite.committing(late):
        append(late, 3)
    assert [row["offset"] for row in rows(catalog.load_table(BY_IP.name))] == [0, 1, 2]


def test_nothing_is_written_where_there_is_nothing_to_put_together(catalog: Catalog) -> None:
    table = tables.ensure(catalog, BY_IP)
    assert compact(catalog, BY_IP.name, "tidy") is None, "an empty table"
    for offset in range(7):
        append(table, offset)
    assert compact(catalog, BY_IP.name, "tidy") is None, "seven are too few"
    append(table, 7)
    snapshots = len(table.metadata.snapshots)
    found = compact(catalog, BY_IP.name, "tidy")
    assert found is not None
    assert (found.files, found.became) == (8, 1)
    again = catalog.load_table(BY_IP.name)
    assert len(again.metadata.snapshots) == snapshots + 1
    snapshot = again.current_snapshot()
    assert snapshot is not None
    assert snapshot.summary is not None
    assert snapshot.summary.additional_properties[COMPACTED] == "8"
    assert compact(catalog, BY_IP.name, "tidy") is None, "the second time there is nothing left"


def test_rows_that_cannot_all_be_read_are_not_written_over(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tables.ensure(catalog, BY_IP)
    for offset in range(3):
        append(table, offset)
    really = rewrite._rows
    monkeypatch.setattr(rewrite, "_rows", lambda *arguments: really(*arguments).slice(1))
    with pytest.raises(RowsDiffer, match=r"3 files of kafka\.relay_by_ip say that they hold 3 rows, and 2 were read"):
        compact(catalog, BY_IP.name, "tidy", fewest=2)
    assert [row["offset"] for row in rows(catalog.load_table(BY_IP.name))] == [0, 1, 2]


def test_a_file_of_before_a_column_was_added_is_put_together_with_one_of_after(catalog: Catalog) -> None:
    spec = tables.quarantine(BY_IP)
    table = tables.ensure(catalog, spec)
    row = {name: "x" for name in ("quarantine_id", "reason", "expectation", "origin", "row", "run_id")}
    row |= {"landed_at": small().topics["relay.by-ip"][0]["timestamp"]}
    table.append(pa.Table.from_pylist([row], schema=table.schema().as_arrow()))
    with table.update_schema() as update:
        update.add_column("note", tables.TEXT)
    table.append(pa.Table.from_pylist([row | {"note": "new"}], schema=table.schema().as_arrow()))
    assert compact(catalog, spec.name, "tidy", fewest=2) is not None
    found = catalog.load_table(spec.name).scan().to_arrow()
    assert sorted(found["note"].to_pylist(), key=str) == [None, "new"]


def test_a_warehouse_takes_out_and_puts_in_the_same_rows(catalog: Catalog) -> None:
    table = tables.ensure(catalog, BY_IP)
    for offset in range(3):
        append(table, offset)
    loaded = table.current_snapshot()
    assert loaded is not None
    compact(catalog, BY_IP.name, "tidy", fewest=2)
    change = between(catalog.load_table(BY_IP.name), loaded.snapshot_id, ("partition", "offset"))
    assert change is not None
    assert change.gone is not None
    assert sorted(change.gone["offset"].to_pylist()) == sorted(change.rows["offset"].to_pylist()) == [0, 1, 2]


def test_compactions_are_looked_at_only_if_a_known_file_is_missing(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tables.ensure(catalog, BY_IP)
    for offset in range(2):
        append(table, offset)
    old = {task.file.file_path for task in table.scan().plan_files()}
    compact(catalog, BY_IP.name, "tidy", fewest=2)
    table = catalog.load_table(BY_IP.name)
    new = {task.file.file_path for task in table.scan().plan_files()}
    snapshot = table.current_snapshot()
    assert snapshot is not None
    looked = []
    really = undo._entries
    monkeypatch.setattr(undo, "_entries", lambda *arguments: looked.append(1) or really(*arguments))
    assert {file.file_path for file in undo.as_known(table, snapshot.snapshot_id, new)} == new
    assert not looked
    assert {file.file_path for file in undo.as_known(table, snapshot.snapshot_id, old)} == old
    assert looked
    assert {file.file_path for file in undo.as_known(table, snapshot.snapshot_id, {"gone", *old})} == old
    assert undo.as_known(table, None, old) == []


def test_a_world_of_one_landing_has_nothing_to_undo(catalog: Catalog) -> None:
    land(catalog, World())
    assert resume.checkpoint is checkpoint
    assert checkpoint.files(Lake(catalog), {"relay.by-ip": ["gone"]})["relay.by-ip"] == []


DYING = """
import os, signal, sys
from pyiceberg.catalog import load_catalog
from pyiceberg.catalog.sql import SqlCatalog
from lake.compact.rewrite import compact
commits, folder = int(sys.argv[1]), sys.argv[2]
really, done = SqlCatalog.commit_table, []
def commit(self, *arguments):
    if len(done) == commits:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(1)
    return really(self, *arguments)
SqlCatalog.commit_table = commit
catalog = load_catalog("t", type="sql", uri=f"sqlite:///{folder}/c.db", warehouse=f"file://{folder}/w")
compact(catalog, "kafka.relay_by_ip", "killed", fewest=2)
"""


@pytest.mark.parametrize("commits", [0, 1])
def test_a_killed_compaction_has_put_fewer_files_together(catalog: Catalog, tmp_path: Path, commits: int) -> None:
    """The files are written when it is killed; before its commit they are nobody's."""
    for landing in cut(small(), 4, 8):
        land(catalog, landing)
    table = catalog.load_table(BY_IP.name)
    before, snapshots = rows(table), len(table.metadata.snapshots)
    outcome = subprocess.run(
        [sys.executable, "-c", DYING, str(commits), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "plugins")},
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert outcome.returncode == -signal.SIGKILL
    table = catalog.load_table(BY_IP.name)
    assert len(table.metadata.snapshots) == snapshots + commits
    assert rows(table) == before
    assert compact(catalog, BY_IP.name, "tidy", fewest=2) is not None
    assert rows(catalog.load_table(BY_IP.name)) == before


def test_the_dag_puts_every_table_together_or_those_asked_for(stack: dict[str, str], tmp_path: Path) -> None:
    airflow = Airflow(stack, tmp_path)
    catalog = open_catalog(from_environment(airflow.env))
    for spec in (BY_IP, tables.records(topics.CUSTOMER_EVENTS)):
        table = tables.ensure(catalog, spec)
        for offset in range(8):
            append(table, offset)
    forms = ("kafka.relay_by_ip", None, "kafka.relay_by_ip, kafka.nonsense")
    first, second, third = airflow.run("compact_lake", *({"tables": form} for form in forms))[0]
    returned = [run["tasks"]["compact"]["returned"] for run in (first, second)]
    assert [[(one["table"], one["files"], one["became"], one["rows"]) for one in run] for run in returned] == [
        [("kafka.relay_by_ip", 8, 1, 8)],
        [("kafka.customer_events", 8, 1, 8)],
    ]
    assert third["state"] == "failed"
    assert [row["offset"] for row in rows(catalog.load_table(BY_IP.name))] == list(range(8))
