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
from pyiceberg.schema import Schema
from pyiceberg.table import Table

from lake import tables
from lake.landing.flows import folder, tables_in
from lake.reconcile import ledger
from lake.reconcile.allowances import Allowances
from lake.reconcile.corrections import Emitted
from lake.reconcile.findings import Difference
from lake.reconcile.ledger import Recorded
from lake.reconcile.match import match
from lake.reconcile.outcome import dump, load
from lake.reconcile.parity import compare
from lake.reconcile.read import Lake, NothingLanded, SnapshotGone
from lake.reconcile.run import BadDays, look, parse_days
from lake.reconcile.scope import GRACE, Scope
from lake.reconcile.summary import figures, summarize
from lake.report.document import document
from order_fraud.events import DeliveryCancelled, DeliveryReleased, FraudCleared
from order_fraud.topics import ARCHIVED
from scorecards import PANEL
from tests.lake.reconcile_world import (
    ARRIVED,
    START,
    World,
    calm,
    feedback,
    order,
    outcome_of,
    sign_up,
    traffic,
)
from tests.lake.test_reconcile_kinds import everything

SOURCES = tables_in(folder())
SPECS = {spec.name: spec for spec in tables.TOPICS} | {name: SOURCES[name] for name in tables.RECONCILED}
EVER = (date(2000, 1, 1), date(2100, 1, 1))
PATIENT = Allowances(held_hours=1e6)
"""The world's records are of January 2026, and the lake's snapshots of today: every hold would be overdue."""


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
    rows["shop.orders"] = world.shop
    rows["payments.charges"] = world.charges
    for spec in SPECS.values():
        if rows[spec.name] or spec.identifier[0] == "kafka":  # an empty topic lands, too
            table = tables.ensure(catalog, spec)
            table.append(pa.Table.from_pylist(rows[spec.name], schema=table.schema().as_arrow()))
    for name, more in beside(world).items():
        if more:
            table = tables.ensure(catalog, tables.SETTLEMENT if name == tables.SETTLEMENT.name else SOURCES[name])
            table.append(pa.Table.from_pylist(more, schema=table.schema().as_arrow()))


def beside(world: World) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a world by those tables that a reconciliation can do without."""
    charge_of = {row["order_id"]: row["charge_id"] for row in world.charges}
    money_back = {"status": "succeeded", "reason": None}
    step = {"customer_id": "c", "number": 1, "word": "done", "step": "return-money", "undo": False, "evidence": "{}"}
    step |= {"cause": "", "known_at": START, "day": START.date(), "at": START, "run_id": "s"}
    return {
        tables.REFUNDED: [
            row | money_back | {"charge_id": charge_of[row["order_id"]], "day": row["created_at"].date()}
            for row in world.refunds
        ],
        tables.DISPUTED: world.disputes,
        tables.GIVEN_BACK: [
            row | {"day": row["created_at"].date(), "updated_at": row["created_at"]} for row in world.shop_refunds
        ],
        tables.KNOWN: [row | {"created_at": START, "day": START.date()} for row in world.contacts],
        tables.SETTLEMENT.name: [step | {"order_id": order_id} for order_id in world.returned],
    }


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
    scope = Scope(lake.facts(), parity, *EVER, lake.settled, lake.snapshots, PATIENT)
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
    assert match(Scope(lake.facts(), compare(lake.archive, PANEL, *EVER), *EVER, lake.settled, {}, PATIENT)) == []


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


def test_refund_or_contact_in_quarantine_is_no_witness(catalog: Catalog) -> None:
    world = calm()
    for place, row in enumerate(world.charges[:2]):
        row["captured"] = True
        world.give_back(row["order_id"], row["amount"])
        world.in_crm(row["order_id"].partition("-")[0], contact_id=f"003{place}", email_token=f"tok_other{place}")
    world.refund(world.charges[5]["order_id"], 1)
    land(catalog, world)

    def found() -> list[tuple[str, str]]:
        lake = Lake(catalog)
        scope = Scope(lake.facts(), compare(lake.archive, PANEL, *EVER), *EVER, lake.settled, lake.snapshots, PATIENT)
        return [(one.finding.kind, one.finding.order_id) for one in match(scope)]

    assert sorted(kind for kind, _ in found()) == ["customer-differs"] * 2 + ["refund-missing"] * 2
    common = {"day": None, "reason": "bad", "expectation": "x", "origin": "o", "landed_at": START, "run_id": "r"}
    aside = {
        tables.REFUNDED: ("re_x", {"charge": world.charges[0]["charge_id"]}),
        tables.KNOWN: ("003x", {"Customer_Id__c": world.charges[0]["order_id"].partition("-")[0]}),
    }
    for name, (row_id, row) in aside.items():
        table = tables.ensure(catalog, tables.quarantine(SOURCES[name]))
        full = common | {"quarantine_id": "q", "row_id": row_id, "row": json.dumps(row)}
        table.append(pa.Table.from_pylist([full], schema=table.schema().as_arrow()))
    assert ("refund-missing", world.charges[1]["order_id"]) in found()
    assert sorted(kind for kind, _ in found()) == ["customer-differs", "refund-missing"]


def test_witnesses_do_not_hold_up_what_is_settled(catalog: Catalog) -> None:
    """On a day without a refund their tables get no snapshot, and everything else must still be looked at."""
    world = calm()
    row = world.charges[0]
    world.refund(row["order_id"], 1)
    world.returned = [row["order_id"]]
    for name, rows in beside(world).items():
        if rows:
            spec = tables.SETTLEMENT if name == tables.SETTLEMENT.name else SOURCES[name]
            tables.ensure(catalog, spec).append(pa.Table.from_pylist(rows, schema=spec.schema.as_arrow()))
    before = datetime.now(UTC)
    land(catalog, calm())
    assert Lake(catalog).settled >= before - GRACE


def test_findings_keep_the_run_that_saw_them_first(catalog: Catalog) -> None:
    world = calm()
    for _ in range(3):
        world.charges.pop()
    missing = sorted({row["order_id"] for row in world.shop} - {row["order_id"] for row in world.charges})
    assert ledger.record(catalog, outcome_of(world, "one")) == Recorded(new=3, closed=0)
    assert findings(catalog) == [("payment-missing", order_id, "one", "one") for order_id in missing]

    paid, *rest = missing
    world.pay(paid, START, next(row["amount"] for row in world.shop if row["order_id"] == paid))
    world.pay("ghost", START, 100)
    assert ledger.record(catalog, outcome_of(world, "two")) == Recorded(new=1, closed=1)
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
    assert ledger.record(catalog, outcome_of(calm(), "one")) == Recorded(0, 0)
    assert not catalog.table_exists("reconciliation.findings")


def states(catalog: Catalog) -> dict[str, tuple[str, str | None, str]]:
    rows = catalog.load_table("reconciliation.findings").scan().to_arrow().to_pylist()
    return {row["order_id"]: (row["state"], row["closed_run"], row["run_id"]) for row in rows}


def test_finding_that_is_found_no_more_is_closed_and_may_be_opened_again(catalog: Catalog) -> None:
    world = calm()
    charge = world.charges.pop()
    order_id = charge["order_id"]
    ledger.record(catalog, outcome_of(world, "one"))
    assert states(catalog) == {order_id: ("open", None, "one")}
    world.charges.append(charge)
    healed = outcome_of(world, "two")
    assert healed.differences == []
    assert ledger.record(catalog, healed) == Recorded(new=0, closed=1)
    assert states(catalog) == {order_id: ("closed", "two", "one")}
    assert ledger.record(catalog, healed) == Recorded(new=0, closed=1)  # the same run, tried again
    assert ledger.record(catalog, outcome_of(world, "three")) == Recorded(new=0, closed=0)
    assert states(catalog) == {order_id: ("closed", "two", "one")}
    world.charges.remove(charge)
    assert ledger.record(catalog, outcome_of(world, "four")) == Recorded(new=0, closed=0)
    assert states(catalog) == {order_id: ("open", None, "four")}


def test_sign_up_that_comes_after_its_allowance_closes_its_finding(catalog: Catalog) -> None:
    made = [sign_up("c", START), order("c-1", "c", START), order("s-1", "s", START + timedelta(hours=1), 700)]
    ledger.record(catalog, outcome_of(World().stream(made).sell(made), "one"))
    assert states(catalog) == {"s-1": ("open", None, "one")}
    late = [*made, sign_up("s", START)]
    assert ledger.record(catalog, outcome_of(World().stream(late).sell(made), "two")) == Recorded(new=0, closed=1)
    assert states(catalog) == {"s-1": ("closed", "two", "one")}


def test_only_findings_of_the_days_looked_at_are_closed(catalog: Catalog) -> None:
    world = calm()
    charge = world.charges.pop()
    outcome = outcome_of(world, "one")
    ledger.record(catalog, outcome)
    world.charges.append(charge)
    day = outcome.differences[0].time.date()
    after = msgspec.structs.replace(outcome_of(world, "two"), first=day + timedelta(days=1))
    assert ledger.record(catalog, after) == Recorded(0, 0)
    assert states(catalog)[charge["order_id"]][0] == "open"
    on = msgspec.structs.replace(outcome_of(world, "three"), first=day, last=day)
    assert ledger.record(catalog, on) == Recorded(0, 1)


def test_run_that_had_read_less_changes_nothing_of_a_later_one(catalog: Catalog) -> None:
    """An old task is cleared and tried again: what it found may have been put right since."""
    world = calm()
    charge = world.charges.pop()
    old = outcome_of(world, "old")
    ledger.record(catalog, old)
    world.charges.append(charge)
    world.pay("ghost", START, 100)
    new = msgspec.structs.replace(outcome_of(world, "new"), settled=old.settled + timedelta(hours=1))
    ledger.record(catalog, new)
    before = states(catalog)
    assert ledger.record(catalog, old) == Recorded(0, 0)
    assert states(catalog) == before
    assert {state for state, *_ in before.values()} == {"closed", "open"}


def test_remedied_is_a_state_of_its_own(catalog: Catalog) -> None:
    world = calm()
    held = next(row["subject"] for row in world.topics["fraud.verdicts"] if row["type"] == "PossibleFraud")
    for kind in (DeliveryReleased, DeliveryCancelled):
        world.told(kind, held, held.partition("-")[0], START)
    ledger.record(catalog, outcome_of(world, "one"))
    assert states(catalog) == {held: ("remedied", None, "one")}


def test_table_that_was_made_before_findings_had_a_state_gets_it(catalog: Catalog) -> None:
    fields = [field for field in tables.FINDINGS.schema.fields if field.required or field.field_id < 9]
    catalog.create_namespace("reconciliation")
    before = catalog.create_table(
        tables.FINDINGS.identifier, schema=Schema(*fields), partition_spec=tables.FINDINGS.partitions
    )
    row = {"kind": "payment-missing", "order_id": "o-1", "cause": "c", "evidence": "{}", "amount": 1, "remedy": "r"}
    row |= {"day": START.date(), "run_id": "zero", "first_seen_run": "zero"}
    before.append(pa.Table.from_pylist([row], schema=before.schema().as_arrow()))
    assert ledger.record(catalog, outcome_of(calm(), "one")) == Recorded(0, 1)
    assert states(catalog) == {"o-1": ("closed", "one", "zero")}


def test_repeat_of_an_old_run_gives_the_identical_report(catalog: Catalog) -> None:
    """Whatever has landed, been found and been put right since: what a run read can be read again."""
    world, planted = everything(3)
    land(catalog, world)
    first, last = (START - timedelta(days=40)).date(), (START + timedelta(days=20)).date()
    lake = Lake(catalog)
    held = (lake.settled - ARRIVED) / timedelta(hours=1) + 48  # of what was planted, four days before all others
    one = look(lake, "one", first, last, Allowances(held_hours=held), dry_run=False)
    assert {(found.finding.kind, found.finding.order_id) for found in one.differences} == planted.keys()
    later = World()
    later.in_shop("x-1", "x", START, 100)
    later.pay("x-2", START, 100)
    late = feedback(FraudCleared, order("x-3", "x", START), START)
    later.append("customer.events", "x", late)
    land(catalog, later)
    ledger.record(catalog, one)
    assert len(look(Lake(catalog), "two", first, last, one.allowances, dry_run=False).differences) > len(planted)
    again = look(Lake(catalog, one.snapshots), "three", first, last, one.allowances, dry_run=True, repeats="one")
    nothing = Emitted(0, 0, 0)
    reports = [json.loads(document(outcome, nothing)) for outcome in (one, again)]
    for report in reports:
        for name in ("run", "made_at", "dry_run", "repeats"):
            report.pop(name)
        report["parity"].pop("seconds")
        for hop in report["parity"]["hops"]:
            hop.pop("seconds")
    assert reports[0] == reports[1]


def test_table_that_was_empty_then_is_empty_in_a_repeat(catalog: Catalog) -> None:
    world = calm()
    charges, world.charges = world.charges, []
    land(catalog, world)
    recorded = Lake(catalog).snapshots
    assert "payments.charges" not in recorded
    paid = World()
    paid.charges = charges
    land(catalog, paid)
    assert Lake(catalog).facts().charges.height == 48
    assert Lake(catalog, recorded).facts().charges.is_empty()


def test_snapshot_that_was_expired_is_named(catalog: Catalog) -> None:
    land(catalog, calm())
    with pytest.raises(SnapshotGone, match=r"shop\.orders has no snapshot 17 any more"):
        Lake(catalog, {"shop.orders": 17})


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
