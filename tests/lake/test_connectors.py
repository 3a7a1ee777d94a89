"""The connectors' verbs against the sandbox; and Salesforce's dialect tried by the client that people use."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import httpx
import msgspec
import pytest
import requests
from requests.adapters import HTTPAdapter
from simple_salesforce import Salesforce as Client
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceExpiredSession,
    SalesforceMalformedRequest,
    SalesforceResourceNotFound,
)

from lake.landing import describe
from lake.landing.columns import at, table_of
from lake.landing.connector import CannotWrite, Connector, NoConnector, Reading, named
from lake.landing.flow import CONNECTORS, Column
from lake.landing.flows import folder, load_all
from lake.landing.http import Api, BadCredentials, Endpoint, SourceRefused, SourceUnavailable
from lake.landing.salesforce import ClientCredentials, Salesforce, soql
from lake.landing.shopify import selection, snake
from tests.lake.other_sources import sales_order, shipment, visits
from tests.lake.test_landing_sources import Sandbox, charge, contact, order

FLOWS = load_all(folder())
SEVERAL = "carrier.tracking_events"
"""Rows of which one record of the source has several."""
BY_CONNECTOR = {flow.connector: flow for name, flow in reversed(FLOWS.items()) if name != SEVERAL}
"""The first flow of each: of charges and orders, before what comes of them."""


@pytest.fixture
def sandbox(stack: dict[str, str]) -> Sandbox:
    return Sandbox(stack["COUNTERSIGN_SANDBOX"], stack)


def connect(name: str, endpoint: Endpoint) -> Connector:
    return named(name)(endpoint, BY_CONNECTOR[name].endpoint)


@pytest.fixture(params=CONNECTORS)
def connector(request: pytest.FixtureRequest, sandbox: Sandbox) -> Iterator[Connector]:
    """One of each, over a sandbox that holds something."""
    others = {"shipments": [shipment(1)], "sales_orders": [sales_order(1)], "visits": [visits(1)]}
    sandbox.put([order(1)], [charge(1)], [contact(1)], **others)
    with connect(request.param, sandbox.endpoint(BY_CONNECTOR[request.param].connection)) as made:
        yield made


def flow_of(connector: Connector) -> Any:
    return next(flow for name, flow in BY_CONNECTOR.items() if named(name) is type(connector))


def test_good_credentials_pass(connector: Connector) -> None:
    connector.check_credentials()


@pytest.mark.parametrize("name", CONNECTORS)
def test_bad_credentials_do_not(name: str, sandbox: Sandbox) -> None:
    flow = BY_CONNECTOR[name]
    with (
        connect(name, Endpoint(flow.connection, sandbox.url, "wrong", "countersign")) as bad,
        pytest.raises(BadCredentials, match=f"AIRFLOW_CONN_{flow.connection.upper()}"),
    ):
        bad.check_credentials()


def test_every_path_that_a_flow_maps_is_described_with_its_type(connector: Connector) -> None:
    flow = flow_of(connector)
    assert flow.entity in {entity.name for entity in connector.describe_entities()}
    fields = {field.path: field for field in connector.describe_fields(flow.entity)}
    described = [path for path in flow.paths if path.count(".") < 2]  # two levels are described
    assert set(described) <= fields.keys()
    for column in flow.columns.values():
        if column.from_ in described and column.type != "amount":
            kind = "time" if column.type == "day" else column.type
            assert fields[column.from_].type == kind, column


def test_draft_of_columns_makes_a_table(connector: Connector) -> None:
    """As it is printed: every field that fits a column, under a name of its own."""
    flow = flow_of(connector)
    assert any(line.startswith(f"{flow.entity}  # ") for line in describe.described(connector, None))
    lines = describe.described(connector, flow.entity)
    drafted = msgspec.yaml.decode("\n".join(lines), type=dict[str, dict[str, Column]])["columns"]
    fields = [field for field in connector.describe_fields(flow.entity) if field.type]
    assert [column.from_ for column in drafted.values()] == [field.path for field in fields]
    table_of(msgspec.structs.replace(flow, columns=drafted | {"day": flow.columns["day"]}))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("Fraud_Status__c", "fraud_status"),
        ("sourceIdentifier", "source_identifier"),
        ("totalPriceSet.shopMoney.amount", "total_price_set_shop_money_amount"),
        ("id", "id"),
    ],
)
def test_drafted_name_is_a_column_s(path: str, name: str) -> None:
    assert describe.column(path) == name


def test_describe_command_names_what_is_wrong(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {"conn_type": "http", "host": "127.0.0.1", "port": int(sandbox.url.rpartition(":")[2]), "schema": "http"}
    good = wrong | {"login": "countersign", "password": sandbox.endpoint("crm").secret}
    command = ["salesforce", "crm", "/services/data/v66.0"]
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(good))
    assert describe.main(command) == 0
    assert capsys.readouterr().out == "Account  # Account\nContact  # Contact\n"
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(wrong | {"password": "wrong", "login": "countersign"}))
    assert describe.main(command) == 4
    assert "invalid client credentials" in capsys.readouterr().err
    assert describe.main(["soap", *command[1:]]) == 4
    assert "there is no connector 'soap'" in capsys.readouterr().err


def test_entity_that_is_not_there_is_refused(connector: Connector) -> None:
    with pytest.raises(SourceRefused):
        connector.describe_fields("nothing")


def test_pages_hold_what_was_asked_for(connector: Connector) -> None:
    flow = flow_of(connector)
    cursor = flow.columns[flow.cursor.field].from_
    reading = Reading(entity=flow.entity, paths=flow.paths, page_size=10, cursor=cursor, since=None)
    ((row,),) = connector.read_pages(reading)
    assert at(row, type(connector).id_path)
    assert row.keys() >= {path.partition(".")[0] for path in flow.paths}
    later = Reading(
        entity=flow.entity, paths=flow.paths, page_size=10, cursor=cursor, since=datetime(2020, 1, 1, tzinfo=UTC)
    )
    assert list(connector.read_pages(later)) == [[]]


@pytest.mark.parametrize("name", ["shopify", "stripe"])
def test_connector_that_cannot_write_says_so(name: str, sandbox: Sandbox) -> None:
    with (
        connect(name, sandbox.endpoint(BY_CONNECTOR[name].connection)) as made,
        pytest.raises(CannotWrite, match=f"Airflow connection {BY_CONNECTOR[name].connection}"),
    ):
        made.write_records("orders", "id", [{"id": "1"}])


def test_flag_is_written_back_by_external_id_and_writing_again_changes_nothing(sandbox: Sandbox) -> None:
    sandbox.put(contacts=[contact(1), contact(2)])
    reading = Reading(
        entity="Contact",
        paths=("Customer_Id__c", "Fraud_Status__c"),
        page_size=200,
        cursor="SystemModstamp",
        since=None,
    )
    flags = [{"Customer_Id__c": "1", "Fraud_Status__c": "confirmed"}]
    with connect("salesforce", sandbox.endpoint("crm")) as crm:
        for _ in range(2):
            assert crm.write_records("Contact", "Customer_Id__c", flags) == 1
            ((one, two),) = ([*page] for page in crm.read_pages(reading))
            found = {row["Customer_Id__c"]: row["Fraud_Status__c"] for row in (one, two)}
            assert found == {"1": "confirmed", "2": None}
        with pytest.raises(SourceRefused, match="has no Id"):
            crm.write_records("Contact", "Id", flags)
        with pytest.raises(SourceRefused, match="INVALID_FIELD"):
            crm.write_records("Contact", "Customer_Id__c", [{"Customer_Id__c": "1", "Colour": "red"}])


def test_flag_is_written_though_answers_are_lost(sandbox: Sandbox) -> None:
    sandbox.put(contacts=[contact(number) for number in range(20)])
    flags = [{"Customer_Id__c": str(number), "Fraud_Status__c": "confirmed"} for number in range(20)]
    sandbox.inject(share=0.4, seed=5, retry_after=0, slow_seconds=0, kinds=["lost", "unavailable", "expired"])
    try:
        with connect("salesforce", sandbox.endpoint("crm")) as crm:
            assert crm.write_records("Contact", "Customer_Id__c", flags) == 20
    finally:
        assert sandbox.mend().keys() == {"lost", "unavailable", "expired"}
    with SignedIn(sandbox) as client:
        found = client.query("SELECT COUNT() FROM Contact WHERE Fraud_Status__c = 'confirmed'")
        assert found["totalSize"] == 20


def test_connector_that_is_not_there_is_named() -> None:
    for name in ("soap", "nowhere:Soap", "json:loads"):
        with pytest.raises(NoConnector, match=name.partition(":")[0]):
            named(name)


# --- what goes over the wire ------------------------------------------------------------------------------------------


def test_query_of_each_dialect() -> None:
    reading = Reading(
        entity="Contact",
        paths=("Email", "Account.Name"),
        page_size=9,
        cursor="SystemModstamp",
        since=datetime(2015, 1, 2, 6, tzinfo=UTC),
    )
    assert soql(reading) == (
        "SELECT Id, Email, Account.Name FROM Contact WHERE SystemModstamp >= 2015-01-02T06:00:00Z "
        "ORDER BY SystemModstamp, Id"
    )
    assert selection(("createdAt", "totalPriceSet.shopMoney.amount", "totalPriceSet.shopMoney.currencyCode")) == (
        "{ id createdAt totalPriceSet { shopMoney { amount currencyCode } } }"
    )
    assert snake("updatedAt") == "updated_at"


class Wire(httpx.BaseTransport):
    """Gives the answers it was told, and keeps what it was asked."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []
        self.signed: list[str | None] = []  # at that moment: a request that is sent again is signed anew

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        self.signed.append(request.headers.get("Authorization"))
        status, body = self.answers.pop(0)
        return httpx.Response(status, json=body)


def crm_over(wire: Wire) -> Salesforce:
    endpoint = Endpoint("crm", "http://crm.test", "hush", "countersign")
    made = Salesforce(endpoint, "/services/data/v66.0")
    made.api = Api(endpoint, {}, attempts=2, passing=made.is_passing)
    made.api._client = httpx.Client(transport=wire, base_url=endpoint.base_url, auth=ClientCredentials(endpoint))
    return made


TOKEN = (200, {"access_token": "one"})
OTHER = (200, {"access_token": "two"})
EXPIRED = (401, [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}])
GOOD = (200, {"sobjects": []})


def test_token_is_asked_for_once_and_again_when_it_has_expired() -> None:
    wire = Wire(TOKEN, GOOD, GOOD, EXPIRED, OTHER, GOOD)
    with crm_over(wire) as crm:
        for _ in range(3):
            crm.check_credentials()
    assert wire.signed == [None, "Bearer one", "Bearer one", "Bearer one", None, "Bearer two"]
    assert b"client_secret=hush" in wire.asked[0].content


def test_token_that_is_refused_at_once_is_no_endless_loop() -> None:
    wire = Wire(TOKEN, EXPIRED, OTHER, EXPIRED)
    with crm_over(wire) as crm, pytest.raises(SourceUnavailable, match=r"INVALID_SESSION_ID"):
        crm.check_credentials()
    assert wire.answers == []


@pytest.mark.parametrize("busy", [429, 503])
def test_token_that_cannot_be_had_now_is_asked_for_again(busy: int) -> None:
    wire = Wire((busy, [{"errorCode": "X"}]), TOKEN, GOOD)
    with crm_over(wire) as crm:
        crm.check_credentials()
    assert wire.answers == []


def test_daily_limit_of_the_crm_is_no_bad_credential() -> None:
    """Salesforce says it with 403."""
    limit = (403, [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}])
    with crm_over(Wire(TOKEN, limit, GOOD)) as crm:
        crm.check_credentials()
    with crm_over(Wire(TOKEN, (403, [{"errorCode": "API_DISABLED_FOR_ORG"}]))) as crm, pytest.raises(BadCredentials):
        crm.check_credentials()


def test_flow_that_limits_its_requests_is_not_faster(sandbox: Sandbox) -> None:
    sandbox.put(charges=[charge(number) for number in range(6)])
    reading = Reading(entity="charges", paths=("id",), page_size=1, cursor="created", since=None)
    began = monotonic()
    with named("stripe")(sandbox.endpoint("payments"), "/v1", requests_per_second=20) as payments:
        assert len(list(payments.read_pages(reading))) == 6
    assert monotonic() - began >= 5 / 20


# --- the official client ----------------------------------------------------------------------------------------------


class ToSandbox(HTTPAdapter):
    """What name servers and certificates do for a real org: leads ``https://….my.salesforce.com`` to the sandbox."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request: requests.PreparedRequest, *arguments: Any, **more: Any) -> requests.Response:
        request.url = f"{self._url}{request.path_url}"
        return super().send(request, *arguments, **more)


class SignedIn:
    """simple-salesforce, unchanged, signed in with the client credentials of the connected app."""

    def __init__(self, sandbox: Sandbox, secret: str | None = None) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.mount("https://", ToSandbox(sandbox.url))
        self._endpoint = sandbox.endpoint("crm")
        self._secret = secret or self._endpoint.secret

    def __enter__(self) -> Client:
        return Client(
            domain="countersign.my",
            consumer_key=self._endpoint.login,
            consumer_secret=self._secret,
            session=self._session,
        )

    def __exit__(self, *_: object) -> None:
        self._session.close()


def test_official_client_reads_page_by_page_and_describes(sandbox: Sandbox) -> None:
    sandbox.put(contacts=[contact(number) for number in range(2100)])
    with SignedIn(sandbox) as client:
        asked = "SELECT Id, Customer_Id__c, Email FROM Contact ORDER BY SystemModstamp, Id"
        first = client.query(asked)
        assert (first["totalSize"], first["done"], len(first["records"])) == (2100, False, 2000)
        rest = client.query_more(first["nextRecordsUrl"], identifier_is_url=True)
        assert (rest["done"], len(rest["records"])) == (True, 100)
        every = list(client.query_all_iter(asked))
        assert [row["Customer_Id__c"] for row in every] == [str(number) for number in range(2100)]
        since = "SELECT Id FROM Contact WHERE SystemModstamp >= 2015-01-02T00:00:00Z"
        assert client.query_all(since)["totalSize"] == 2096
        assert {one["name"] for one in client.describe()["sobjects"]} == {"Account", "Contact"}
        fields = {field["name"]: field["type"] for field in client.Contact.describe()["fields"]}
        assert (fields["Email"], fields["SystemModstamp"]) == ("email", "datetime")


def test_official_client_reads_and_writes_single_records(sandbox: Sandbox) -> None:
    sandbox.put(contacts=[contact(5)])
    with SignedIn(sandbox) as client:
        found = client.Contact.get_by_custom_id("Customer_Id__c", "5")
        assert client.Contact.update(found["Id"], {"Fraud_Status__c": "confirmed"}) == 204
        assert client.Contact.upsert("Customer_Id__c/5", {"LeadSource": "Web"}) == 200
        after = client.Contact.get(found["Id"])
        assert (after["Fraud_Status__c"], after["LeadSource"]) == ("confirmed", "Web")
        assert after["SystemModstamp"] > found["SystemModstamp"]


def test_official_client_understands_the_errors(sandbox: Sandbox) -> None:
    with SignedIn(sandbox) as client:
        with pytest.raises(SalesforceMalformedRequest) as malformed:
            client.query("SELECT Colour FROM Contact")
        assert malformed.value.content[0]["errorCode"] == "INVALID_FIELD"
        with pytest.raises(SalesforceResourceNotFound):
            client.Contact.get("003000000000000")
        sandbox.inject(share=1.0, kinds=["expired"])
        try:
            with pytest.raises(SalesforceExpiredSession) as expired:
                client.query("SELECT Id FROM Contact")
        finally:
            sandbox.mend()
        assert expired.value.content[0]["errorCode"] == "INVALID_SESSION_ID"
    with pytest.raises(SalesforceAuthenticationFailed, match="invalid_client"), SignedIn(sandbox, "wrong"):
        pass


def test_secret_is_not_shown_in_what_goes_wrong(sandbox: Sandbox) -> None:
    secret = base64.b16encode(b"a secret of somebody").decode()
    with (
        connect("salesforce", Endpoint("crm", sandbox.url, secret, "countersign")) as bad,
        pytest.raises(BadCredentials) as error,
    ):
        bad.check_credentials()
    assert secret not in str(error.value)
