"""The shop's cancellation, a locked contact and the receiver of notices, each as the real one answers."""

import json
import time
from typing import Any

import httpx
import pytest

from lake.settle.signature import signature
from sandbox.notices import SIGNATURE, TOLERANCE_S, unsigned
from sandbox.records import Contact, Load, Order
from tests.unit.sandbox_asgi import SECRETS, Client

SHOP = "/admin/api/2026-07/graphql.json"
CANCEL = """
mutation Cancel($id: ID!, $note: String, $restock: Boolean = false) {
  orderCancel(orderId: $id, reason: FRAUD, restock: $restock, staffNote: $note) {
    job { id done }
    orderCancelUserErrors { code field message }
    userErrors { field message }
  }
}
"""
LOOK = "query Look($id: ID!) { order(id: $id) { cancelledAt cancelReason displayFinancialStatus updatedAt } }"
CONTACTS = "/services/data/v66.0/sobjects/Contact"


def order(number: int, **changed: Any) -> Order:
    moment = 1_425_168_000 + number
    fields = {
        "order_id": f"{number}-1", "customer_id": str(number), "created": moment, "updated": moment, "amount": 3400,
        "currency": "USD", "email": f"c{number}@example.test", "ip": None,
    }  # fmt: skip
    return Order(**(fields | changed))


def gid(number: int) -> str:
    return f"gid://shopify/Order/{5_000_000_000 + number}"


def ask(client: Client, document: str, **variables: Any) -> dict[str, Any]:
    headers = {"X-Shopify-Access-Token": SECRETS[0]}
    answer = client.post(SHOP, json={"query": document, "variables": variables}, headers=headers).json()
    assert "errors" not in answer, answer
    return answer["data"]


@pytest.fixture
def client() -> Client:
    moment = 1_425_168_000
    contacts = [
        Contact(
            customer_id="2", created=moment, updated=moment, first_name=None, last_name="Doe", email=None, locked=True
        )
    ]
    return Client(Load(orders=[order(1), order(2, fulfilled=True), order(3)], contacts=contacts))


def cancelled(client: Client, number: int) -> dict[str, Any]:
    until = time.monotonic() + 5
    while True:
        found = ask(client, LOOK, id=gid(number))["order"]
        if found["cancelledAt"] is not None:
            return found
        assert time.monotonic() < until, "the job never ran"
        time.sleep(0.02)


def test_a_job_cancels_the_order_a_moment_later(client: Client) -> None:
    answer = ask(client, CANCEL, id=gid(1), note="settle/1-1/cancel-order")["orderCancel"]
    assert answer["job"]["done"] is False
    assert answer["orderCancelUserErrors"] == answer["userErrors"] == []
    assert ask(client, LOOK, id=gid(1))["order"]["cancelledAt"] is None
    found = cancelled(client, 1)
    assert (found["cancelReason"], found["displayFinancialStatus"]) == ("FRAUD", "VOIDED")
    assert found["updatedAt"] == found["cancelledAt"], "a landing must see the change"
    assert ask(client, "query($id: ID!) { job(id: $id) { done } }", id=answer["job"]["id"])["job"]["done"] is True
    assert ask(client, LOOK, id=gid(3))["order"]["displayFinancialStatus"] == "AUTHORIZED"


@pytest.mark.parametrize(
    ("number", "note", "code", "field", "said"),
    [
        (9, None, "NOT_FOUND", ["orderId"], "could not be found"),
        (2, None, "INVALID", ["orderId"], "has fulfillments"),
        (3, "n" * 256, "INVALID", ["staffNote"], "too long"),
    ],
)
def test_user_errors_say_what_is_wrong(
    client: Client, number: int, note: str | None, code: str, field: list[str], said: str
) -> None:
    answer = ask(client, CANCEL, id=gid(number), note=note)["orderCancel"]
    (error,) = answer["orderCancelUserErrors"]
    assert answer["job"] is None
    assert (error["code"], error["field"]) == (code, field)
    assert said in error["message"]


def test_a_cancelled_order_is_not_cancelled_again_nor_revived_by_feeding_it(client: Client) -> None:
    ask(client, CANCEL, id=gid(1))
    found = cancelled(client, 1)
    (error,) = ask(client, CANCEL, id=gid(1))["orderCancel"]["orderCancelUserErrors"]
    assert error["message"] == "The order has already been canceled."
    client.load(Load(orders=[order(1)]))
    assert ask(client, LOOK, id=gid(1))["order"] == found
    search = '{ orders(first: 5, query: "financial_status:voided") { nodes { sourceIdentifier } } }'
    assert ask(client, search)["orders"]["nodes"] == [{"sourceIdentifier": "1-1"}]


def test_a_locked_contact_is_not_changed(client: Client) -> None:
    form = f"grant_type=client_credentials&client_id=countersign&client_secret={SECRETS[3]}"
    token = client.post("/services/oauth2/token", content=form).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    answer = client.request("PATCH", f"{CONTACTS}/Customer_Id__c/2", json={"Fraud_Status__c": "x"}, headers=headers)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "ENTITY_IS_LOCKED")
    assert client.get(f"{CONTACTS}/Customer_Id__c/2", headers=headers).json()["Fraud_Status__c"] is None


def notice(client: Client, body: bytes, secret: str = SECRETS[4], at: float | None = None) -> httpx.Response:
    headers = {SIGNATURE: signature(body, secret, int(time.time() if at is None else at))}
    return client.post("/webhooks/orders", content=body, headers=headers)


def test_a_notice_is_taken_once(client: Client) -> None:
    body = json.dumps({"id": "settle/7-1/tell-customer", "type": "OrderStoppedAsFraud", "data": {}}).encode()
    assert [notice(client, body).status_code for _ in range(2)] == [200, 200]
    assert notice(client, body.replace(b"Fraud", b"Other")).status_code == 422
    taken = client.get("/sandbox/notices", headers={"Authorization": f"Bearer {SECRETS[2]}"}).json()
    assert [one["id"] for one in taken] == ["settle/7-1/tell-customer"]
    assert notice(client, b"{}").status_code == 422


def test_a_notice_needs_a_fresh_signature_by_our_secret(client: Client) -> None:
    body = b'{"id":"a","type":"b","data":{}}'
    assert "by our secret" in notice(client, body, secret="other").json()["error"]
    assert "seconds off" in notice(client, body, at=time.time() - TOLERANCE_S - 5).json()["error"]
    assert "must hold" in client.post("/webhooks/orders", content=body).json()["error"]
    good = signature(body, "s", 1000)
    assert unsigned(good, body, "s", 1000) is None
    assert unsigned(good + ",v1=00", body, "s", 1000) is None, "an old and a new secret may both sign"
    assert unsigned(good, body + b" ", "s", 1000)
    assert unsigned(good.replace("t=1000", "t=1001"), body, "s", 1000)
