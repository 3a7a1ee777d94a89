"""Shop and payment provider into Iceberg: against the sandbox, which speaks the dialects, and a real store."""

import os
import subprocess
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from time import monotonic, sleep
from typing import Any

import httpx
import msgspec
import pytest
from pyiceberg.catalog import Catalog

from lake import tables
from lake.landing.flows import Flow, load_all, table_of
from lake.landing.http import BadCredentials, Endpoint, SourceRefused
from lake.landing.progress import WATERMARK, Conflict, Landed, latest
from lake.landing.shopify import refill_wait
from lake.landing.sources import land_flow
from lake.masking import Masker
from lake.quality.gate import SourceBelowThreshold, gate
from tests.lake.conftest import PYTHON, ROOT, free_ports

KEY = "a masking key for tests"
DAY = 86_400
START = 1_420_070_400  # 2015-01-01T00:00:00Z
FLOWS = ROOT / "dags" / "flows"
"""The tables of these tests; those of the other sources have files of their own."""


class Sandbox:
    """The running sandbox: what is in it, and how a flow gets at it."""

    def __init__(self, url: str, secrets: dict[str, str]) -> None:
        self.url = url
        self._secrets = secrets
        self._admin = {"Authorization": f"Bearer {secrets['SANDBOX_ADMIN_TOKEN']}"}
        self.clear()

    def clear(self) -> None:
        httpx.delete(f"{self.url}/sandbox/records", headers=self._admin).raise_for_status()

    def put(
        self,
        orders: Iterable[dict[str, Any]] = (),
        charges: Iterable[dict[str, Any]] = (),
        contacts: Iterable[dict[str, Any]] = (),
        accounts: Iterable[dict[str, Any]] = (),
        **more: Iterable[dict[str, Any]],
    ) -> None:
        given = {"orders": orders, "charges": charges, "contacts": contacts, "accounts": accounts} | more
        body = {name: list(records) for name, records in given.items()}
        httpx.post(f"{self.url}/sandbox/records", headers=self._admin, json=body, timeout=60).raise_for_status()

    def endpoint(self, connection: str) -> Endpoint:
        names = {
            "shop": "SANDBOX_SHOP_TOKEN",
            "payments": "SANDBOX_PAYMENTS_KEY",
            "crm": "SANDBOX_CRM_SECRET",
            "carrier": "SANDBOX_CARRIER_KEY",
            "erp": "SANDBOX_ERP_PASSWORD",
            "analytics": "SANDBOX_ANALYTICS_TOKEN",
        }
        login = "COUNTERSIGN" if connection == "erp" else "countersign"
        return Endpoint(connection, self.url, self._secrets[names[connection]], login)

    def inject(self, **rules: Any) -> None:
        """Let a share of the requests fail."""
        httpx.put(f"{self.url}/sandbox/faults", headers=self._admin, json=rules).raise_for_status()

    def mend(self) -> dict[str, int]:
        """Let no request fail any more; returns how often which fault has happened."""
        happened = httpx.get(f"{self.url}/sandbox/faults", headers=self._admin).raise_for_status().json()["happened"]
        httpx.delete(f"{self.url}/sandbox/faults", headers=self._admin).raise_for_status()
        return dict(happened)


def order(number: int, **changed: Any) -> dict[str, Any]:
    """An order of the shop; one every six hours."""
    created = START + number * DAY // 4
    return {
        "order_id": f"{number}-1",
        "customer_id": str(number),
        "created": created,
        "updated": created,
        "amount": 1000 + number,
        "currency": "USD",
        "email": f"C{number}@example.test",
        "ip": "10.1.2.3",
    } | changed


def charge(number: int, **changed: Any) -> dict[str, Any]:
    """The charge of that order."""
    return {
        "charge_id": f"ch_{number}",
        "order_id": f"{number}-1",
        "customer_id": str(number),
        "created": START + number * DAY // 4,
        "amount": 1000 + number,
        "currency": "USD",
    } | changed


def contact(number: int, **changed: Any) -> dict[str, Any]:
    """The contact of that order's customer."""
    created = START + number * DAY // 4
    return {
        "customer_id": str(number),
        "created": created,
        "updated": created,
        "first_name": "Ada",
        "last_name": f"Planted{number}",
        "email": f"C{number}@example.test",
    } | changed


@pytest.fixture
def sandbox(stack: dict[str, str]) -> Sandbox:
    return Sandbox(stack["COUNTERSIGN_SANDBOX"], stack)


@pytest.fixture(scope="module")
def flows() -> dict[str, Flow]:
    """Those of the objects that every test here fills."""
    found = load_all(FLOWS)
    return {table: found[table] for table in ("crm.contacts", "payments.charges", "shop.orders")}


@pytest.fixture
def shop(flows: dict[str, Flow]) -> Flow:
    return flows["shop.orders"]


@pytest.fixture
def payments(flows: dict[str, Flow]) -> Flow:
    return flows["payments.charges"]


@pytest.fixture
def crm(flows: dict[str, Flow]) -> Flow:
    return flows["crm.contacts"]


def land(lake: Catalog, flow: Flow, sandbox: Sandbox, **how: Any) -> Landed:
    return land_flow(lake, flow, sandbox.endpoint(flow.connection), Masker(KEY), "run", **how)


def rows(lake: Catalog, table: str) -> list[dict[str, Any]]:
    return sorted(lake.load_table(table).scan().to_arrow().to_pylist(), key=lambda row: (row["created_at"], str(row)))


def test_order_lands_masked(lake: Catalog, shop: Flow, sandbox: Sandbox) -> None:
    sandbox.put([order(5)])
    assert land(lake, shop, sandbox).rows == 1
    at = datetime(2015, 1, 2, 6, tzinfo=UTC)
    assert rows(lake, "shop.orders") == [
        {
            "order_id": "5-1",
            "customer_id": "5",
            "created_at": at,
            "day": date(2015, 1, 2),
            "amount": 1005,
            "currency": "USD",
            "email_token": Masker(KEY)("c5@example.test"),
            "ip_token": Masker(KEY)("10.1.2.3"),
            "financial_status": "AUTHORIZED",
            "updated_at": at,
        }
    ]


def test_charge_lands(lake: Catalog, payments: Flow, sandbox: Sandbox) -> None:
    sandbox.put(charges=[charge(5)])
    assert land(lake, payments, sandbox).rows == 1
    (row,) = rows(lake, "payments.charges")
    assert row == {
        "charge_id": "ch_5",
        "order_id": "5-1",
        "amount": 1005,
        "currency": "USD",
        "created_at": datetime(2015, 1, 2, 6, tzinfo=UTC),
        "day": date(2015, 1, 2),
        "captured": False,
        "status": "succeeded",
    }


def test_contact_lands_masked_and_without_its_name(lake: Catalog, crm: Flow, sandbox: Sandbox) -> None:
    sandbox.put(contacts=[contact(5, lead_source="x" * 50, fraud_status="confirmed")])
    assert land(lake, crm, sandbox).rows == 1
    (row,) = rows(lake, "crm.contacts")
    at = datetime(2015, 1, 2, 6, tzinfo=UTC)
    assert (len(row.pop("contact_id")), len(row.pop("account_id"))) == (18, 18)
    assert row == {
        "customer_id": "5",
        "email_token": Masker(KEY)("c5@example.test"),
        "lead_source": "x" * 40,
        "fraud_status": "confirmed",
        "created_at": at,
        "day": date(2015, 1, 2),
        "updated_at": at,
    }


def test_many_pages_land_completely_and_once(lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox) -> None:
    numbers = range(1203)
    sandbox.put(map(order, numbers), map(charge, numbers), map(contact, numbers))
    for table, flow in flows.items():
        assert land(lake, flow, sandbox).rows == 1203
        assert land(lake, flow, sandbox).rows == 0
        assert len({row[flow.row_id] for row in rows(lake, table)}) == len(rows(lake, table)) == 1203
        assert len(lake.load_table(table).snapshots()) == 1
    assert sum(row["amount"] for row in rows(lake, "shop.orders")) == sum(1000 + n for n in range(1203))


def test_every_record_lands_exactly_once_though_a_fifth_of_the_requests_fails(
    lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox
) -> None:
    """Throttling, 5xx, lost and late answers, expired tokens; records change between the two landings as well."""
    numbers = range(240)
    sandbox.put(map(order, numbers), map(charge, numbers), map(contact, range(1400)))
    small = {table: msgspec.structs.replace(flow, page_size=8) for table, flow in flows.items()}
    later = START + 400 * DAY
    sandbox.inject(share=0.2, seed=3, retry_after=0, slow_seconds=0.05)
    try:
        landed = {table: land(lake, flow, sandbox).rows for table, flow in small.items()}
        again = {table: land(lake, flow, sandbox, everything=True).rows for table, flow in small.items()}
        sandbox.put([order(7, amount=1, updated=later)], contacts=[contact(7, fraud_status="confirmed", updated=later)])
        changed = {table: land(lake, flow, sandbox).rows for table, flow in small.items()}
    finally:
        happened = sandbox.mend()
    assert landed == {"crm.contacts": 1400, "payments.charges": 240, "shop.orders": 240}
    assert set(again.values()) == {0}
    assert changed == {"crm.contacts": 1, "payments.charges": 0, "shop.orders": 1}
    for table, flow in flows.items():
        found = rows(lake, table)
        assert len({row[flow.row_id] for row in found}) == len(found) == landed[table]
    assert sum(row["amount"] for row in rows(lake, "payments.charges")) == sum(1000 + n for n in numbers)
    assert {row["customer_id"] for row in rows(lake, "crm.contacts")} == {str(n) for n in range(1400)}
    assert happened.keys() == {"throttled", "unavailable", "lost", "slow", "expired"}, "a fault that never happened"
    assert sum(happened.values()) > 20


def test_no_planted_address_is_in_the_lake(lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox) -> None:
    """Neither in the tables nor in the quarantine, whatever else of a row lands."""
    sandbox.put(
        [order(1), order(2, amount=-1)], [charge(1), charge(2, amount=-1)], [contact(1), contact(2, updated=START)]
    )
    for flow in flows.values():
        assert land(lake, flow, sandbox).quarantined == 1
    for spec in map(table_of, flows.values()):
        for table in (spec, tables.quarantine(spec)):
            text = str(lake.load_table(table.identifier).scan().to_arrow().to_pylist()).lower()
            assert len(text) > 100
            assert "example.test" not in text
            assert "10.1.2.3" not in text
            assert "planted" not in text


def test_changed_order_replaces_its_earlier_version(lake: Catalog, shop: Flow, sandbox: Sandbox) -> None:
    sandbox.put([order(n) for n in range(300)])
    land(lake, shop, sandbox)
    later = START + 400 * DAY
    sandbox.put([order(7, amount=1, updated=later), order(299, amount=2, updated=later + 1), order(500)])
    assert land(lake, shop, sandbox).rows == 3
    found = {row["order_id"]: row["amount"] for row in rows(lake, "shop.orders")}
    assert (len(found), found["7-1"], found["299-1"], found["500-1"]) == (301, 1, 2, 1500)
    assert len(rows(lake, "shop.orders")) == 301
    assert latest(lake.load_table("shop.orders"), WATERMARK)[""] == "2016-02-05T00:00:01+00:00"


def test_only_what_changed_is_fetched_again(lake: Catalog, shop: Flow, sandbox: Sandbox) -> None:
    """An order slipped in behind the watermark, beyond the overlap, is seen only when everything is fetched."""
    sandbox.put([order(100)])
    land(lake, shop, sandbox)
    sandbox.put([order(1), order(99, updated=order(100)["updated"] - shop.cursor.overlap_seconds)])
    assert land(lake, shop, sandbox).rows == 1
    assert land(lake, shop, sandbox, everything=True).rows == 1
    assert {row["order_id"] for row in rows(lake, "shop.orders")} == {"1-1", "99-1", "100-1"}


def test_two_landings_at_once_cannot_double_or_lose_rows(lake: Catalog, shop: Flow, sandbox: Sandbox) -> None:
    sandbox.put([order(n) for n in range(10)])
    land(lake, shop, sandbox)
    sandbox.put([order(3, amount=7, updated=START + 400 * DAY), order(20)])

    class Interrupting(Masker):
        """Lets another landing pass by in the middle of this one."""

        done = False

        def email(self, address: str) -> str:
            if not self.done:
                self.done = True
                land(lake, shop, sandbox)
            return super().email(address)

    with pytest.raises(Conflict):
        land_flow(lake, shop, sandbox.endpoint("shop"), Interrupting(KEY), "run")
    assert len(rows(lake, "shop.orders")) == 11
    assert land(lake, shop, sandbox).rows == 0


def test_failing_rows_are_set_aside_with_the_reason_and_nothing_else_is(
    lake: Catalog, shop: Flow, sandbox: Sandbox
) -> None:
    sandbox.put(
        [order(n) for n in range(40)]
        + [order(50, amount=-5), order(51, updated=START - DAY), order(52, amount=-1, updated=START)]
    )
    landed = land(lake, shop, sandbox)
    assert (landed.rows, landed.quarantined) == (40, 3)
    aside = {row["row_id"]: row for row in lake.load_table("quarantine.orders").scan().to_arrow().to_pylist()}
    assert set(aside) == {"50-1", "51-1", "52-1"}
    assert aside["50-1"]["reason"] == "the amount is negative or beyond a million"
    assert aside["50-1"]["expectation"] == "ExpectColumnValuesToBeBetween"
    assert aside["51-1"]["reason"] == "the order was changed before it was placed"
    assert (
        aside["52-1"]["reason"]
        == "the amount is negative or beyond a million; the order was changed before it was placed"
    )
    row = msgspec.json.decode(aside["50-1"]["row"])
    assert row["email"] == Masker(KEY)("c50@example.test")
    assert "10.1.2.3" not in aside["50-1"]["row"]
    assert aside["50-1"]["day"] == date(2015, 1, 13)
    assert land(lake, shop, sandbox, everything=True).quarantined == 0
    assert lake.load_table("quarantine.orders").scan().count() == 3


def test_wrong_secret_fails_at_once_and_names_the_connection(
    lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox
) -> None:
    for flow in flows.values():
        began = monotonic()
        with pytest.raises(BadCredentials, match=f"AIRFLOW_CONN_{flow.connection.upper()}"):
            land_flow(lake, flow, Endpoint(flow.connection, sandbox.url, "wrong"), Masker(KEY), "run")
        assert monotonic() - began < 3


def test_page_too_costly_is_refused_with_the_remedy(lake: Catalog, shop: Flow, narrow: Sandbox) -> None:
    narrow.put([order(1)])
    with pytest.raises(SourceRefused, match="page"):
        land(lake, msgspec.structs.replace(shop, page_size=250), narrow)


@pytest.fixture
def narrow(stack: dict[str, str]) -> Iterator[Sandbox]:
    """A shop with a bucket that holds one small page and refills slowly."""
    port = free_ports()[0]
    process = subprocess.Popen(
        [str(PYTHON), "-m", "sandbox", "--port", str(port), "--bucket", "40", "--restore", "30"],
        cwd=ROOT,
        env={"PATH": os.environ.get("PATH", ""), **stack},
    )
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(200):
            try:
                httpx.get(f"{url}/health")
                break
            except httpx.TransportError:
                sleep(0.1)
        yield Sandbox(url, stack)
    finally:
        process.terminate()
        process.wait(20)


def test_throttled_shop_lands_completely(lake: Catalog, shop: Flow, narrow: Sandbox) -> None:
    narrow.put([order(n) for n in range(40)])
    began = monotonic()
    assert land(lake, msgspec.structs.replace(shop, page_size=10), narrow).rows == 40
    assert monotonic() - began > 0.5, "four pages cost more than the bucket holds: there was nothing to wait for"


def test_throttled_by_others_waits_and_goes_on(lake: Catalog, shop: Flow, narrow: Sandbox) -> None:
    """Another client has emptied the bucket: the first query already is turned away with THROTTLED."""
    narrow.put([order(n) for n in range(5)])
    endpoint = narrow.endpoint("shop")
    body = {"query": "{ orders(first: 60) { nodes { id customer { id } } } }"}
    for _ in range(20):
        answer = httpx.post(
            f"{narrow.url}{shop.endpoint}", json=body, headers={"X-Shopify-Access-Token": endpoint.secret}
        ).json()
        if answer.get("errors"):
            break
    assert answer["errors"][0]["extensions"]["code"] == "THROTTLED"
    assert land(lake, msgspec.structs.replace(shop, page_size=10), narrow).rows == 5


def test_wait_for_the_bucket_follows_the_restore_rate() -> None:
    status = {"currentlyAvailable": 40, "restoreRate": 100.0, "maximumAvailable": 2000}
    assert refill_wait({"requestedQueryCost": 240, "throttleStatus": status}) == pytest.approx(2.0)
    assert refill_wait({"requestedQueryCost": 40, "throttleStatus": status}) == 0.0
    assert refill_wait({}) == 0.0


def land_all(lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox) -> None:
    for flow in flows.values():
        land(lake, flow, sandbox)


@pytest.fixture
def topics_landed(lake: Catalog) -> None:
    """The archives of all topics, empty but landed."""

    for spec in tables.TOPICS:
        table = tables.ensure(lake, spec)
        table.append(table.scan().to_arrow(), {"countersign.next-offset.0": "0"})


@pytest.mark.usefixtures("topics_landed")
def test_gate_passes_good_sources_and_says_how_good(lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox) -> None:
    sandbox.put([order(n) for n in range(99)] + [order(99, amount=-1)], [charge(n) for n in range(100)])
    land_all(lake, flows, sandbox)
    results = {result.object: result for result in gate(lake, FLOWS)}
    assert results.keys() == {spec.name for spec in tables.TOPICS} | {*tables.RECONCILED, tables.KNOWN}
    assert (results["shop.orders"].good, results["shop.orders"].failing) == (99, 1)
    assert (results["payments.charges"].good, results["payments.charges"].failing) == (100, 0)
    assert "99.00% of 100 rows pass, 95.00% are needed" in str(results["shop.orders"])


@pytest.mark.usefixtures("topics_landed")
def test_gate_stops_a_bad_source_for_the_days_asked_for(
    lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox
) -> None:
    """Four orders a day; on 11 January all of them are bad, which is too much for that day and not for the year."""
    bad = [order(n, amount=-1) for n in range(40, 44)]
    sandbox.put([order(n) for n in range(400) if n not in range(40, 44)] + bad, [charge(1)])
    land_all(lake, flows, sandbox)
    assert len(gate(lake, FLOWS)) == len(tables.TOPICS) + len(flows)
    with pytest.raises(SourceBelowThreshold, match=r"shop\.orders: 50\.00% of 8 rows pass.*quarantine\.orders"):
        gate(lake, FLOWS, date(2015, 1, 11), date(2015, 1, 12))
    gate(lake, FLOWS, date(2015, 1, 12), date(2015, 1, 20))


@pytest.mark.usefixtures("topics_landed")
def test_row_that_was_mended_counts_as_good(lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox) -> None:
    sandbox.put([order(1, amount=-1), order(2)], [charge(1)])
    land_all(lake, flows, sandbox)
    with pytest.raises(SourceBelowThreshold):
        gate(lake, FLOWS)
    sandbox.put([order(1, updated=START + 9 * DAY)])
    land_all(lake, flows, sandbox)
    assert all(result.failing == 0 for result in gate(lake, FLOWS))


def test_gate_stops_when_a_source_was_never_landed(lake: Catalog) -> None:
    with pytest.raises(SourceBelowThreshold, match=r"never landed: run the DAG land_events"):
        gate(lake, FLOWS)


@pytest.mark.usefixtures("topics_landed")
def test_source_without_any_row_counts_as_landed(lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox) -> None:
    land_all(lake, flows, sandbox)
    assert all(result.share == 1.0 for result in gate(lake, FLOWS))
