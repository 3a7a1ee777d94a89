"""The sandbox's CRM: tokens that expire, SOQL and its pages, describe, write-back, errors in Salesforce's form."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.crm.objects import id_of, moment
from sandbox.records import Account, Contact, Load
from tests.unit.sandbox_asgi import Client

START = 1_425_168_000
ROOT = "/services/data/v66.0"
CREDENTIALS = {"grant_type": "client_credentials", "client_id": "countersign", "client_secret": "crm-secret"}


class Clock:
    """Seconds, turned by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def contact(number: int, **changed: Any) -> Contact:
    given: dict[str, Any] = {
        "customer_id": str(number),
        "created": START + number,
        "updated": START + number,
        "first_name": "Ada",
        "last_name": f"No{number}",
        "email": f"c{number}@example.test",
    }
    return Contact(**given | changed)


class Crm(Client):
    """A client that signs in."""

    def __init__(self, contacts: list[Contact], **limits: Any) -> None:
        self.clock = Clock()
        accounts = [Account(customer_id="1", created=START, updated=START, name="Abel Household")]
        super().__init__(Load(accounts=accounts, contacts=contacts), self.clock, **limits)
        self.sign_in()

    def sign_in(self) -> None:
        answer = self.post("/services/oauth2/token", data=CREDENTIALS)
        assert answer.status_code == 200, answer.text
        self.headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def ask(self, path: str, **options: Any) -> Any:
        response = self.get(path, headers=self.headers | options.pop("headers", {}), **options)
        assert response.status_code == 200, response.text
        return response.json()

    def query(self, soql: str, **headers: str) -> Any:
        return self.ask(f"{ROOT}/query", params={"q": soql}, headers=headers)

    def pages(self, soql: str, size: int) -> Iterator[list[dict[str, Any]]]:
        page = self.query(soql, **{"Sforce-Query-Options": f"batchSize={size}"})
        yield page["records"]
        while not page["done"]:
            page = self.ask(page["nextRecordsUrl"])
            yield page["records"]

    def refused(self, method: str, path: str, **options: Any) -> tuple[int, str, str]:
        response = self.request(method, path, **({"headers": self.headers} | options))
        (error,) = response.json()
        return response.status_code, error["errorCode"], error["message"]


@pytest.fixture(scope="module")
def crm() -> Crm:
    return Crm([contact(number) for number in range(450)])


def test_ids_look_like_salesforces() -> None:
    """The last three characters say which of the fifteen before them are upper case; published example."""
    made = id_of("003", "1")
    assert (len(made), made[:3]) == (18, "003")
    assert id_of("003", "1") == made != id_of("003", "2") != id_of("001", "2")
    for chunk, guard in zip((made[0:5], made[5:10], made[10:15]), made[15:], strict=True):
        bits = sum(1 << place for place, letter in enumerate(chunk) if letter.isupper())
        assert "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"[bits] == guard


def test_a_record_has_its_type_its_address_and_the_fields_asked_for(crm: Crm) -> None:
    page = crm.query("SELECT Id, customer_id__c, Email, SystemModstamp FROM Contact WHERE Customer_Id__c = '7'")
    assert page == {
        "totalSize": 1,
        "done": True,
        "records": [
            {
                "attributes": {"type": "Contact", "url": f"{ROOT}/sobjects/Contact/{id_of('003', '7')}"},
                "Id": id_of("003", "7"),
                "Customer_Id__c": "7",
                "Email": "c7@example.test",
                "SystemModstamp": moment(START + 7),
            }
        ],
    }
    assert moment(0) == "1970-01-01T00:00:00.000+0000"


def test_pages_give_every_record_once_in_order(crm: Crm) -> None:
    pages = list(crm.pages("SELECT Customer_Id__c FROM Contact ORDER BY SystemModstamp DESC, Id", 200))
    assert [len(page) for page in pages] == [200, 200, 50]
    assert [int(one["Customer_Id__c"]) for page in pages for one in page] == list(range(450))[::-1]
    assert [len(page) for page in crm.pages("SELECT Id FROM Contact", 10)] == [200, 200, 50], "200 is the least"
    assert [len(page) for page in crm.pages("SELECT Id FROM Contact", 9999)] == [450]


def test_a_record_that_changes_between_pages_neither_shifts_nor_doubles_the_others() -> None:
    crm = Crm([contact(number) for number in range(450)])
    pages = crm.pages("SELECT Customer_Id__c FROM Contact ORDER BY SystemModstamp, Id", 200)
    seen = next(pages)
    crm.load(Load(contacts=[contact(3, updated=START + 9_000), contact(900)]))
    seen += [one for page in pages for one in page]
    assert sorted(int(one["Customer_Id__c"]) for one in seen) == list(range(450))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (f"SystemModstamp >= {'2015-03-01T00:07:00Z'}", range(420, 450)),
        ("SystemModstamp > 2015-03-01T00:07:00.000+0000", range(421, 450)),
        ("CreatedDate < 2015-03-01T00:00:05Z AND LastName != 'No2'", (0, 1, 3, 4)),
        ("Email = 'c9@example.test'", (9,)),
        ("LeadSource = null and Customer_Id__c = '4'", (4,)),
        ("LeadSource != null", ()),
        ("LeadSource > 'a'", ()),
        ("LastName = 'O\\'Hara'", ()),
    ],
)
def test_where(crm: Crm, where: str, expected: range | tuple[int, ...]) -> None:
    soql = f"select Customer_Id__c from contact where {where} order by CreatedDate asc"  # noqa: S608 - a test wrote it
    found = crm.query(soql)["records"]
    assert [int(one["Customer_Id__c"]) for one in found] == list(expected)


def test_count_limit_and_accounts(crm: Crm) -> None:
    assert crm.query("SELECT COUNT() FROM Contact") == {"totalSize": 450, "done": True, "records": []}
    assert len(crm.query("SELECT Id FROM Contact ORDER BY LastName LIMIT 3")["records"]) == 3
    (account,) = crm.query("SELECT Id, Name FROM Account")["records"]
    assert account["Name"] == "Abel Household"
    (one,) = crm.query("SELECT AccountId FROM Contact WHERE Customer_Id__c = '1'")["records"]
    assert one["AccountId"] == account["Id"]


@pytest.mark.parametrize(
    ("soql", "code", "said"),
    [
        ("SELECT Id FROM Invoice", "INVALID_TYPE", "sObject type 'Invoice' is not supported"),
        ("SELECT Colour FROM Contact", "INVALID_FIELD", "No such column 'Colour' on entity 'Contact'"),
        ("SELECT Id FROM Contact WHERE Email >= 2015-03-01T00:00:00Z", "INVALID_FIELD", "must be of type"),
        ("SELECT Id FROM Contact WHERE CreatedDate >= '2015'", "INVALID_FIELD", "must be of type dateTime"),
        ("SELECT FROM Contact", "MALFORMED_QUERY", "unexpected token"),
        ("SELECT Id FROM Contact WHERE", "MALFORMED_QUERY", "<EOF>"),
        ("SELECT Id FROM Contact; DROP", "MALFORMED_QUERY", "unexpected token: '; DROP'"),
        ("SELECT Id FROM Contact OFFSET 3", "MALFORMED_QUERY", "OFFSET"),
        ("", "MALFORMED_QUERY", "<EOF>"),
    ],
)
def test_a_query_that_cannot_be_answered_truly_is_refused(crm: Crm, soql: str, code: str, said: str) -> None:
    status, found, message = crm.refused("GET", f"{ROOT}/query", params={"q": soql})
    assert (status, found) == (400, code)
    assert said in message


def test_a_forgotten_locator_and_a_wrong_address_are_refused(crm: Crm) -> None:
    assert crm.refused("GET", f"{ROOT}/query/01gnone-200")[:2] == (400, "INVALID_QUERY_LOCATOR")
    assert crm.refused("GET", f"{ROOT}/sobjects/Invoice/describe")[:2] == (404, "NOT_FOUND")
    assert crm.refused("GET", "/services/data/66/query", params={"q": "SELECT Id FROM Contact"})[0] == 404
    assert crm.refused("GET", f"{ROOT}/sobjects/Contact/003none")[:2] == (404, "NOT_FOUND")
    assert crm.refused("GET", f"{ROOT}/sobjects/Contact/Email/c1@example.test")[:2] == (404, "NOT_FOUND")


def test_describe_names_objects_and_fields(crm: Crm) -> None:
    assert [one["name"] for one in crm.ask(f"{ROOT}/sobjects/")["sobjects"]] == ["Account", "Contact"]
    fields = {one["name"]: one for one in crm.ask(f"{ROOT}/sobjects/Contact/describe")["fields"]}
    assert (fields["Email"]["type"], fields["Customer_Id__c"]["externalId"]) == ("email", True)
    assert not fields["SystemModstamp"]["updateable"]
    assert set(crm.ask(f"{ROOT}/sobjects/Contact/{id_of('003', '5')}")) == {"attributes", *fields}


def test_writing_back_sets_fields_and_the_stamp() -> None:
    crm = Crm([contact(1), contact(2)])
    before = crm.ask(f"{ROOT}/sobjects/Contact/Customer_Id__c/1")
    url = f"{ROOT}/sobjects/Contact/{before['Id']}"
    answer = crm.request("PATCH", url, json={"Fraud_Status__c": "confirmed"}, headers=crm.headers)
    assert (answer.status_code, answer.content) == (204, b"")
    after = crm.ask(f"{url[:-3]}")
    assert after["Fraud_Status__c"] == "confirmed"
    assert after["SystemModstamp"] > before["SystemModstamp"]
    assert {name for name in after if after[name] != before[name]} == {
        "Fraud_Status__c",
        "SystemModstamp",
        "LastModifiedDate",
    }
    by = crm.request(
        "PATCH", f"{ROOT}/sobjects/Contact/Customer_Id__c/2", json={"Email": None}, headers=crm.headers
    ).json()
    assert by == {"id": id_of("003", "2"), "success": True, "errors": [], "created": False}
    assert crm.ask(f"{ROOT}/sobjects/Contact/Customer_Id__c/2")["Email"] is None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"Colour": "red"}, "INVALID_FIELD"),
        ({"SystemModstamp": "2015-03-01T00:00:00Z"}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ({"LastName": None}, "REQUIRED_FIELD_MISSING"),
        ({"Email": 5}, "JSON_PARSER_ERROR"),
        ({"FirstName": "x" * 41}, "STRING_TOO_LONG"),
        ([1], "JSON_PARSER_ERROR"),
    ],
)
def test_what_cannot_be_written_is_refused(crm: Crm, fields: Any, code: str) -> None:
    place = f"{ROOT}/sobjects/Contact/{id_of('003', '5')}"
    assert crm.refused("PATCH", place, json=fields)[:2] == (400, code)


def test_a_token_expires_and_another_is_given() -> None:
    crm = Crm([contact(1)], session_seconds=60)
    crm.clock.now += 59
    assert crm.query("SELECT COUNT() FROM Contact")["totalSize"] == 1
    crm.clock.now += 1
    expired = (401, "INVALID_SESSION_ID", "Session expired or invalid")
    assert crm.refused("GET", f"{ROOT}/query", params={"q": "SELECT Id FROM Contact"}) == expired
    crm.sign_in()
    assert crm.query("SELECT COUNT() FROM Contact")["totalSize"] == 1
    assert crm.refused("GET", f"{ROOT}/sobjects/", headers={}) == expired
    assert crm.refused("GET", f"{ROOT}/sobjects/", headers={"Authorization": "Bearer no"}) == expired


def basic(client: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client}:{secret}".encode()).decode()}


def test_a_token_is_given_for_the_credentials_alone(crm: Crm) -> None:
    def asked(headers: dict[str, str] | None = None, **form: str) -> tuple[int, str]:
        answer = crm.post("/services/oauth2/token", data=form, headers=headers)
        return answer.status_code, answer.json().get("error", "")

    only = {"grant_type": "client_credentials"}
    assert asked(basic("countersign", "crm-secret"), **only) == (200, "")
    assert asked(**CREDENTIALS | {"client_secret": "wrong"}) == (400, "invalid_client")
    assert asked(**CREDENTIALS | {"client_id": "wrong"}) == (400, "invalid_client_id")
    assert asked(basic("countersign", "wrong"), **only) == (400, "invalid_client")
    assert asked({"Authorization": "Basic no!"}, **only) == (400, "invalid_client_id")
    assert asked(**CREDENTIALS | {"grant_type": "password"}) == (400, "unsupported_grant_type")
