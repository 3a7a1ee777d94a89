"""Carriers, ERP system and web analytics: their dialects tried by the clients that people use, and how they land."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import httpx
import msgspec
import pyodata
import pytest
import requests
from google.analytics.data_v1beta import BetaAnalyticsDataClient
from google.analytics.data_v1beta.services.beta_analytics_data.transports import BetaAnalyticsDataRestTransport
from google.analytics.data_v1beta.types import DateRange, Dimension, Metric, RunReportRequest
from google.api_core.exceptions import BadRequest, TooManyRequests
from google.oauth2.credentials import Credentials
from pyiceberg.catalog import Catalog
from tracking import Client, Configuration
from tracking.exceptions import BadRequestError, TooManyRequestsError, UnauthorizedError

from lake import tables
from lake.landing.columns import table_of
from lake.landing.connector import Connector, Reading, named
from lake.landing.flows import Flow, load_all
from lake.landing.http import BadCredentials, Endpoint, SourceRefused
from lake.landing.progress import WATERMARK, Landed, latest
from lake.landing.sources import land_flow
from lake.masking import Masker
from tests.lake.other_sources import sales_order, shipment, visits
from tests.lake.test_landing_sources import DAY, FLOWS, KEY, START, Sandbox

HERE = ("analytics.sessions", "carrier.shipments", "carrier.tracking_events", "erp.sales_orders")
ROOTS = {flow.connector: flow.endpoint for flow in load_all(FLOWS).values()}


@pytest.fixture
def sandbox(stack: dict[str, str]) -> Sandbox:
    return Sandbox(stack["COUNTERSIGN_SANDBOX"], stack)


@pytest.fixture(scope="module")
def flows() -> dict[str, Flow]:
    every = load_all(FLOWS)
    return {table: every[table] for table in HERE}


def connect(name: str, endpoint: Endpoint) -> Connector:
    return named(name)(endpoint, ROOTS[name])


def land(lake: Catalog, flow: Flow, sandbox: Sandbox, **how: Any) -> Landed:
    return land_flow(lake, flow, sandbox.endpoint(flow.connection), Masker(KEY), "run", **how)


def rows(lake: Catalog, table: str) -> list[dict[str, Any]]:
    return sorted(lake.load_table(table).scan().to_arrow().to_pylist(), key=str)


# --- every one of them ------------------------------------------------------------------------------------------------


def test_every_record_lands_exactly_once_though_a_fifth_of_the_requests_fails(
    lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox
) -> None:
    """Throttling, 5xx, lost and late answers; records change between the landings as well."""
    numbers = range(240)
    given = {"shipments": shipment, "sales_orders": sales_order, "visits": visits}
    sandbox.put(**{name: [make(number) for number in numbers] for name, make in given.items()})
    small = {table: msgspec.structs.replace(flow, page_size=12) for table, flow in flows.items()}
    later = START + 400 * DAY
    sandbox.inject(share=0.2, seed=7, retry_after=0, slow_seconds=0.02)
    try:
        landed = {table: land(lake, flow, sandbox).rows for table, flow in small.items()}
        again = {table: land(lake, flow, sandbox, everything=True).rows for table, flow in small.items()}
        sandbox.put(
            shipments=[shipment(7, updated=later, checkpoints=[])],
            sales_orders=[sales_order(7, updated=later, delivery_block="01")],
            visits=[visits(239, sessions=9999)],
        )
        changed = {table: land(lake, flow, sandbox).rows for table, flow in small.items()}
    finally:
        happened = sandbox.mend()
    whole = {"analytics.sessions": 240, "carrier.shipments": 240, "erp.sales_orders": 240}
    assert landed == whole | {"carrier.tracking_events": 960}
    assert set(again.values()) == {0}
    assert changed == dict.fromkeys(whole, 1) | {"carrier.tracking_events": 0}
    for table, flow in flows.items():
        found = rows(lake, table)
        assert len({row[flow.row_id] for row in found}) == len(found) == landed[table]
    assert sum(row["amount"] for row in rows(lake, "erp.sales_orders")) == sum(1000 + n for n in numbers)
    assert {row["order_id"] for row in rows(lake, "carrier.tracking_events")} == {f"{n}-1" for n in numbers}
    assert sum(row["sessions"] for row in rows(lake, "analytics.sessions")) == sum(100 + n for n in range(239)) + 9999
    assert happened.keys() == {"throttled", "unavailable", "lost", "slow"}, "a fault that never happened"
    assert sum(happened.values()) > 20


def test_wrong_secret_fails_and_names_the_connection(lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox) -> None:
    for flow in flows.values():
        with pytest.raises(BadCredentials, match=f"AIRFLOW_CONN_{flow.connection.upper()}"):
            land_flow(lake, flow, Endpoint(flow.connection, sandbox.url, "wrong", "COUNTERSIGN"), Masker(KEY), "run")


def test_no_planted_address_is_in_the_lake(lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox) -> None:
    """The carriers give name and e-mail address of who gets a parcel; no flow asks for them, good row or bad."""
    sandbox.put(shipments=[shipment(1), shipment(2, updated=START)])
    flow = flows["carrier.shipments"]
    assert land(lake, flow, sandbox).quarantined == 1
    for table in (table_of(flow), tables.quarantine(table_of(flow))):
        text = str(lake.load_table(table.identifier).scan().to_arrow().to_pylist()).lower()
        assert len(text) > 100
        assert "example.test" not in text
        assert "planted" not in text


# --- carriers ---------------------------------------------------------------------------------------------------------


def aftership(sandbox: Sandbox, key: str | None = None) -> Client:
    key = key or sandbox.endpoint("carrier").secret
    return Client(Configuration(domain=sandbox.url, api_key=key, max_retry=0))


def test_client_of_the_carriers_reads_page_by_page(sandbox: Sandbox) -> None:
    sandbox.put(shipments=[shipment(number) for number in range(250)])
    client, found, cursor = aftership(sandbox), [], None
    while True:
        page = client.tracking.get_trackings(limit=100, **({"cursor": cursor} if cursor else {})).data
        assert page is not None
        found += page.trackings
        if not page.pagination.has_next_page:
            break
        cursor = page.pagination.next_cursor
    assert [one.order_id for one in found] == [f"{number}-1" for number in reversed(range(250))]
    assert page.pagination.total == 250
    assert [one.tag.value for one in found[0].checkpoints] == [
        "InfoReceived",
        "InTransit",
        "OutForDelivery",
        "Delivered",
    ]
    since = datetime.fromtimestamp(shipment(248)["updated"], UTC).isoformat()
    assert len(client.tracking.get_trackings(updated_at_min=since).data.trackings) == 2
    one = client.tracking.get_tracking_by_id(found[0].id)
    assert one.data.tracking_number == shipment(249)["tracking_number"]


def test_client_of_the_carriers_understands_the_errors(sandbox: Sandbox) -> None:
    with pytest.raises(UnauthorizedError):
        aftership(sandbox, "wrong").tracking.get_trackings()
    with pytest.raises(BadRequestError) as refused:
        aftership(sandbox).tracking.get_trackings(limit=201)
    assert refused.value.meta_code == 4008
    sandbox.inject(share=1.0, kinds=["throttled"])
    try:
        with pytest.raises(TooManyRequestsError):
            aftership(sandbox).tracking.get_trackings()
    finally:
        sandbox.mend()


def test_parcel_lands_with_where_it_is(lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox) -> None:
    back = [*shipment(5)["checkpoints"][:2], {"at": START + 9 * DAY, "tag": "Exception", "message": "Refused"}]
    sandbox.put(shipments=[shipment(5, checkpoints=back, updated=START + 9 * DAY)])
    assert land(lake, flows["carrier.shipments"], sandbox).rows == 1
    assert land(lake, flows["carrier.tracking_events"], sandbox).rows == 3
    (row,) = rows(lake, "carrier.shipments")
    announced = datetime(2015, 1, 2, 7, tzinfo=UTC)
    assert len(row.pop("shipment_id")) == 32
    assert row == {
        "order_id": "5-1",
        "carrier": "ups",
        "tracking_number": "1Z0000000000000005",
        "state": "Exception",
        "returned": True,
        "picked_up_at": datetime(2015, 1, 2, 9, tzinfo=UTC),
        "delivered_at": None,
        "created_at": announced,
        "day": date(2015, 1, 2),
        "updated_at": datetime(2015, 1, 10, tzinfo=UTC),
    }
    events = {row["state"]: row for row in rows(lake, "carrier.tracking_events")}
    assert (events["Exception"]["message"], events["Exception"]["place"]) == ("Refused", None)
    assert events["InfoReceived"]["happened_at"] == announced


def test_new_parcels_between_pages_neither_hide_nor_double_others(sandbox: Sandbox) -> None:
    sandbox.put(shipments=[shipment(number) for number in range(30)])
    reading = Reading(entity="trackings", paths=("id", "order_id"), page_size=10, cursor="updated_at", since=None)
    found = []
    with connect("aftership", sandbox.endpoint("carrier")) as carrier:
        for place, page in enumerate(carrier.read_pages(reading)):
            found += [row["order_id"] for row in page]
            sandbox.put(shipments=[shipment(100 + place), shipment(20 - place, updated=START + 90 * DAY)])
        with pytest.raises(SourceRefused, match="cannot filter trackings by tag"):
            next(iter(carrier.read_pages(replace(reading, cursor="tag"))))
    assert found == [f"{number}-1" for number in reversed(range(30))]


# --- ERP system -------------------------------------------------------------------------------------------------------


@pytest.fixture
def erp(sandbox: Sandbox) -> Iterator[tuple[pyodata.Client, requests.Session]]:
    """SAP's own client, unchanged."""
    with requests.Session() as session:
        session.trust_env = False
        endpoint = sandbox.endpoint("erp")
        session.auth = (endpoint.login, endpoint.secret)
        yield pyodata.Client(f"{sandbox.url}{ROOTS['odata']}", session), session


def test_client_of_the_erp_system_reads_filters_and_pages(
    sandbox: Sandbox, erp: tuple[pyodata.Client, requests.Session]
) -> None:
    sandbox.put(sales_orders=[sales_order(number) for number in range(230)])
    orders = erp[0].entity_sets.A_SalesOrder
    page = orders.get_entities().count(inline=True).execute()
    assert (page.total_count, len(page)) == (230, 100)
    every = [one.SalesOrder for one in page]
    while page.next_url:
        page = orders.get_entities().next_url(page.next_url).execute()
        every += [one.SalesOrder for one in page]
    assert every == [f"{number:010}" for number in range(1, 231)]
    asked = "LastChangeDateTime ge datetimeoffset'2015-01-02T06:00:00Z' and TotalNetAmount lt 10.1m"
    found = orders.get_entities().filter(asked).select("SalesOrder,TotalNetAmount").order_by("SalesOrder desc").top(2)
    assert [(one.SalesOrder, str(one.TotalNetAmount)) for one in found.execute()] == [
        ("0000000010", "10.09"),
        ("0000000009", "10.08"),
    ]
    assert orders.get_entities().filter("SoldToParty eq '7'").count().execute() == 1
    one = orders.get_entity("0000000008").execute()
    assert one.LastChangeDateTime == datetime(2015, 1, 2, 18, tzinfo=UTC)
    with pytest.raises(pyodata.exceptions.HttpError):
        orders.get_entities().filter("Colour eq 'red'").execute()


def test_client_of_the_erp_system_writes_with_token_and_version(
    sandbox: Sandbox, erp: tuple[pyodata.Client, requests.Session]
) -> None:
    sandbox.put(sales_orders=[sales_order(1)])
    client, session = erp
    orders = client.entity_sets.A_SalesOrder

    def block(reason: str, **headers: str) -> None:
        request = orders.update_entity("0000000002").set(DeliveryBlockReason=reason)
        request.add_headers(headers)
        request.execute()

    with pytest.raises(pyodata.exceptions.HttpError) as refused:
        block("01", **{"If-Match": "*"})
    assert refused.value.response.headers["X-CSRF-Token"] == "Required"
    token = session.get(f"{sandbox.url}{ROOTS['odata']}/", headers={"X-CSRF-Token": "Fetch"}).headers["X-CSRF-Token"]
    session.headers["X-CSRF-Token"] = token
    seen = orders.get_entity("0000000002").execute().etag
    block("01", **{"If-Match": seen})
    assert orders.get_entity("0000000002").execute().DeliveryBlockReason == "01"
    for headers, status in (({"If-Match": seen}, 412), ({}, 428)):
        with pytest.raises(pyodata.exceptions.HttpError) as refused:
            block("02", **headers)
        assert refused.value.response.status_code == status
        assert refused.value.response.json()["error"]["message"]["lang"] == "en"


def test_sales_order_lands(lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox) -> None:
    sandbox.put(sales_orders=[sales_order(5, delivery_block="01", status="B")])
    assert land(lake, flows["erp.sales_orders"], sandbox).rows == 1
    assert rows(lake, "erp.sales_orders") == [
        {
            "sales_order_id": "0000000006",
            "order_id": "5-1",
            "customer_id": "5",
            "created_at": datetime(2015, 1, 2, tzinfo=UTC),
            "day": date(2015, 1, 2),
            "amount": 1005,
            "currency": "USD",
            "delivery_block": "01",
            "status": "B",
            "updated_at": datetime(2015, 1, 2, 6, tzinfo=UTC),
        }
    ]
    assert latest(lake.load_table("erp.sales_orders"), WATERMARK)[""] == "2015-01-02T06:00:00+00:00"


def test_orders_that_change_between_pages_hide_no_others(sandbox: Sandbox) -> None:
    """Rows enter the result behind and before the reader, within a slice (next links) and between two of them."""
    old = {"updated": START}
    sandbox.put(sales_orders=[sales_order(number, **(old if number % 2 else {})) for number in range(600)])
    reading = Reading(
        entity="A_SalesOrder",
        paths=("__metadata.uri", "PurchaseOrderByCustomer"),
        page_size=250,
        cursor="LastChangeDateTime",
        since=datetime.fromtimestamp(START + 1, UTC),
    )
    found: list[str] = []
    with connect("odata", sandbox.endpoint("erp")) as connector:
        for place, page in enumerate(connector.read_pages(reading)):
            found += [row["SalesOrder"] for row in page]
            changed = [sales_order(number, updated=START + 900 * DAY) for number in (2 * place + 1, 599 - 2 * place)]
            sandbox.put(sales_orders=changed)
    still = {sales_order(number)["number"] for number in range(2, 600, 2)}
    assert still <= set(found)
    assert len(found) - len(set(found)) <= 4, "only what a shifted page shows again"


def test_block_is_written_back_though_answers_are_lost_and_versions_change(sandbox: Sandbox) -> None:
    sandbox.put(sales_orders=[sales_order(number) for number in range(20)])
    blocks = [{"SalesOrder": sales_order(number)["number"], "DeliveryBlockReason": "01"} for number in range(20)]
    sandbox.inject(share=0.3, seed=5, retry_after=0, slow_seconds=0, kinds=["lost", "unavailable", "throttled"])
    try:
        with connect("odata", sandbox.endpoint("erp")) as connector:
            assert connector.write_records("A_SalesOrder", "SalesOrder", blocks) == 20
    finally:
        assert sandbox.mend().keys() == {"lost", "unavailable", "throttled"}
    with connect("odata", sandbox.endpoint("erp")) as connector:
        reading = Reading(
            entity="A_SalesOrder",
            paths=("DeliveryBlockReason",),
            page_size=50,
            cursor="LastChangeDateTime",
            since=None,
        )
        assert [row["DeliveryBlockReason"] for page in connector.read_pages(reading) for row in page] == ["01"] * 20
        with pytest.raises(SourceRefused, match="cannot be changed"):
            connector.write_records("A_SalesOrder", "SalesOrder", [{"SalesOrder": "0000000001", "SoldToParty": "9"}])
        with pytest.raises(SourceRefused, match="not by SoldToParty"):
            connector.write_records("A_SalesOrder", "SoldToParty", [{"SoldToParty": "9"}])


# --- web analytics ----------------------------------------------------------------------------------------------------


def google(sandbox: Sandbox) -> BetaAnalyticsDataClient:
    """Google's own client, unchanged, over REST."""
    transport = BetaAnalyticsDataRestTransport(
        host=sandbox.url.removeprefix("http://"),
        url_scheme="http",
        credentials=Credentials(sandbox.endpoint("analytics").secret),
    )
    return BetaAnalyticsDataClient(transport=transport)


def asked(**changed: Any) -> RunReportRequest:
    return RunReportRequest(
        **{
            "property": "properties/123456789",
            "date_ranges": [DateRange(start_date="2016-01-01", end_date="2016-01-10")],
            "dimensions": [Dimension(name="date"), Dimension(name="deviceCategory")],
            "metrics": [Metric(name="sessions"), Metric(name="keyEvents")],
            "limit": 4,
        }
        | changed
    )


def test_client_of_the_analytics_reads_a_report(sandbox: Sandbox) -> None:
    sandbox.put(visits=[visits(number) for number in range(48)])
    client = google(sandbox)
    report = client.run_report(asked(offset=8, return_property_quota=True))
    assert report.row_count == 10
    assert [(row.dimension_values[0].value, row.metric_values[0].value) for row in report.rows] == [
        ("20160102", "422"),
        ("20160101", "406"),
    ]
    assert report.property_quota.tokens_per_hour.consumed == 10
    names = {one.api_name for one in client.get_metadata(name="properties/123456789/metadata").dimensions}
    assert "landingPage" in names
    with pytest.raises(BadRequest, match="Colour is not a valid dimension"):
        client.run_report(asked(dimensions=[Dimension(name="Colour")]))
    sandbox.inject(share=1.0, kinds=["throttled"])
    try:
        with pytest.raises(TooManyRequests, match="Exhausted property tokens"):
            client.run_report(asked(), retry=None)
    finally:
        sandbox.mend()


def test_restated_days_are_replaced_whole_and_earlier_ones_stay(
    lake: Catalog, flows: dict[str, Flow], sandbox: Sandbox
) -> None:
    flow = flows["analytics.sessions"]
    sandbox.put(visits=[visits(number) for number in range(40)])  # ten days
    assert land(lake, flow, sandbox).rows == 40
    assert land(lake, flow, sandbox).rows == 0
    assert len(lake.load_table(flow.table).snapshots()) == 1
    sandbox.clear()  # Google has counted again: on the last day one combination is another, on the first none is left
    restated = [visits(number) for number in range(4, 39)] + [
        visits(39, channel="Paid Search", sessions=7, engaged_sessions=5)
    ]
    sandbox.put(visits=restated)
    assert land(lake, flow, sandbox).rows == 2, "one came, one went"
    found = rows(lake, flow.table)
    assert len(found) == 40
    assert sorted(row["sessions"] for row in found if row["day"] == date(2016, 1, 10)) == [7, 136, 137, 138]
    assert sum(row["day"] == date(2016, 1, 1) for row in found) == 4, "it is not among the days that were read"
    assert land(lake, flow, sandbox, everything=True).rows == 4
    assert {row["day"] for row in rows(lake, flow.table)} == {date(2016, 1, day) for day in range(2, 11)}


def test_report_that_changes_its_size_between_pages_is_read_anew(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.put(visits=[visits(number) for number in range(20)])
    reading = Reading(
        entity="runReport", paths=("date", "landingPage", "sessions"), page_size=6, cursor="date", since=None
    )
    with connect("google-analytics", sandbox.endpoint("analytics")) as connector:
        call, reports = connector.api.call, []

        def changing(method: str, path: str, **request: Any) -> dict[str, Any]:
            answer = call(method, path, **request)
            if method == "POST":
                reports.append(request["json"]["offset"])
                if len(reports) == 1:
                    sandbox.put(visits=[visits(0, landing_page="/new")])
            return answer

        monkeypatch.setattr(connector.api, "call", changing)
        found = [row for page in connector.read_pages(reading) for row in page]
    assert reports == [0, 6, 0, 6]
    assert len({row["id"] for row in found}) == len(found) == 11


def test_report_of_what_there_is_not_is_refused(sandbox: Sandbox) -> None:
    reading = Reading(entity="runReport", paths=("date", "colour"), page_size=6, cursor="date", since=None)
    with (
        connect("google-analytics", sandbox.endpoint("analytics")) as connector,
        pytest.raises(SourceRefused, match="there is no colour"),
    ):
        next(iter(connector.read_pages(reading)))


def test_health_counts_what_is_fed(sandbox: Sandbox) -> None:
    sandbox.put(shipments=[shipment(1)], sales_orders=[sales_order(1)], visits=[visits(1), visits(1), visits(2)])
    held = httpx.get(f"{sandbox.url}/health").json()
    assert (held["shipments"], held["sales_orders"], held["visits"]) == (1, 1, 2)
