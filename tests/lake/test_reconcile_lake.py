"""The findings table, and reading the lake at fixed snapshots: on a real Iceberg catalog in a folder."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.table import Table

from lake import tables
from lake.landing.flows import folder, tables_in
from lake.reconcile import ledger
from lake.reconcile.findings import Difference
from lake.reconcile.match import match
from lake.reconcile.outcome import dump, load
from lake.reconcile.parity import compare
from lake.reconcile.read import Lake, NothingLanded
from lake.reconcile.run import BadDays, parse_days
from lake.reconcile.scope import GRACE, Scope
from lake.reconcile.summary import figures, summarize
from order_fraud.topics import ARCHIVED
from scorecards import PANEL
from tests.lake.reconcile_world import START, World, calm, order, outcome_of, traffic

SOURCES = tables_in(folder())
SPECS = {spec.name: spec for spec in tables.TOPICS} | {name: SOURCES[name] for name in tables.RECONCILED}
EVER = (date(2000, 1, 1), date(2100, 1, 1))


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = load_catalog("t", type="sql", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}/w")
    yield opened
    opened.close()


def land(catalog: Catalog, world: World) -> None:
    """Put a world's rows into the lake's tables."""
    rows: dict[str, list[dict[str, Any]]] = {
        tables.records(topic).name: world.topics.get(topic.name, []) for topic in ARCHIVED
    }
    rows["shop.orders"] = [row | {"updated_at": row["created_at"]} for row in world.shop]
    rows["payments.charges"] = world.charges
    for spec in SPECS.values():
        if rows[spec.name] or spec.identifier[0] == "kafka":  # an empty topic lands, too
            table = tables.ensure(catalog, spec)
            table.append(pa.Table.from_pylist(rows[spec.name], schema=table.schema().as_arrow()))


def findings(catalog: Catalog) -> list[tuple[str, str, str, str]]:
    rows = catalog.load_table("reconciliation.findings").scan().to_arrow().to_pylist()
    return sorted((row["kind"], row["order_id"], row["run_id"], row["first_seen_run"]) for row in rows)


def test_lake_gives_the_facts_that_landed(catalog: Catalog) -> None:
    world = calm()
    world.charges.pop()
    land(catalog, world)
    lake = Lake(catalog)
    assert lake.days() == (min(row["day"] for row in world.shop), max(row["day"] for row in world.shop))
    assert lake.snapshots.keys() == SPECS.keys()
    assert lake.settled <= datetime.now(UTC) - GRACE
    parity = compare(lake.archive, PANEL, *EVER)
    assert (parity.verdicts, parity.verdicts_equal) == (48, 48)
    scope = Scope(lake.facts(), parity, *EVER, lake.settled, lake.snapshots)
    (one,) = match(scope)
    assert one.finding.kind == "payment-missing"
    assert one.finding.evidence["snapshot of payments.charges"] == str(lake.snapshots["payments.charges"])
    summary = summarize(scope)
    assert summary.orders == 48
    assert [step.name for step in summary.funnel] == ["sold", "streamed", "judged", "cleared", "released", "paid"]
    assert [step.orders for step in summary.funnel[:3]] == [48, 48, 48]
    assert summary.funnel[3].orders == summary.funnel[4].orders == summary.verdicts["NoFraudDetected"]
    assert sum(cleared + held for _, cleared, held in summary.scores) == 48
    assert sum(day.cleared + day.possible_fraud for day in summary.days) == 48
    assert figures(parity).pending == 0


def test_order_dated_ahead_is_found_and_counts_for_no_day_of_a_back_test(catalog: Catalog) -> None:
    far = order("far-1", "far", datetime(2099, 12, 31, tzinfo=UTC), 700)
    made = [*traffic(), far]
    land(catalog, World().stream(made).sell(made))
    lake = Lake(catalog)
    assert lake.days() == (START.date(), date(2099, 12, 31)), "reconciled by default, too"
    assert lake.judged_days() == (START.date(), max(event.time.date() for event in traffic()))
    scope = Scope(lake.facts(), compare(lake.archive, PANEL, *EVER), *EVER, lake.settled, {})
    (one,) = (one.finding for one in match(scope) if one.finding.order_id == "far-1")
    assert one.kind == "verdict-missing"
    assert "was refused (order/far-1 is dated 2099-12-31T00:00:00+00:00, more than a day after its record" in one.cause


def test_rows_that_land_later_are_not_seen(catalog: Catalog) -> None:
    land(catalog, calm())
    lake = Lake(catalog)
    later = World()
    later.in_shop("x-1", "x", START, 100)
    land(catalog, later)
    assert match(Scope(lake.facts(), compare(lake.archive, PANEL, *EVER), *EVER, lake.settled, {})) == []


def test_empty_lake_says_what_to_run(catalog: Catalog) -> None:
    lake = Lake(catalog)
    assert lake.snapshots == {}
    assert compare(lake.archive, PANEL, *EVER).verdicts == 0
    assert lake.facts().streamed.is_empty()
    with pytest.raises(NothingLanded, match="run land_events and land_sources first"):
        lake.days()
    with pytest.raises(NothingLanded, match="no order has landed yet: run land_events first"):
        lake.judged_days()


def test_rows_in_quarantine_name_their_order(catalog: Catalog) -> None:
    land(catalog, calm())
    shop = tables.ensure(catalog, tables.quarantine(SPECS[tables.SOLD]))
    charges = tables.ensure(catalog, tables.quarantine(SPECS[tables.PAID]))
    common = {"day": None, "reason": "bad", "expectation": "x", "origin": "o", "landed_at": START, "run_id": "r"}

    def put(table: Table, *rows: tuple[str | None, str]) -> None:
        full = [common | {"quarantine_id": str(n), "row_id": key, "row": row} for n, (key, row) in enumerate(rows)]
        table.append(pa.Table.from_pylist(full, schema=table.schema().as_arrow()))

    put(shop, ("s-1", '{"sourceIdentifier": "s-1"}'), (None, "{}"), ("c1-1", '{"sourceIdentifier": "c1-1"}'))
    put(charges, ("ch_x", '{"metadata": {"order_id": "p-1"}}'), ("ch_0", '{"metadata": {"order_id": "landed since"}}'))
    facts = Lake(catalog).facts()
    assert facts.shop_aside["order_id"].to_list() == ["s-1"]
    assert facts.charges_aside["order_id"].to_list() == ["p-1"]


def test_findings_keep_the_run_that_saw_them_first(catalog: Catalog) -> None:
    world = calm()
    for _ in range(3):
        world.charges.pop()
    missing = sorted({row["order_id"] for row in world.shop} - {row["order_id"] for row in world.charges})
    assert ledger.record(catalog, outcome_of(world, "one")) == 3
    assert findings(catalog) == [("payment-missing", order_id, "one", "one") for order_id in missing]

    paid, *rest = missing
    world.pay(paid, START, next(row["amount"] for row in world.shop if row["order_id"] == paid))
    world.pay("ghost", START, 100)
    assert ledger.record(catalog, outcome_of(world, "two")) == 1
    assert findings(catalog) == [
        ("payment-missing", paid, "one", "one"),
        *(("payment-missing", order_id, "two", "one") for order_id in rest),
        ("payment-orphan", "ghost", "two", "two"),
    ]


def test_recording_again_changes_nothing_and_makes_no_snapshot(catalog: Catalog) -> None:
    world = calm()
    world.charges.pop()
    outcome = outcome_of(world, "one")
    ledger.record(catalog, outcome)
    before = catalog.load_table("reconciliation.findings").current_snapshot()
    ledger.record(catalog, outcome)
    assert catalog.load_table("reconciliation.findings").current_snapshot() == before
    (row,) = catalog.load_table("reconciliation.findings").scan().to_arrow().to_pylist()
    assert json.loads(row["evidence"]) == outcome.differences[0].finding.evidence


def test_no_findings_leave_the_table_alone(catalog: Catalog) -> None:
    assert ledger.record(catalog, outcome_of(calm(), "one")) == 0
    assert not catalog.table_exists("reconciliation.findings")


def test_emitted_before_knows_only_other_runs(catalog: Catalog) -> None:
    world = calm()
    world.pay("ghost", START, 100)
    outcome = outcome_of(world, "one")
    assert ledger.emitted_before(catalog, outcome) == set()
    ledger.record(catalog, outcome)
    assert ledger.emitted_before(catalog, outcome) == set()
    assert ledger.emitted_before(catalog, outcome_of(world, "two")) == {
        "finding/payment-orphan/ghost",
        "correction/payment-orphan/ghost",
    }


def test_outcome_survives_its_document() -> None:
    world = calm()
    world.pay("ghost", START, 100)
    world.charges.pop(0)
    outcome = outcome_of(world, "manual__2026-01-01T00:00:00+00:00")
    assert load(dump(outcome)) == outcome
    assert outcome.counts == {"payment-missing": 1, "payment-orphan": 1}
    assert isinstance(load(dump(outcome)).differences[0], Difference)
    with pytest.raises(msgspec.ValidationError):
        load(b"{}")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, None), (None, None)),
        (("", "2015-01-02"), (None, date(2015, 1, 2))),
        (("2015-01-02", "2015-01-02"), (date(2015, 1, 2), date(2015, 1, 2))),
    ],
)
def test_days_of_the_form(given: tuple[str | None, str | None], expected: tuple[date | None, date | None]) -> None:
    assert parse_days(*given) == expected


def test_bad_days_are_refused_with_a_reason() -> None:
    with pytest.raises(BadDays, match="from_day 2015-01-03 lies after to_day 2015-01-02"):
        parse_days("2015-01-03", "2015-01-02")
    with pytest.raises(BadDays, match="to_day '2015-02-30' is no date"):
        parse_days(None, "2015-02-30")
    assert timedelta(0) < GRACE
