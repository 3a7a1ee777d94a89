"""Refunds and disputes into Iceberg: what lands, how a landing goes on, and how disputes become labels."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pyiceberg.catalog import Catalog

from lake import labels, tables
from lake.landing.columns import table_of
from lake.landing.connector import Reading, named
from lake.landing.flow import Flow
from lake.landing.flows import BadFlow, load, load_all
from lake.landing.http import SourceRefused
from lake.quality.gate import SourceBelowThreshold, gate
from tests.lake.test_landing_sources import (
    DAY,
    FLOWS,
    START,
    Sandbox,
    charge,
    land,
    order,
    rows,
)

OBJECTS = ("payments.charges", "payments.disputes", "payments.refunds", "shop.order_refunds", "shop.orders")


@pytest.fixture
def sandbox(stack: dict[str, str]) -> Sandbox:
    return Sandbox(stack["COUNTERSIGN_SANDBOX"], stack)


@pytest.fixture(scope="module")
def flows() -> dict[str, Flow]:
    found = load_all(FLOWS)
    return {table: found[table] for table in OBJECTS}


def moment(number: int) -> int:
    return START + number * DAY // 4 + DAY


def refund(number: int, **changed: Any) -> dict[str, Any]:
    given = {"refund_id": f"re_{number}", "charge_id": f"ch_{number}", "amount": 500, "created": moment(number)}
    return given | changed


def dispute(number: int, **changed: Any) -> dict[str, Any]:
    return {
        "dispute_id": f"dp_{number}",
        "charge_id": f"ch_{number}",
        "amount": 900,
        "created": moment(number),
    } | changed


def shop_refund(number: int, **changed: Any) -> dict[str, Any]:
    given = {"refund_id": f"{number}-1/1", "order_id": f"{number}-1", "created": moment(number), "amount": 450}
    return given | changed


def test_refund_of_the_provider_lands(lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox) -> None:
    sandbox.put(charges=[charge(4)], refunds=[refund(4, reason="fraudulent", status="pending")])
    assert land(lake, flows["payments.refunds"], sandbox).rows == 1
    assert rows(lake, "payments.refunds") == [
        {
            "refund_id": "re_4",
            "charge_id": "ch_4",
            "amount": 500,
            "currency": "USD",
            "created_at": datetime(2015, 1, 3, tzinfo=UTC),
            "day": date(2015, 1, 3),
            "status": "pending",
            "reason": "fraudulent",
        }
    ]
    sandbox.put(refunds=[refund(4, status="failed")])
    assert land(lake, flows["payments.refunds"], sandbox).rows == 1
    assert rows(lake, "payments.refunds")[0]["status"] == "failed"


def test_dispute_lands_and_its_state_is_looked_at_again(
    lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox
) -> None:
    sandbox.put(charges=[charge(4), charge(300)], disputes=[dispute(4)])
    assert land(lake, flows["payments.disputes"], sandbox).rows == 1
    assert rows(lake, "payments.disputes") == [
        {
            "dispute_id": "dp_4",
            "charge_id": "ch_4",
            "amount": 900,
            "currency": "USD",
            "created_at": datetime(2015, 1, 3, tzinfo=UTC),
            "day": date(2015, 1, 3),
            "reason": "fraudulent",
            "status": "needs_response",
            "answer_by": datetime(2015, 1, 10, tzinfo=UTC),
        }
    ]
    sandbox.put(disputes=[dispute(4, status="won"), dispute(300)])
    assert land(lake, flows["payments.disputes"], sandbox).rows == 2, "75 days later the first is still looked at"
    assert [row["status"] for row in rows(lake, "payments.disputes")] == ["won", "needs_response"]


def test_refunds_of_the_shop_land_with_their_order_as_it_changes(
    lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox
) -> None:
    flow = flows["shop.order_refunds"]
    sandbox.put([order(n) for n in range(260)], shop_refunds=[shop_refund(4), shop_refund(9)])
    assert land(lake, flow, sandbox).rows == 2
    (first, second) = rows(lake, "shop.order_refunds")
    at = datetime(2015, 1, 3, tzinfo=UTC)
    assert first.pop("refund_id") != second["refund_id"]
    assert first == {
        "order_id": "4-1",
        "amount": 450,
        "currency": "USD",
        "created_at": at,
        "day": at.date(),
        "updated_at": at,
    }
    assert land(lake, flow, sandbox).rows == 0
    # The second refund of an order lands, and moves the order's last change on both of its rows.
    sandbox.put(shop_refunds=[shop_refund(4, refund_id="4-1/2", created=moment(100), amount=30)])
    assert land(lake, flow, sandbox).rows == 2
    assert [row["amount"] for row in rows(lake, "shop.order_refunds")] == [450, 450, 30]
    assert len({row["updated_at"] for row in rows(lake, "shop.order_refunds") if row["order_id"] == "4-1"}) == 1


def test_only_refunded_orders_are_read(flows: dict[str, Flow], sandbox: Sandbox) -> None:
    flow = flows["shop.order_refunds"]
    booked = [shop_refund(4, created=moment(40)), shop_refund(5, created=moment(50), amount=1)]
    sandbox.put([order(n) for n in range(30)], shop_refunds=booked)
    with named("shopify")(sandbox.endpoint("shop"), flow.endpoint) as shop:
        how = {"entity": flow.entity, "paths": flow.paths, "page_size": 1, "cursor": "order.updatedAt"}
        pages = list(shop.read_pages(Reading(**how, since=None, search=flow.search)))
        assert [len(page) for page in pages] == [1, 1]
        everything = list(shop.read_pages(Reading(**how, since=None)))
        assert [len(page) for page in everything] == [0] * 28 + [1, 1], "an order changes with its refunds"
        late = Reading(**how, since=datetime.fromtimestamp(moment(50), UTC), search=flow.search)
        assert [page[0]["order"]["sourceIdentifier"] for page in shop.read_pages(late)] == ["5-1"]
        fields = {field.path: field.type for field in shop.describe_fields("orders.refunds")}
        assert (fields["createdAt"], fields["order.sourceIdentifier"]) == ("time", "text")
        with pytest.raises(SourceRefused, match=r"no connection 'orders\.returns'"):
            shop.describe_fields("orders.returns")


def test_every_record_lands_once_though_a_fifth_of_the_requests_fails(
    lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox
) -> None:
    numbers = range(60)
    money = {
        "refunds": map(refund, numbers),
        "disputes": map(dispute, numbers),
        "shop_refunds": map(shop_refund, numbers),
    }
    sandbox.put([order(n) for n in numbers], [charge(n) for n in numbers], **money)
    small = [msgspec.structs.replace(flows[table], page_size=10) for table in OBJECTS[1:4]]
    sandbox.inject(share=0.2, seed=8, retry_after=0, slow_seconds=0.01)
    try:
        landed = {flow.table: land(lake, flow, sandbox).rows for flow in small}
        again = [land(lake, flow, sandbox, everything=True).rows for flow in small]
    finally:
        happened = sandbox.mend()
    assert landed == dict.fromkeys(OBJECTS[1:4], 60)
    assert again == [0, 0, 0]
    for flow in small:
        assert len({row[flow.row_id] for row in rows(lake, flow.table)}) == 60
    assert sum(happened.values()) > 3


def test_connector_that_cannot_search_refuses_a_flow_that_does(tmp_path: Path) -> None:
    text = (FLOWS / "payments_refunds.yaml").read_text().replace("page_size:", "search: status:pending\npage_size:")
    (tmp_path / "refunds.yaml").write_text(text)
    with pytest.raises(BadFlow, match=r"stripe cannot search.* - at `\$.search`"):
        load(tmp_path / "refunds.yaml")


def test_bad_refunds_stop_the_gate_once_they_have_landed(
    lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox
) -> None:
    for spec in (*tables.TOPICS, *(table_of(flows[name]) for name in tables.RECONCILED)):
        table = tables.ensure(lake, spec)
        table.append(table.scan().to_arrow())
    assert {result.object for result in gate(lake, FLOWS)}.isdisjoint(tables.WITNESSES)
    sandbox.put(charges=[charge(4)], refunds=[refund(4, amount=0), refund(5, charge_id="ch_4")])
    assert land(lake, flows["payments.refunds"], sandbox).quarantined == 1
    with pytest.raises(SourceBelowThreshold, match=r"payments\.refunds: 50\.00% of 2 rows pass"):
        gate(lake, FLOWS)


def test_dispute_that_no_event_tells_of_is_a_label_until_it_is_won(
    lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox
) -> None:
    numbers = range(3)
    disputes = [dispute(0), dispute(1, reason="duplicate"), dispute(2, status="warning_under_review")]
    sandbox.put([order(n) for n in numbers], [charge(n) for n in numbers], disputes=disputes)
    for table in ("shop.orders", "payments.charges", "payments.disputes"):
        land(lake, flows[table], sandbox)
    assert labels.record(lake, "run").rows == 1
    (row,) = lake.load_table("fraud.labels").scan().to_arrow().to_pylist()
    assert (row["order_id"], row["customer_id"], row["label"], row["by"]) == ("0-1", "0", "fraud", "dp_0")
    assert (row["source"], row["event_id"], row["partition"], row["offset"]) == ("Dispute", "dispute/dp_0", -1, -1)
    assert row["known_at"] == datetime(2015, 1, 2, tzinfo=UTC)
    assert labels.record(lake, "again").rows == 0
    sandbox.put(disputes=[dispute(0, status="won")])
    land(lake, flows["payments.disputes"], sandbox)
    labels.record(lake, "won")
    assert lake.load_table("fraud.labels").scan().to_arrow().to_pylist() == []
