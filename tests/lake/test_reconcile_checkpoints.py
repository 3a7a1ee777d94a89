"""Going on from a checkpoint finds exactly what folding everything finds, or says that it does not go on."""

import logging
import os
import random
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal
from pyiceberg.catalog import Catalog, load_catalog

import lake as lake_package
from lake import tables
from lake.reconcile import checkpoint, histories, resume, sharded
from lake.reconcile.allowances import Allowances
from lake.reconcile.checkpoint import CODE, digest_of
from lake.reconcile.checkpoints import ORPHAN, Checkpoints
from lake.reconcile.digests import Keys
from lake.reconcile.late import would_change
from lake.reconcile.match import match
from lake.reconcile.pool import Part
from lake.reconcile.read import Lake
from lake.reconcile.resume import Carry, CheckpointDiffers
from lake.reconcile.scope import Scope
from lake.reconcile.sharded import Compared
from lake.settings import from_environment
from order_fraud import topics
from order_fraud.history import pack, unpack
from order_fraud.topics import ARCHIVED
from scorecards import PANEL
from tests.lake.conftest import running_stack
from tests.lake.reconcile_world import World, full_traffic
from tests.lake.test_reconcile_kinds import everything
from tests.lake.test_reconcile_lake import land
from tests.lake.test_reconcile_sharded import crooked, timeless

EVER = (date(2000, 1, 1), date(2100, 1, 1))


class Here:
    """The pool's work, done by this process: what other processes do differently, test_reconcile_sharded shows."""

    def __init__(self, workers: int) -> None:
        pass

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, parts: list[Part], there: set[str]) -> Iterator[tuple[Part, Any]]:
        waiting = deque(parts)
        while waiting:
            part = next(one for one in waiting if one.needs <= there)
            waiting.remove(part)
            answer = part.work(*part.arguments)
            there.add(part.gives)
            yield part, answer


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


def cut(world: World, landings: int, seed: int) -> list[World]:
    """Cut the archive into landings: of each partition of each topic another share comes with each of them."""
    draw = random.Random(seed)
    made = [World() for _ in range(landings)]
    made[-1].shop, made[-1].charges = world.shop, world.charges
    for topic, rows in world.topics.items():
        for partition in sorted({row["partition"] for row in rows}):
            its = sorted((row for row in rows if row["partition"] == partition), key=lambda row: row["offset"])
            ends = [*sorted(draw.randint(0, len(its)) for _ in range(landings - 1)), len(its)]
            for landing, start, end in zip(made, [0, *ends], ends, strict=False):
                landing.topics.setdefault(topic, []).extend(its[start:end])
    return made


def run(catalog: Catalog, store: Checkpoints, *, full: bool = False) -> Compared:
    return resume.compare(Lake(catalog), PANEL, *EVER, 2, Carry(store, "a run", full))


def whole(catalog: Catalog) -> Compared:
    return sharded.compare(Lake(catalog), PANEL, *EVER, 2)


def findings(catalog: Catalog, found: Compared) -> list[Any]:
    lake, allowances = Lake(catalog), Allowances()
    changed = would_change(lake.archive, found.parity, found.panels, *EVER, allowances.late, lake.values_at)
    return match(Scope(found.facts, found.parity, *EVER, lake.settled, lake.snapshots, allowances, changed))


def same(one: Compared, other: Compared) -> None:
    assert timeless(one.parity) == timeless(other.parity)
    assert one.panels.versions() == other.panels.versions()
    assert one.ledger == other.ledger
    for name in (field.name for field in fields(one.facts)):
        assert_frame_equal(getattr(one.facts, name), getattr(other.facts, name), check_row_order=name != "sign_ups")


@pytest.mark.parametrize(("make", "seed"), [("crooked", 1), ("crooked", 2), ("everything", 4)])
def test_going_on_finds_what_folding_everything_finds(
    catalog: Catalog, store: Checkpoints, caplog: pytest.LogCaptureFixture, make: str, seed: int
) -> None:
    world = crooked() if make == "crooked" else everything(seed)[0]
    for number, landing in enumerate(cut(world, 3, seed)):
        land(catalog, landing)
        caplog.clear()
        found = run(catalog, store)
        assert ("going on from checkpoint" in caplog.text) == (number > 0)
        assert ("folding everything" in caplog.text) == (number == 0)
    everything_folded = whole(catalog)
    same(found, everything_folded)
    assert findings(catalog, found) == findings(catalog, everything_folded)
    states = {one.state for one in found.parity.disagreements}
    assert make == "everything" or states == {"differs", "unjudged", "lost", "pending", "unexplained"}


def small() -> World:
    """Return a world of few records in few partitions: planning a scan of Iceberg is what these tests spend."""
    incoming = full_traffic(customers=6, orders=2)
    return World().stream(incoming).sell(incoming)


def landed(catalog: Catalog, store: Checkpoints) -> World:
    """Land half of a world, leave a checkpoint, and return the other half."""
    half, rest = cut(small(), 2, 5)
    land(catalog, half)
    run(catalog, store)
    return rest


def test_what_does_not_fit_is_not_gone_on_from(
    catalog: Catalog, store: Checkpoints, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(catalog, landed(catalog, store))
    table = catalog.load_table(tables.records(topics.RELAY_BY_IP).identifier)
    rows = table.scan().to_arrow()
    right = whole(catalog)

    def refused(why: str) -> None:
        caplog.clear()
        same(run(catalog, store), right)
        assert why in caplog.text
        assert "folding everything" in caplog.text

    def newest() -> checkpoint.Manifest:
        manifest = next(store.manifests())
        for file in Path(store.root).glob("*.json"):
            if file.stem != manifest.id:
                file.unlink()  # or the one before would do
        return manifest

    def segment() -> Path:
        return Path(store.root) / next(one.path for one in newest().segments if one.path.endswith(".arrow"))

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "code", lambda: "another")
        refused("the code that folds, or a library it is built on, is another now")
    harmed = Path(store.root) / f"{newest().id}.json"
    harmed.write_bytes(msgspec.json.encode(msgspec.structs.replace(newest(), code=checkpoint.code()))[:-9])
    refused("is no manifest and is passed over")
    harmed = segment()
    harmed.write_bytes(harmed.read_bytes()[:-1] + b"x")
    refused("does not hold what was written")
    segment().unlink()
    refused("is not there")
    newest()
    table.overwrite(rows)  # the very same rows, but who knows that?
    refused("data files of relay.by-ip that were folded are not in the table any more")
    newest()
    behind = rows.slice(0, 1).to_pylist()[0] | {"offset": 0, "event_id": "order/behind", "subject": "behind"}
    table.append(pa.Table.from_pylist([behind], schema=table.schema().as_arrow()))
    right = whole(catalog)
    refused("has landed since with offset 0 of partition")


def test_a_verdict_before_the_first_known_one_is_not_gone_on_from(
    catalog: Catalog, store: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    world = small()
    land(catalog, world)
    run(catalog, store)
    known = max(world.topics["fraud.verdicts"], key=lambda row: row["partition"])
    assert known["partition"] > 0
    other = known | {"partition": 0, "offset": 10**6, "value": known["value"].replace('"1"', '"2"')}
    land(catalog, World(topics={"fraud.verdicts": [other]}))
    caplog.clear()
    same(run(catalog, store), whole(catalog))
    assert f"a verdict on order {known['subject']} has landed that comes before" in caplog.text
    assert "folding everything" in caplog.text


def test_a_checkpoint_that_differs_from_the_log_is_a_clear_failure(
    catalog: Catalog, store: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    land(catalog, landed(catalog, store))
    (manifest,) = store.manifests()
    old = next(one for one in manifest.segments if one.name.startswith("histories of customer.events."))
    file = Path(store.root) / old.path
    frame = pl.read_ipc(file, memory_map=False)
    first = unpack(frame["history"][0])
    forged = [pack(msgspec.structs.replace(first, first_seen=first.first_seen - 1)), *frame["history"][1:]]
    frame.with_columns(pl.Series("history", forged, pl.Binary)).write_ipc(file)
    digest = checkpoint.hashlib.sha256(file.read_bytes()).hexdigest()
    segments = [replace_sha(one, digest) if one == old else one for one in manifest.segments]
    changed = msgspec.structs.replace(manifest, segments=segments)
    (Path(store.root) / f"{manifest.id}.json").write_bytes(msgspec.json.encode(changed))
    with pytest.raises(CheckpointDiffers, match=r"histories of customer\.events, partition \d"):
        run(catalog, store, full=True)
    assert list(store.manifests()) == []
    caplog.clear()
    same(run(catalog, store, full=True), whole(catalog))
    assert "folding everything" in caplog.text


def replace_sha(segment: checkpoint.Segment, digest: str) -> checkpoint.Segment:
    return msgspec.structs.replace(segment, sha256=digest)


def test_so_many_runs_and_everything_is_folded_and_proved(
    catalog: Catalog, store: Checkpoints, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume, "FULL_EVERY", 2)
    proved = []
    for landing in cut(small(), 4, 6):
        land(catalog, landing)
        caplog.clear()
        run(catalog, store)
        proved.append("is proved" in caplog.text)
    assert proved == [False, False, True, False]
    assert [one.number for one in store.manifests()] == [1, 0, 1]


def test_few_checkpoints_stay_and_what_they_need(catalog: Catalog, store: Checkpoints) -> None:
    for landing in cut(small(), 4, 7):
        land(catalog, landing)
        run(catalog, store)
    manifests = list(store.manifests())
    assert [one.number for one in manifests] == [3, 2, 1]
    store.tidy(datetime.now(UTC) + 2 * ORPHAN)
    named = {f"{store.root}/{segment.path}" for one in manifests for segment in one.segments}
    assert {path for path in store.files.find(store.root) if not path.endswith(".json")} == named
    same(run(catalog, store), whole(catalog))
    assert list(store.manifests()) == manifests, "nothing has come in since, so there is nothing to keep"


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from lake.reconcile.checkpoint import Manifest
from lake.reconcile.checkpoints import Checkpoints
from lake.reconcile.digests import Keys
store, left = Checkpoints.in_folder(Path(sys.argv[1])), [int(sys.argv[2])]
def dying(name):
    does = getattr(store.files, name)
    def done(*arguments):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return does(*arguments)
    return done
for name in ("put_file", "pipe_file"):
    setattr(store.files, name, dying(name))
manifest = Manifest(id="2026", made_at=datetime.now(UTC), run_id="", code="", number=0, keys=Keys(), read={}, ends={},
                    segments=[])
store.keep(manifest, Path(sys.argv[3]), ["a", "b", "c"])
"""


@pytest.mark.parametrize("after", [2])
def test_a_run_killed_while_it_writes_leaves_no_checkpoint(store: Checkpoints, tmp_path: Path, after: int) -> None:
    made = tmp_path / "made"
    made.mkdir()
    for name in "abc":
        (made / name).write_text(name)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, store.root, str(after), str(made)],
        env=os.environ | {"PYTHONPATH": str(Path(lake_package.__file__).parents[1])}, timeout=60, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    assert list(store.manifests()) == []
    now = datetime.now(UTC)
    left = store.files.find(store.root)
    store.tidy(now)
    assert store.files.find(store.root) == left, "another run may be writing at this moment"
    store.tidy(now + ORPHAN + timedelta(minutes=1))
    assert store.files.find(store.root) == []


def test_checkpoints_on_the_real_store(tmp_path: Path) -> None:
    made, fetched = tmp_path / "made", tmp_path / "fetched"
    made.mkdir()
    fetched.mkdir()
    manifest = checkpoint.Manifest(
        id="1", made_at=datetime.now(UTC), run_id="", code="", number=0, keys=Keys(), read={}, ends={"t": {3: 9}},
        segments=[],
    )  # fmt: skip
    with running_stack(tmp_path / "stack", "s3") as environ:
        store = Checkpoints.in_bucket(from_environment({"COUNTERSIGN_CATALOG": "sqlite://", **environ}))
        assert list(store.manifests()) == []
        store.tidy(datetime.now(UTC))
        for number in range(5):
            (made / f"{number}").write_text(f"of {number}")
            store.keep(msgspec.structs.replace(manifest, id=f"{number}"), made, [f"{number}"])
        newest, *_ = store.manifests()
        assert newest.ends == {"t": {3: 9}}
        assert newest.keys == manifest.keys
        store.fetch(newest, fetched)
        assert (fetched / "4").read_text() == "of 4"
        store.tidy(datetime.now(UTC))
        assert [one.id for one in store.manifests()] == ["4", "3", "2"]
        store.discard(newest)
        store.tidy(datetime.now(UTC) + 2 * ORPHAN)
        names = {path.rpartition("reconcile_orders/")[2] for path in store.files.find(store.root)}
        assert names == {"2.json", "3.json", "2/2", "3/3"}


def test_the_digest_covers_all_code_that_folds(tmp_path: Path) -> None:
    plugins = Path(lake_package.__file__).parents[1]
    covered = {file for folder, patterns in CODE for pattern in patterns for file in folder.glob(pattern)}
    for folder in ("order_fraud", "scorecards", "lake/reconcile"):
        assert {*(plugins / folder).rglob("*.py"), *(plugins / folder).rglob("*.json")} <= covered
    used = {Path(module.__file__ or "") for name, module in sys.modules.items() if name.startswith("lake.")}
    needed = {"lake/labels.py", "lake/masking.py", "lake/tables.py"}
    assert {plugins / one for one in needed} <= used & covered | {plugins / "lake/masking.py"}
    code = tmp_path / "code"
    code.mkdir()
    seen = set()
    for name, text in (("a.py", "x = 1\n"), ("a.py", "x = 2\n"), ("b.py", "x = 1\n")):
        (code / name).write_text(text)
        seen.add(digest_of(((code, ("*.py",)),)))
    assert len(seen) == 3


def test_what_was_remembered_longest_ago_gives_way_to_what_is_newer(tmp_path: Path) -> None:
    frames = [{"id": ["a", "b"], "history": [b"1", b"2"]}, {"id": ["b", "c"], "history": [b"3", b"4"]}]
    for number, rows in enumerate(frames):
        name = f"histories of relay.by-ip.1.{number}.arrow"
        pl.DataFrame(rows, schema=histories.SCHEMA).write_ipc(tmp_path / name)
    found = dict(histories.whole(tmp_path, "relay.by-ip", 1).iter_rows())
    assert found == {"a": b"1", "b": b"3", "c": b"4"}
    assert histories.whole(tmp_path, "relay.by-ip", 2).is_empty()


def test_files_say_which_offsets_they_hold(catalog: Catalog) -> None:
    world = small()
    land(catalog, world)
    found = checkpoint.ends(checkpoint.files(Lake(catalog)))
    assert {*checkpoint.files(Lake(catalog))} == {topic.name for topic in ARCHIVED}
    rows = world.topics["relay.by-ip"]
    assert found["relay.by-ip"] == {
        partition: max(row["offset"] for row in rows if row["partition"] == partition)
        for partition in {row["partition"] for row in rows}
    }
