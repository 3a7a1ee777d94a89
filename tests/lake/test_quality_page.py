"""The page on data quality: on a real Iceberg catalog in a folder, with rows that were really set aside."""

from datetime import date, timedelta
from pathlib import Path
from shutil import copytree
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog

from lake import tables
from lake.landing.flows import load_all, table_of
from lake.landing.quarantine import Rejected, set_aside
from lake.quality import gate, page, profile
from order_fraud.topics import CUSTOMER_EVENTS
from tests.lake.reconcile_world import START, calm
from tests.lake.test_gate import FLOWS, catalog, spoil  # noqa: F401 - the fixture
from tests.lake.test_reconcile_lake import land
from tests.lake.test_report import check

SHOP = load_all(FLOWS)["shop.orders"]
NEGATIVE = SHOP.checks[3]
DAY = START.date()


def refuse(catalog: Catalog, *rows: str, day: date | None = DAY, **changed: Any) -> None:  # noqa: F811
    about: dict[str, Any] = {"reason": NEGATIVE.because, "expectation": NEGATIVE.expect, "origin": "shop", "row": "{}"}
    aside = [Rejected(row_id=row, day=day, **(about | changed)) for row in rows]
    assert set_aside(catalog, table_of(SHOP), aside, "r") == len(rows)


def look(catalog: Catalog, *days: date) -> tuple[dict[str, profile.Profile], str]:  # noqa: F811
    first, last = days or (None, None)
    results = gate.judge(catalog, FLOWS, first, last)
    shown = profile.profiles(catalog, FLOWS, results, first, last)
    text = page.render(shown, "manual__1", first, last, [result.object for result in results])
    return {one.result.object: one for one in shown}, text


def test_rows_are_counted_by_day_and_by_what_is_wrong_with_them(catalog: Catalog) -> None:  # noqa: F811
    world = calm()
    land(catalog, world)
    landed = world.shop[0]["order_id"]
    refuse(catalog, "ghost-1", "ghost-2", landed)
    refuse(catalog, "ghost-2", reason="the <b>currency</b> is no code", expectation="ExpectX", day=None)
    shown, text = look(catalog)
    shop = shown["shop.orders"]
    assert (shop.result.good, shop.result.failing) == (48, 2), "what has landed since does not count"
    assert [(one.reason, one.rows, one.waiting, one.examples) for one in shop.failures] == [
        (NEGATIVE.because, 3, 2, ("ghost-1", "ghost-2")),
        ("the <b>currency</b> is no code", 1, 1, ("ghost-2",)),
    ]
    assert sum(one.good for one in shop.days) == 48
    assert {one.day: one.failing for one in shop.days if one.failing} == {DAY: 2}
    said = check(text)
    assert "48 2 96.00 % passes 95 %" in said
    assert "the <b>currency</b> is no code ExpectX" in said, "as text"
    assert "the amount is negative or beyond a million ExpectColumnValuesToBeBetween 3 2" in said
    assert "7 checks that each row must pass" in said
    assert "Good enough to be reconciled" in said


def test_only_the_days_asked_for_are_shown(catalog: Catalog) -> None:  # noqa: F811
    land(catalog, calm())
    before = DAY - timedelta(days=1)
    refuse(catalog, "old-1", day=before)
    shown, _ = look(catalog, DAY, DAY)
    assert [one.day for one in shown["shop.orders"].days] == [DAY]
    assert shown["shop.orders"].failures == []
    assert shown["shop.orders"].result.failing == 0


def test_what_stops_the_run_comes_first_and_says_so(catalog: Catalog) -> None:  # noqa: F811
    land(catalog, calm())
    spoil(catalog, CUSTOMER_EVENTS, 1, 2, 3, 4)
    shown, text = look(catalog)
    said = check(text)
    assert "kafka.customer_events is below the threshold Nothing was reconciled" in said
    assert said.index("kafka.customer_events 60 4 93.75 % fails") < said.index("shop.orders 48 0 100.00 % passes")
    assert 'class="seal broken"' in text
    assert "The reconciliation" not in said, "there is none"
    assert shown["kafka.customer_events"].failures[0].examples[0] == "customer.events/0/1"
    with pytest.raises(gate.SourceBelowThreshold):
        gate.require([one.result for one in shown.values()])


def test_other_objects_are_shown_and_stop_nobody(catalog: Catalog, tmp_path: Path) -> None:  # noqa: F811
    flows = copytree(FLOWS, tmp_path / "flows")
    text = (FLOWS / "crm_contacts.yaml").read_text()
    (flows / "crm_partners.yaml").write_text(text.replace("table: crm.contacts", "table: crm.partners"))
    land(catalog, calm())
    assert gate.judge_others(catalog, flows) == []
    partners = table_of(load_all(flows)["crm.partners"])
    table = tables.ensure(catalog, partners)
    assert gate.judge_others(catalog, flows) == [], "made, but nothing has landed yet"
    row = {"contact_id": "003", "customer_id": "1", "created_at": START, "day": DAY, "updated_at": START}
    table.append(pa.Table.from_pylist([row], schema=partners.schema.as_arrow()))
    assert set_aside(catalog, partners, [_contact("2"), _contact("3")], "r") == 2
    others = gate.judge_others(catalog, flows)
    assert [(one.object, one.good, one.failing, one.passed) for one in others] == [("crm.partners", 1, 2, False)]
    needed = gate.judge(catalog, flows)
    shown = profile.profiles(catalog, flows, [*needed, *others], None, None)
    said = check(page.render(shown, "r", None, None, [one.object for one in needed]))
    assert "crm.partners 1 2 33.33 % fails 95 % stops nobody" in said
    assert "Good enough to be reconciled" in said


def _contact(row: str) -> Rejected:
    return Rejected(row_id=row, day=DAY, reason="no name", expectation="ExpectX", origin="crm", row="{}")
