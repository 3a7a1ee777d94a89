"""Injected faults: the share, the seed, each kind in each API's form, and none at the sandbox's own door."""

from collections import Counter
from typing import Any

import pytest

from sandbox.records import Load
from tests.unit.sandbox_asgi import Client
from tests.unit.test_sandbox_crm import ROOT, Crm, contact

ADMIN = {"Authorization": "Bearer admin"}
KEY = {"Authorization": "Bearer sk_test_12345678"}


def inject(client: Client, **rules: Any) -> None:
    response = client.request("PUT", "/sandbox/faults", json=rules, headers=ADMIN)
    assert response.status_code == 200, response.text


def happened(client: Client) -> dict[str, int]:
    return dict(client.get("/sandbox/faults", headers=ADMIN).json()["happened"])


def statuses(client: Client, count: int) -> list[int]:
    return [client.get("/v1/charges", headers=KEY).status_code for _ in range(count)]


def test_the_share_and_the_seed_decide() -> None:
    client = Client(Load())
    assert set(statuses(client, 20)) == {200}
    runs = []
    for seed in (1, 1, 2):
        inject(client, share=0.2, seed=seed, slow_seconds=0)
        runs.append(statuses(client, 400))
    assert runs[0] == runs[1] != runs[2]
    inject(client, share=0.2, slow_seconds=0)
    counts = Counter(statuses(client, 400))
    told = happened(client)
    assert 50 <= sum(told.values()) <= 110
    assert (counts[429], counts[503], counts[502]) == (told["throttled"], told["unavailable"], told["lost"])
    assert "expired" not in told, "keys of the provider do not expire"
    client.delete("/sandbox/faults", headers=ADMIN)
    assert set(statuses(client, 20)) == {200}
    assert happened(client) == {}


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/admin/api/2026-07/graphql.json", 429, {"errors": "Exceeded the request limit."}),
        ("/services/oauth2/token", 429, [{"message": "Too many requests.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]),
        (f"{ROOT}/query", 503, [{"message": "Server unavailable.", "errorCode": "SERVER_UNAVAILABLE"}]),
        (
            "/v1/refunds",
            429,
            {
                "error": {
                    "type": "invalid_request_error",
                    "message": "Request rate limit exceeded.",
                    "code": "rate_limit",
                }
            },
        ),
        ("/v1/charges", 503, {"error": {"type": "api_error", "message": "Something went wrong."}}),
    ],
)
def test_each_api_says_it_in_its_own_words(path: str, status: int, body: Any) -> None:
    client = Client(Load())
    inject(client, share=1.0, kinds=["throttled" if status == 429 else "unavailable"], retry_after=7)
    answer = client.post(path)
    assert (answer.status_code, answer.json()) == (status, body)
    asks = status == 429 and not path.startswith("/v1/")  # Stripe leaves it to its clients how long they wait
    assert answer.headers.get("Retry-After") == ("7" if asks else None)


def test_a_lost_answer_belongs_to_a_request_that_was_carried_out() -> None:
    crm = Crm([contact(1)])
    inject(crm, share=1.0, kinds=["lost"])
    place = f"{ROOT}/sobjects/Contact/Customer_Id__c/1"
    assert crm.request("PATCH", place, json={"Fraud_Status__c": "x"}, headers=crm.headers).status_code == 502
    inject(crm, share=0.0)
    assert crm.ask(place)["Fraud_Status__c"] == "x"


def test_an_expired_token_stays_expired_and_another_is_good() -> None:
    crm = Crm([contact(1)])
    inject(crm, share=1.0, kinds=["expired"])
    assert crm.refused("GET", f"{ROOT}/sobjects/")[:2] == (401, "INVALID_SESSION_ID")
    inject(crm, share=0.0)
    assert crm.refused("GET", f"{ROOT}/sobjects/")[:2] == (401, "INVALID_SESSION_ID")
    crm.sign_in()
    assert crm.ask(f"{ROOT}/sobjects/")


def test_the_own_door_has_no_faults_and_a_lock() -> None:
    client = Client(Load())
    inject(client, share=1.0)
    assert client.get("/health").status_code == 200
    assert client.get("/sandbox/faults", headers=ADMIN).status_code == 200
    for method in ("GET", "PUT", "DELETE"):
        assert client.request(method, "/sandbox/faults").status_code == 401
    bad = client.request("PUT", "/sandbox/faults", json={"share": 2}, headers=ADMIN)
    assert (bad.status_code, "$.share" in bad.text) == (400, True)
