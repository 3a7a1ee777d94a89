"""Several processes find exactly what one finds."""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import date, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal
from pyiceberg.catalog import Catalog, load_catalog

import lake as lake_package
from lake import tables
from lake.reconcile import run, sharded
from lake.reconcile.allowances import Allowances
from lake.reconcile.digests import Archived, Keys
from lake.reconcile.findings import KINDS
from lake.reconcile.late import would_change
from lake.reconcile.match import match
from lake.reconcile.outcome import Outcome
from lake.reconcile.parity import Parity, compare, read_panels
from lake.reconcile.pool import Part, Pool, WorkerDied, WorkerFailed
from lake.reconcile.read import Lake
from lake.reconcile.scope import Scope
from lake.reconcile.summary import summarize
from order_fraud import events, topics
from order_fraud.events import DeliveryReleased
from order_fraud.judge import Judge, Panel
from scorecards import PANEL
from tests.lake.reconcile_world import ARRIVED, START, World, edit, full_traffic, order, sign_up
from tests.lake.test_reconcile_kinds import everything
from tests.lake.test_reconcile_lake import land
from tests.lake.test_reconcile_versions import STRICT

EVER = (date(2000, 1, 1), date(2100, 1, 1))


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = load_catalog("t", type="sql", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}/w")
    yield opened
    opened.close()


def timeless(parity: Parity) -> Parity:
    return replace(parity, hops=tuple(replace(hop, seconds=0.0) for hop in parity.hops))


def versions(panel: Panel) -> list[str]:
    return [judge.version for judge in (panel.active, *panel.shadows)]


def crooked() -> World:
    """A world with every state of disagreement, refused inputs, several scorecards, and numbers in another spelling."""
    incoming = full_traffic(customers=30, orders=5)
    incoming.append(next(event for event in incoming if event.subject == "c3-1"))  # refused as a repeat
    world = World()
    world.publish(STRICT)
    world.activate("strict", "1", at=START + timedelta(days=1))
    strict = Panel(Judge(STRICT), (PANEL.active,))
    world.stream(incoming, lambda order_id: strict if order_id.endswith("-3") else PANEL).sell(incoming)
    verdicts, by_card, by_ip = (world.topics[name] for name in ("fraud.verdicts", "relay.by-card", "relay.by-ip"))
    orders = [row for row in by_card if row["type"] == "NewOrder"]
    edit(verdicts[5], amount=1)
    edit(orders[7], signals={**events.decode(orders[7]["value"].encode()).data.signals, "customer.orders_1h": 99.0})
    edit(verdicts[9], scorecard_version="nobody's")
    for row in (verdicts[11], orders[2], next(row for row in by_ip if row["type"] == "NewOrder")):
        row["value"] = row["value"].replace(".0,", ".00,")  # another spelling is no difference
    forged = next(row for row in by_ip[9:] if row["type"] == "NewOrder")
    edit(forged, signals={"ip.orders_1h": 7.0, **events.decode(forged["value"].encode()).data.signals})
    for order_id in ("c4-2", "c9-4"):
        world.drop("fraud.verdicts", f"verdict/{order_id}")
    last = max(world.topics["relay.by-address"], key=lambda row: (row["partition"], row["offset"]))
    world.drop("relay.by-ip", next(row["event_id"] for row in reversed(by_ip)))
    if last["type"] == "NewOrder":
        world.drop("fraud.verdicts", f"verdict/{last['subject']}")
    world.append("relay.by-ip", "10.0.0.1", order("ghost-1", "ghost", START, ip="10.0.0.1"))
    verdicts.append(verdicts[3] | {"offset": 100_000})
    verdicts.append(verdicts[4] | {"offset": 100_003})
    edit(verdicts[-1], amount=2)
    unusable = world.topics["customer.events"][20]
    unusable["value"] = unusable["value"].replace('"specversion":"1.0"', '"specversion":"9"')
    world.append("customer.events", "stranger", sign_up("c1", START))
    world.told(DeliveryReleased, "ghost-1", "ghost", START)
    world.alarmed("c4-2", "c4", START)
    world.charges.pop(3)
    world.pay("nobody's", START + timedelta(days=1), 500)
    return world


@pytest.mark.parametrize("make", [crooked, World, lambda: World().stream([order("c-1", "c", START)])])
def test_several_processes_find_what_one_finds(catalog: Catalog, make: Callable[[], World]) -> None:
    land(catalog, make())
    lake = Lake(catalog)
    alone, facts = compare(lake.archive, PANEL, *EVER), lake.facts()
    panels, allowances = read_panels(lake.archive, PANEL), Allowances()
    found = sharded.compare(lake, PANEL, *EVER, workers=2)
    together, gathered, judges = found.parity, found.facts, found.panels
    assert timeless(together) == timeless(alone)
    assert judges.known.scorecards == panels.known.scorecards
    assert judges.unpublished == panels.unpublished
    for order_id in ("nobody's", *facts.streamed["order_id"], *facts.verdicts["order_id"]):
        assert versions(judges(order_id)) == versions(panels(order_id))
    for name in (field.name for field in fields(facts)):
        in_order = name != "sign_ups"
        assert_frame_equal(getattr(gathered, name), getattr(facts, name), check_row_order=in_order)
    scopes = []
    for known, parity, by in ((facts, alone, panels), (gathered, together, judges)):
        changed = would_change(lake.archive, parity, by, *EVER, allowances.late)
        scopes.append(Scope(known, parity, *EVER, lake.settled, lake.snapshots, allowances, changed))
    assert match(scopes[0]) == match(scopes[1])
    assert summarize(scopes[0]) == summarize(scopes[1])


def test_several_processes_find_every_kind(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    world, planted = everything(3)
    land(catalog, world)
    lake, days = Lake(catalog), ((START - timedelta(days=40)).date(), (START + timedelta(days=20)).date())
    patience = Allowances(held_hours=(lake.settled - ARRIVED) / timedelta(hours=1) + 48)  # as in test_reconcile_lake

    def outcome() -> Outcome:
        found = run.look(lake, "one", *days, patience, dry_run=True)
        parity = found.parity
        hops = [replace(hop, seconds=0.0) for hop in parity.hops]
        parity = msgspec.structs.replace(parity, hops=hops, seconds=0.0)
        return msgspec.structs.replace(found, made_at=START, parity=parity)

    monkeypatch.setattr(sharded, "processors", lambda: 1)
    alone = outcome()
    assert {(one.finding.kind, one.finding.order_id) for one in alone.differences} == planted.keys()
    assert {one.finding.kind for one in alone.differences} == set(KINDS)
    monkeypatch.setattr(sharded, "processors", lambda: 2)
    monkeypatch.setattr(sharded, "WORTH", 0)
    assert outcome() == alone


def test_what_had_not_landed_then_is_in_no_partition(catalog: Catalog) -> None:
    land(catalog, World().stream([order("c-1", "c", START)]))
    assert sum(Lake(catalog).partitions("customer.events").values()) == Lake(catalog).rows("customer.events") == 1
    before = Lake(catalog, {})
    assert before.partitions("customer.events") == {}
    assert before.rows("customer.events") == 0
    assert list(before.stream("customer.events", ("offset",), 0, 7)) == []
    copied = pickle.loads(pickle.dumps(before))  # noqa: S301 - our own
    assert copied.archive("customer.events", ("offset",)).is_empty()


def test_the_crooked_world_has_everything(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    land(catalog, crooked())
    lake = Lake(catalog)
    asked: list[int] = []
    compare_sharded = sharded.compare
    monkeypatch.setattr(sharded, "compare", lambda *args: asked.append(args[-1]) or compare_sharded(*args))
    monkeypatch.setattr(sharded, "processors", lambda: 2)
    monkeypatch.setattr(sharded, "WORTH", lake.rows("customer.events"))
    parity, facts, _ = run.compared(lake, *EVER)
    assert asked == [2]
    monkeypatch.setattr(sharded, "WORTH", lake.rows("customer.events") + 1)
    assert timeless(run.compared(lake, *EVER)[0]) == timeless(parity)
    assert asked == [2], "few records are not worth the processes"
    states = {one.state for one in parity.disagreements}
    assert states == {"differs", "unjudged", "lost", "pending", "unexplained"}
    assert {one.version for one in parity.judged} == {"1", "strict", "nobody's"}
    assert len(parity.refused) >= 3
    kinds = {one.finding.kind for one in match(Scope(facts, parity, *EVER, lake.settled, lake.snapshots))}
    assert kinds >= {
        *("verdict-missing", "verdict-repeated", "verdict-not-reproducible"),
        *("released-without-clearance", "payment-missing", "payment-orphan"),
    }


def test_landings_that_overlap_or_lie_about_are_read_in_the_order_of_offsets(catalog: Catalog) -> None:
    world = World().stream(full_traffic())
    rows = world.topics["customer.events"]
    table = tables.ensure(catalog, tables.records(topics.CUSTOMER_EVENTS))

    def offsets() -> dict[int, list[int]]:
        lake = Lake(catalog)
        return {
            partition: [
                offset
                for batch in lake.stream("customer.events", ("value", "offset"), partition, 7)
                for offset in batch["offset"]
            ]
            for partition in lake.partitions("customer.events")
        }

    def add(part: list[dict[str, Any]]) -> None:
        table.append(pa.Table.from_pylist(part, schema=table.schema().as_arrow()))

    add(rows[40:])
    add(rows[:40])  # landed later, but earlier in the topic
    expected = {
        partition: sorted(row["offset"] for row in rows if row["partition"] == partition) for partition in range(4)
    }
    assert offsets() == expected
    more = [row | {"offset": row["offset"] + 1} for row in rows]
    add(more[::2][::-1])  # overlaps, and falls
    for row in more[::2]:
        expected[row["partition"]] = sorted([*expected[row["partition"]], row["offset"]])
    assert offsets() == expected


def test_digests_tell_apart_what_is_not_the_same() -> None:
    keys = Keys()
    ids, values = pl.Series(["a", "b", "a", "a"]), pl.Series(["x", "x", "y", "x"])
    digests = keys.of(ids, values)
    found = Archived.of(2, [digests[:, :1], digests[:, 2:3]], [np.array([5]), np.array([9])]).find(digests)
    assert (found >= 0).tolist() == [True, False, True, True]
    assert (Archived.of(2, [], []).find(digests) == -1).all()
    assert (Keys().of(ids, values) != digests).all()


def test_a_workers_error_and_its_death_are_told() -> None:
    with Pool(2) as pool:
        parts = [
            Part(divmod, (9, 4), "second", frozenset({"first", "ours"})),
            Part(divmod, (7, 2), "first"),
            Part(max, (1, 5), "third", frozenset({"second"})),
        ]
        there, answers = set[str](), []
        for part, answer in pool.run(parts, there):
            answers.append((part.gives, answer))
            there.add("ours")
        assert answers == [("first", (3, 1)), ("second", (2, 1)), ("third", 5)]
        with pytest.raises(RuntimeError, match=r"nobody gives what is needed: \['a cake'\]"):
            list(pool.run([Part(max, (1, 2), needs=frozenset({"a cake"}))], set()))
        with pytest.raises(WorkerFailed, match="ZeroDivisionError"):
            list(pool.run([Part(divmod, (1, 0))], set()))
    with Pool(1) as pool, pytest.raises(WorkerDied, match="code 3"):
        list(pool.run([Part(os._exit, (3,))], set()))


def test_workers_go_when_their_parent_is_killed() -> None:
    script = (
        "import os, signal\nfrom lake.reconcile.pool import Part, Pool\n"
        "with Pool(2) as pool:\n"
        "    print(*[pid for _, pid in pool.run([Part(os.getpid, ())] * 2, set())], flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    plugins = Path(lake_package.__file__).parents[1]
    killed = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": str(plugins)}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    pids = {int(pid) for pid in killed.stdout.split()}
    assert pids
    deadline = monotonic() + 20
    while alive := {pid for pid in pids if _runs(pid)}:
        assert monotonic() < deadline, f"still there: {alive}"
        sleep(0.1)


def _runs(pid: int) -> bool:
    """Whether a process is there and more than the entry that a parent has not yet asked for."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
