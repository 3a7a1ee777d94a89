"""The sandbox's payment provider: pages to the end, filters and errors as in Stripe's API."""

import base64
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from sandbox.records import Charge, Load
from tests.unit.sandbox_asgi import Client

KEY = {"Authorization": "Bearer sk_test_12345678"}
START = 1_425_168_000


def charge(number: int, *, created: int | None = None, amount: int = 3400) -> Charge:
    return Charge(
        charge_id=f"ch_{number}",
        order_id=f"{number}-1",
        customer_id=str(number % 7),
        created=START + number if created is None else created,
        amount=amount,
        currency="USD",
    )


def provider(charges: list[Charge]) -> Client:
    return Client(Load(charges=charges))


@pytest.fixture(scope="module")
def client() -> Client:
    return provider([charge(number) for number in range(250)])


def ask(client: Client, **parameters: Any) -> dict[str, Any]:
    response = client.get("/v1/charges", params=parameters, headers=KEY)
    assert response.status_code == 200, response.text
    return response.json()


def numbers(page: dict[str, Any]) -> list[int]:
    return [int(item["id"].removeprefix("ch_")) for item in page["data"]]


def walk(client: Client, cursor: str, **parameters: Any) -> Iterator[list[int]]:
    while True:
        page = ask(client, **parameters)
        yield numbers(page)
        if not page["has_more"]:
            return
        parameters[cursor] = page["data"][-1 if cursor == "starting_after" else 0]["id"]


def test_a_charge_in_stripes_words(client: Client) -> None:
    page = ask(client, limit=1)
    item = page["data"][0]
    assert (page["object"], page["url"], page["has_more"]) == ("list", "/v1/charges", True)
    assert (item["id"], item["object"], item["amount"], item["currency"]) == ("ch_249", "charge", 3400, "usd")
    assert (item["captured"], item["amount_captured"], item["status"]) == (False, 0, "succeeded")
    assert (item["created"], item["metadata"], item["livemode"]) == (START + 249, {"order_id": "249-1"}, False)
    card = item["payment_method_details"]["card"]
    assert len(card["last4"]) == 4
    assert {"brand", "fingerprint"} <= set(card)
    assert client.get("/v1/charges/ch_249", headers=KEY).json() == item


def test_captured_charge_says_how_much(client: Client) -> None:
    taken = msgspec.structs.replace(charge(1), captured=True)
    (item,) = ask(provider([taken]))["data"]
    assert (item["captured"], item["amount"], item["amount_captured"]) == (True, 3400, 3400)


def test_one_customer_has_one_card(client: Client) -> None:
    first, second, other = (
        client.get(f"/v1/charges/ch_{number}", headers=KEY).json()["payment_method_details"] for number in (1, 8, 2)
    )
    assert first == second != other


@pytest.mark.parametrize("limit", [1, 9, 50, 100])
def test_paging_to_the_end_gives_every_charge_once_newest_first(limit: int) -> None:
    count = 20 if limit == 1 else 250
    client = provider([charge(number) for number in range(count)])
    found = [number for page in walk(client, "starting_after", limit=limit) for number in page]
    assert found == list(range(count))[::-1]


def test_charges_of_one_second_are_paged_without_gap_or_repeat() -> None:
    client = provider([charge(number, created=START) for number in range(25)])
    assert [n for page in walk(client, "starting_after", limit=4) for n in page] == list(range(25))[::-1]


def test_ending_before_gives_the_page_just_before() -> None:
    client = provider([charge(number) for number in range(25)])
    assert numbers(ask(client, limit=3, ending_before="ch_10")) == [13, 12, 11]
    pages = list(walk(client, "ending_before", limit=3, ending_before="ch_10"))
    assert [number for page in reversed(pages) for number in page] == list(range(11, 25))[::-1]


def test_charges_that_come_in_between_two_pages_are_not_missed_below_nor_repeated() -> None:
    client = provider([charge(number) for number in range(10)])
    pages = walk(client, "starting_after", limit=5)
    seen = next(pages)
    client.load(Load(charges=[charge(100)]))
    assert seen + [number for page in pages for number in page] == list(range(10))[::-1]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"created[gte]": START + 240}, range(240, 250)),
        ({"created[gt]": START + 240}, range(241, 250)),
        ({"created[lt]": START + 5}, range(5)),
        ({"created[lte]": START + 5}, range(6)),
        ({"created[gte]": START + 100, "created[lt]": START + 110}, range(100, 110)),
        ({"created[gt]": START + 10, "created[gte]": START + 5, "created[lte]": START + 12}, range(11, 13)),
        ({"created": START + 7}, range(7, 8)),
        ({"created[gte]": START + 900}, range(0)),
        ({"created[gte]": START + 100, "starting_after": "ch_105"}, range(100, 105)),
    ],
)
def test_created_filters(client: Client, parameters: dict[str, Any], expected: range) -> None:
    found = [number for page in walk(client, "starting_after", limit=4, **parameters) for number in page]
    assert found == list(expected)[::-1]


def test_the_default_page_has_ten(client: Client) -> None:
    assert len(ask(client)["data"]) == 10


def test_the_end_of_the_list_is_exact() -> None:
    client = provider([charge(number) for number in range(10)])
    assert ask(client, limit=10)["has_more"] is False
    assert ask(client, limit=9)["has_more"] is True
    assert ask(client, starting_after="ch_0") == {"object": "list", "url": "/v1/charges", "has_more": False, "data": []}


@pytest.mark.parametrize(
    ("parameters", "param", "code", "message"),
    [
        ({"limit": 0}, "limit", None, "greater than or equal to 1 (it currently is '0')"),
        ({"limit": 101}, "limit", None, "less than or equal to 100 (it currently is '101')"),
        ({"limit": "ten"}, "limit", "parameter_invalid_integer", "Invalid integer: ten"),
        ({"limit": "9" * 40}, "limit", "parameter_invalid_integer", "Invalid integer: 999"),
        ({"created[gte]": "monday"}, "created[gte]", "parameter_invalid_integer", "Invalid integer: monday"),
        ({"starting_after": "ch_x"}, "starting_after", "resource_missing", "No such charge: 'ch_x'"),
        ({"ending_before": "ch_x"}, "ending_before", "resource_missing", "No such charge: 'ch_x'"),
        ({"colour": "red"}, "colour", "parameter_unknown", "Received unknown parameter: colour"),
    ],
)
def test_unusable_parameters_are_refused(
    client: Client, parameters: dict[str, Any], param: str, code: str | None, message: str
) -> None:
    response = client.get("/v1/charges", params=parameters, headers=KEY)
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert (error["param"], error.get("code")) == (param, code)
    assert message in error["message"]


def test_both_cursors_at_once_are_refused(client: Client) -> None:
    parameters = {"starting_after": "ch_1", "ending_before": "ch_2"}
    assert client.get("/v1/charges", params=parameters, headers=KEY).status_code == 400


def test_an_unknown_charge_is_not_found(client: Client) -> None:
    response = client.get("/v1/charges/ch_none", headers=KEY)
    assert response.status_code == 404
    assert response.json()["error"] == {
        "code": "resource_missing",
        "doc_url": "https://stripe.com/docs/error-codes/resource-missing",
        "message": "No such charge: 'ch_none'",
        "param": "id",
        "type": "invalid_request_error",
    }


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:".encode()).decode()


def test_the_key_may_come_as_basic_user(client: Client) -> None:
    assert client.get("/v1/charges", headers={"Authorization": basic("sk_test_12345678")}).status_code == 200


@pytest.mark.parametrize("path", ["/v1/charges", "/v1/charges/ch_1"])
@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "You did not provide an API key."),
        ("Bearer ", "You did not provide an API key."),
        ("Digest sk_test_12345678", "You did not provide an API key."),
        ("Basic not-base64!", "You did not provide an API key."),
        ("Bearer sk_test_wrong_9999", "Invalid API Key provided: ********9999"),
        (basic("sk_test_wrong_9999"), "Invalid API Key provided: ********9999"),
    ],
)
def test_without_the_key_nothing_is_answered(client: Client, path: str, header: str | None, message: str) -> None:
    response = client.get(path, headers={} if header is None else {"Authorization": header})
    assert (response.status_code, response.json()["error"]["type"]) == (401, "invalid_request_error")
    assert response.json()["error"]["message"].startswith(message)
