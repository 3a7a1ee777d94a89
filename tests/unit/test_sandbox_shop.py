"""The sandbox's shop: pages to the end, searches, errors and throttling as in Shopify's GraphQL Admin API."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.app import NotSet, Settings, settings_from
from sandbox.orders_graphql import decimal_string
from sandbox.records import Load, Order
from tests.unit.sandbox_asgi import Client

PATH = "/admin/api/2026-07/graphql.json"
TOKEN = {"X-Shopify-Access-Token": "shop-token"}
PAGE = """
query Page($first: Int!, $after: String, $query: String, $reverse: Boolean, $sortKey: OrderSortKeys) {
  orders(first: $first, after: $after, query: $query, reverse: $reverse, sortKey: $sortKey) {
    edges { cursor node { ...Fields } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
fragment Fields on Order {
  id name sourceIdentifier createdAt updatedAt clientIp email displayFinancialStatus cancelledAt
  totalPriceSet { shopMoney { amount currencyCode } } customer { id email } customAttributes { key value }
}
"""
START = 1_425_168_000  # 2015-03-01T00:00:00Z


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def order(number: int, *, created: int | None = None, updated: int | None = None, amount: int = 3400) -> Order:
    moment = START + number * 60 if created is None else created
    return Order(
        order_id=f"{number}-1",
        customer_id=str(number),
        created=moment,
        updated=moment if updated is None else updated,
        amount=amount,
        currency="USD",
        email=f"c{number}@example.test",
        ip=None if number % 3 == 0 else "1.2.3.4",
    )


def shop(orders: list[Order], clock: Clock | None = None, **throttle: Any) -> Client:
    return Client(Load(orders=orders), clock, **throttle)


def ask(client: Client, document: str = PAGE, /, **variables: Any) -> dict[str, Any]:
    response = client.post(PATH, json={"query": document, "variables": variables}, headers=TOKEN)
    assert response.status_code == 200
    assert response.headers["X-Shopify-API-Version"] == "2026-07"
    return response.json()


def pages(client: Client, **variables: Any) -> Iterator[list[dict[str, Any]]]:
    after = None
    while True:
        connection = ask(client, after=after, **variables)["data"]["orders"]
        yield [edge["node"] for edge in connection["edges"]]
        if not connection["pageInfo"]["hasNextPage"]:
            return
        after = connection["pageInfo"]["endCursor"]
        assert after == connection["edges"][-1]["cursor"]


def ids(nodes: list[dict[str, Any]]) -> list[str]:
    return [node["sourceIdentifier"] for node in nodes]


@pytest.fixture(scope="module")
def client() -> Client:
    return shop([order(number, updated=START + (600 - number) * 60) for number in range(600)])


def test_an_order_in_shopifys_words(client: Client) -> None:
    node = ask(client, first=1)["data"]["orders"]["edges"][0]["node"]
    assert node == {
        "id": "gid://shopify/Order/5000000001",
        "name": "#1001",
        "sourceIdentifier": "0-1",
        "createdAt": "2015-03-01T00:00:00Z",
        "updatedAt": "2015-03-01T10:00:00Z",
        "clientIp": None,
        "email": "c0@example.test",
        "displayFinancialStatus": "AUTHORIZED",
        "cancelledAt": None,
        "totalPriceSet": {"shopMoney": {"amount": "34.0", "currencyCode": "USD"}},
        "customer": {"id": "gid://shopify/Customer/0", "email": "c0@example.test"},
        "customAttributes": [{"key": "order_id", "value": "0-1"}],
    }


@pytest.mark.parametrize("size", [1, 7, 100, 200, 250])
@pytest.mark.parametrize("sort_key", ["CREATED_AT", "UPDATED_AT", "PROCESSED_AT", "ID", "TOTAL_PRICE"])
def test_paging_to_the_end_gives_every_order_once(sort_key: str, size: int) -> None:
    small = shop([order(number, amount=number % 5) for number in range(30 if size < 7 else 600)])
    found = [node for page in pages(small, first=size, sortKey=sort_key) for node in page]
    assert len(found) == (30 if size < 7 else 600)
    assert len(set(ids(found))) == len(found)


def test_orders_of_one_instant_are_paged_without_gap_or_repeat() -> None:
    same = shop([order(number, created=START) for number in range(25)])
    for reverse in (False, True):
        found = [name for page in pages(same, first=4, reverse=reverse, sortKey="CREATED_AT") for name in ids(page)]
        expected = [f"{number}-1" for number in range(25)]
        assert found == (expected[::-1] if reverse else expected)


def test_sort_key_and_reverse(client: Client) -> None:
    first = ids([edge["node"] for edge in ask(client, first=2, sortKey="UPDATED_AT")["data"]["orders"]["edges"]])
    last = ids([edge["node"] for edge in ask(client, first=2, reverse=True)["data"]["orders"]["edges"]])
    assert (first, last) == (["599-1", "598-1"], ["599-1", "598-1"])


def test_orders_that_come_in_between_two_pages_shift_nothing() -> None:
    growing = shop([order(number) for number in range(10, 20)])
    walk = pages(growing, first=5, sortKey="CREATED_AT")
    seen = ids(next(walk))
    growing.load(Load(orders=[order(1), order(30)]))
    assert seen + [name for page in walk for name in ids(page)] == [f"{n}-1" for n in [*range(10, 20), 30]]


def test_last_and_before_walk_backwards(client: Client) -> None:
    query = "query($b: String) { orders(last: 2, before: $b) { nodes { sourceIdentifier } pageInfo { hasPreviousPage hasNextPage startCursor } } }"  # noqa: E501
    end = ask(client, query)["data"]["orders"]
    assert ids(end["nodes"]) == ["598-1", "599-1"]
    assert end["pageInfo"]["hasPreviousPage"]
    before = ask(client, query, b=end["pageInfo"]["startCursor"])["data"]["orders"]
    assert ids(before["nodes"]) == ["596-1", "597-1"]
    assert before["pageInfo"]["hasNextPage"]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("created_at:>='2015-03-01T09:00:00Z'", 60),
        ("created_at:>'2015-03-01T09:00:00Z'", 59),
        ("created_at:<'2015-03-01T00:10:00Z'", 10),
        ("created_at:<=2015-03-01T00:10:00Z", 11),
        ("created_at:>='2015-03-01T01:00:00+01:00' AND created_at:<'2015-03-01T00:10:00Z'", 10),
        ('created_at:>="2015-03-01T00:05:00Z" created_at:<"2015-03-01T00:10:00Z"', 5),
        ("updated_at:>='2015-03-01T09:50:00Z' AND created_at:<'2015-03-01T00:05:00Z'", 5),
        ("created_at:>='2015-03-02'", 0),
        ("created_at:'2015-03-01T00:05:00Z'", 1),
        ("created_at:>='2015-03-01T00:05:00.5Z' AND created_at:<'2015-03-01T00:06:00.5Z'", 1),
        ("source_identifier:17-1", 1),
        ("financial_status:authorized", 600),
        ("financial_status:paid", 0),
        ("", 600),
    ],
)
@pytest.mark.parametrize("sort_key", ["CREATED_AT", "UPDATED_AT"])
def test_searches(client: Client, query: str, count: int, sort_key: str) -> None:
    assert sum(len(page) for page in pages(client, first=250, query=query, sortKey=sort_key)) == count


def test_a_field_that_cannot_be_searched_is_left_out_with_a_warning(client: Client) -> None:
    response = ask(client, first=1, query="colour:red AND created_at:>=soon")
    assert response["extensions"]["search"] == [
        {
            "path": ["orders"],
            "query": "colour:red AND created_at:>=soon",
            "warnings": [
                {"field": "colour", "message": "Invalid search field for this query.", "code": "invalid_field"},
                {
                    "field": "created_at",
                    "message": "Input `soon` is not an accepted `date` format.",
                    "code": "invalid_value",
                },
            ],
        }
    ]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"first": 0}, "first must be between 1 and 250, it is 0"),
        ({"first": 251}, "first must be between 1 and 250, it is 251"),
        ({"first": 1, "after": "nonsense"}, "Invalid cursor 'nonsense'"),
        ({"first": 1, "query": "created_at:>='2015' OR id:1"}, "joins terms by AND only, not by OR"),
        ({"first": 1, "query": "just words"}, "cannot read the search query at 'just words'"),
    ],
)
def test_unusable_arguments_are_explained(client: Client, variables: dict[str, Any], message: str) -> None:
    response = ask(client, **variables)
    assert message in response["errors"][0]["message"]
    assert response["errors"][0]["path"] == ["orders"]


def test_a_cursor_is_good_for_its_sort_key_only(client: Client) -> None:
    cursor = ask(client, first=1, sortKey="CREATED_AT")["data"]["orders"]["pageInfo"]["endCursor"]
    response = ask(client, first=1, sortKey="UPDATED_AT", after=cursor)
    assert response["errors"][0]["message"] == "Invalid cursor for current pagination sort."


@pytest.mark.parametrize("query", ["{ orders { nodes { id } } }", "{ orders(first: 1, last: 1) { nodes { id } } }"])
def test_either_first_or_last_is_needed(client: Client, query: str) -> None:
    assert ask(client, query)["errors"][0]["message"] == "you must provide one of first or last"


def test_aliases_single_orders_and_introspection(client: Client) -> None:
    query = """{ old: orders(first: 1) { nodes { id } } new: orders(first: 1, reverse: true) { nodes { id } }
                 one: order(id: "gid://shopify/Order/5000000002") { name }
                 none: order(id: "gid://shopify/Order/1") { name } __schema { queryType { name } } }"""
    assert ask(client, query)["data"] == {
        "old": {"nodes": [{"id": "gid://shopify/Order/5000000001"}]},
        "new": {"nodes": [{"id": "gid://shopify/Order/5000000600"}]},
        "one": {"name": "#1002"},
        "none": None,
        "__schema": {"queryType": {"name": "QueryRoot"}},
    }


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("{ orders(first: 1) { nodes { colour } } }", "Cannot query field 'colour' on type 'Order'."),
        ("{ orders(first: 1", "Syntax Error"),
        ("query A { shop { name } } query B { shop { name } }", "several and no operationName"),
        ("query($first: Int!) { orders(first: $first) { nodes { id } } }", "Variable '$first'"),
        ('{ order(id: "17") { id } }', "Invalid global id '17'"),
    ],
)
def test_wrong_queries_are_answered_with_errors(client: Client, query: str, message: str) -> None:
    assert message in ask(client, query)["errors"][0]["message"]


@pytest.mark.parametrize("token", [None, "", "shop-tokem", "\xe9"])
def test_without_the_token_nothing_is_answered(client: Client, token: str | None) -> None:
    headers = {} if token is None else {"X-Shopify-Access-Token": token.encode()}
    response = client.post(PATH, json={"query": "{ shop { name } }"}, headers=headers)
    assert response.status_code == 401
    assert response.json() == {"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"query": 1}', b"\xff"])
def test_a_body_without_a_query_is_refused(client: Client, body: bytes) -> None:
    response = client.post(PATH, content=body, headers={**TOKEN, "Content-Type": "application/json"})
    assert response.status_code == 400
    assert response.json() == {"errors": {"query": "Required parameter missing or invalid"}}


@pytest.mark.parametrize(("version", "status"), [("2025-01", 200), ("unstable", 200), ("2026-13", 404), ("v1", 404)])
def test_versions(client: Client, version: str, status: int) -> None:
    path = f"/admin/api/{version}/graphql.json"
    assert client.post(path, json={"query": "{ shop { name } }"}, headers=TOKEN).status_code == status


def cost(response: dict[str, Any]) -> dict[str, Any]:
    return response["extensions"]["cost"]


def test_what_is_asked_for_is_charged_and_what_did_not_come_is_given_back() -> None:
    clock = Clock()
    small = shop([order(number) for number in range(3)], clock, bucket_points=1000, points_per_second=50)
    response = ask(
        small, "{ orders(first: 250) { nodes { id totalPriceSet { shopMoney { amount } } } } shop { name } }"
    )
    assert cost(response) == {
        "requestedQueryCost": 36,
        "actualQueryCost": 10,
        "throttleStatus": {"maximumAvailable": 1000.0, "currentlyAvailable": 990, "restoreRate": 50.0},
    }


def test_the_throttle_throttles_and_recovers() -> None:
    clock = Clock()
    busy = shop([order(number) for number in range(600)], clock, bucket_points=100, points_per_second=20)
    query = "{ orders(first: 250) { nodes { id totalPriceSet { shopMoney { amount } } } } }"
    spent = cost(ask(busy, query))["actualQueryCost"]
    assert spent == 35
    ask(busy, query)
    throttled = ask(busy, query)
    assert throttled["errors"][0]["message"] == "Throttled"
    assert throttled["errors"][0]["extensions"]["code"] == "THROTTLED"
    assert "data" not in throttled
    assert cost(throttled)["actualQueryCost"] is None
    assert cost(throttled)["throttleStatus"]["currentlyAvailable"] == 30
    clock.now += 5 / 20  # what is missing, at 20 points a second
    assert cost(ask(busy, query))["throttleStatus"]["currentlyAvailable"] == 0
    clock.now += 3600
    assert cost(ask(busy, "{ shop { name } }"))["throttleStatus"]["currentlyAvailable"] == 99


def test_a_client_that_waits_as_told_gets_everything_through_a_narrow_throttle() -> None:
    clock = Clock()
    narrow = shop([order(number) for number in range(1000)], clock, bucket_points=60, points_per_second=10)
    found: list[str] = []
    after, waits = None, 0
    while True:
        response = ask(narrow, first=100, after=after)
        if "errors" in response:
            assert response["errors"][0]["extensions"]["code"] == "THROTTLED"
            status = cost(response)["throttleStatus"]
            missing = cost(response)["requestedQueryCost"] - status["currentlyAvailable"]
            clock.now += missing / status["restoreRate"]
            waits += 1
            continue
        connection = response["data"]["orders"]
        found += ids([edge["node"] for edge in connection["edges"]])
        after = connection["pageInfo"]["endCursor"]
        if not connection["pageInfo"]["hasNextPage"]:
            break
    assert sorted(found) == sorted(f"{number}-1" for number in range(1000))
    assert waits >= 5


def test_a_query_that_costs_more_than_the_bucket_holds_is_refused_for_good() -> None:
    small = shop([], bucket_points=20, points_per_second=1)
    error = ask(small, first=250)["errors"][0]
    assert error["extensions"]["code"] == "MAX_COST_EXCEEDED"
    assert error["extensions"]["cost"] > error["extensions"]["maxCost"] == 20


@pytest.mark.parametrize(
    ("amount", "text"),
    [(3400, "34.0"), (3450, "34.5"), (3455, "34.55"), (5, "0.05"), (0, "0.0"), (10**12, "10000000000.0")],
)
def test_money_is_written_as_shopify_does(amount: int, text: str) -> None:
    assert decimal_string(amount) == text


"""Of systems that these tests do not feed."""


def test_secrets_have_no_defaults() -> None:
    names = (
        *("SHOP_TOKEN", "PAYMENTS_KEY", "ADMIN_TOKEN", "CRM_SECRET", "NOTICES_SECRET"),
        *("CARRIER_KEY", "ERP_PASSWORD", "ANALYTICS_TOKEN"),
    )
    complete = {f"SANDBOX_{name}": letter for name, letter in zip(names, "abcdefgh", strict=True)}
    assert settings_from(complete, bucket_points=5) == Settings(*"abcdefgh", 5)
    for name in complete:
        with pytest.raises(NotSet, match=f"{name} not set"):
            settings_from({**complete, name: ""})
    with pytest.raises(NotSet, match="must differ"):
        settings_from({**complete, "SANDBOX_ADMIN_TOKEN": "a"})


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer shop-token"}, {"Authorization": "admin"}])
def test_only_the_admin_token_feeds_and_empties(client: Client, headers: dict[str, str]) -> None:
    for method in ("POST", "DELETE"):
        assert client.request(method, "/sandbox/records", headers=headers).status_code == 401
    held = client.get("/health").json()
    assert {name: count for name, count in held.items() if count} == {"status": "ok", "orders": 600}


def test_an_unusable_load_is_explained_and_clearing_clears() -> None:
    client = shop([order(1)])
    admin = {"Authorization": "Bearer admin"}
    response = client.post("/sandbox/records", content=json.dumps({"orders": [{"order_id": 1}]}), headers=admin)
    assert response.status_code == 400
    assert "$.orders[0]" in response.text
    emptied = client.delete("/sandbox/records", headers=admin).json()
    assert [name for name, count in emptied.items() if count] == ["status"]
