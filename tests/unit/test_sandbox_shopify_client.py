"""Shopify's dialect tried by the official Python client, ShopifyAPI, unchanged: orders, refunds and cancellations."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError

import pytest
import shopify

from sandbox.records import Load, ShopRefund
from tests.unit.sandbox_asgi import SECRETS
from tests.unit.sandbox_server import Server, serving
from tests.unit.test_sandbox_shop import order

PAGE = """query Orders($first: Int!, $after: String) {
  orders(first: $first, after: $after, sortKey: UPDATED_AT) {
    nodes { id sourceIdentifier displayFinancialStatus totalRefundedSet { shopMoney { amount } } }
    pageInfo { hasNextPage endCursor }
  }
}"""
REFUND = """mutation Refund($input: RefundInput!) {
  refundCreate(input: $input) {
    refund { id note createdAt totalRefundedSet { shopMoney { amount currencyCode } } order { sourceIdentifier } }
    order { displayFinancialStatus refunds { id } }
    userErrors { field message }
  }
}"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[shopify.GraphQL]:
    """The client with a session at the sandbox: it builds its address from the shop's name, a domain and a port."""
    server.clear()
    server.load(Load(orders=[order(number) for number in range(1, 6)]))
    shopify.Session.setup(protocol="http", myshopify_domain="0.0.1", port=int(server.url.rpartition(":")[2]))
    session = shopify.Session("127", "2026-07", SECRETS[0])
    shopify.ShopifyResource.activate_session(session)
    yield shopify.GraphQL()
    shopify.ShopifyResource.clear_session()
    shopify.Session.setup(protocol="https", myshopify_domain="myshopify.com", port=None)


def ask(client: shopify.GraphQL, query: str, **variables: Any) -> Any:
    answer = json.loads(client.execute(query, variables))
    assert "errors" not in answer, answer
    return answer["data"]


def refund(client: shopify.GraphQL, gid: str, amount: str) -> Any:
    money = {"amount": amount, "gateway": "stripe", "kind": "REFUND", "orderId": gid}
    return ask(client, REFUND, input={"orderId": gid, "note": "returned", "transactions": [money]})["refundCreate"]


def gid_of(client: shopify.GraphQL, order_id: str) -> str:
    query = f'{{ orders(first: 1, query: "source_identifier:{order_id}") {{ nodes {{ id }} }} }}'
    return str(ask(client, query)["orders"]["nodes"][0]["id"])


def test_orders_are_paged_to_the_end(client: shopify.GraphQL) -> None:
    after, found = None, []
    while True:
        page = ask(client, PAGE, first=2, after=after)["orders"]
        found += [node["sourceIdentifier"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert found == [f"{number}-1" for number in range(1, 6)]


def test_answers_say_what_they_cost(client: shopify.GraphQL) -> None:
    cost = json.loads(client.execute(PAGE, {"first": 2}))["extensions"]["cost"]
    assert cost["requestedQueryCost"] >= cost["actualQueryCost"] > 0
    assert cost["throttleStatus"].keys() == {"maximumAvailable", "currentlyAvailable", "restoreRate"}


def test_a_wrong_token_is_refused(client: shopify.GraphQL, capsys: pytest.CaptureFixture[str]) -> None:
    client.headers = client.headers | {"X-Shopify-Access-Token": "wrong"}
    with pytest.raises(HTTPError, match="401"):
        client.execute("{ shop { name } }")
    assert "Invalid API key or access token" in capsys.readouterr().out


def test_refunds_are_booked_add_up_and_change_the_order(client: shopify.GraphQL) -> None:
    gid = gid_of(client, "2-1")
    whole = ask(client, "query Q($id: ID!) { order(id: $id) { totalPriceSet { shopMoney { amount } } } }", id=gid)
    amount = float(whole["order"]["totalPriceSet"]["shopMoney"]["amount"])
    first = refund(client, gid, "10.50")
    assert first["userErrors"] == []
    assert first["refund"]["totalRefundedSet"]["shopMoney"] == {"amount": "10.5", "currencyCode": "USD"}
    assert (first["refund"]["note"], first["refund"]["order"]["sourceIdentifier"]) == ("returned", "2-1")
    assert first["order"]["displayFinancialStatus"] == "PARTIALLY_REFUNDED"
    too_much = refund(client, gid, f"{amount:.2f}")
    assert (too_much["refund"], too_much["userErrors"][0]["field"]) == (None, ["transactions", "0", "amount"])
    rest = refund(client, gid, f"{amount - 10.5:.2f}")
    assert (rest["order"]["displayFinancialStatus"], len(rest["order"]["refunds"])) == ("REFUNDED", 2)
    seen = ask(client, "query R($id: ID!) { refund(id: $id) { id order { id } } }", id=rest["refund"]["id"])["refund"]
    assert seen == {"id": rest["refund"]["id"], "order": {"id": gid}}


@pytest.mark.parametrize("amount", ["0", "-1", "0.001", "a lot"])
def test_amounts_that_are_no_money_are_refused(client: shopify.GraphQL, amount: str) -> None:
    answer = refund(client, gid_of(client, "2-1"), amount)
    assert answer["refund"] is None
    assert answer["userErrors"][0]["message"] == "Refund amount must be positive"


def test_refunded_orders_are_found_by_their_status_and_come_last(client: shopify.GraphQL, server: Server) -> None:
    later = order(5).updated + 60
    server.load(
        Load(
            shop_refunds=[
                ShopRefund(refund_id="a", order_id="1-1", created=later, amount=order(1).amount),
                ShopRefund(refund_id="b", order_id="3-1", created=later - 1, amount=1),
            ]
        )
    )
    search = "financial_status:refunded,partially_refunded"
    query = f'{{ orders(first: 9, query: "{search}", sortKey: UPDATED_AT) {{ nodes {{ sourceIdentifier }} }} }}'
    assert [node["sourceIdentifier"] for node in ask(client, query)["orders"]["nodes"]] == ["3-1", "1-1"]
    assert [node["sourceIdentifier"] for node in ask(client, PAGE, first=9)["orders"]["nodes"]][-2:] == ["3-1", "1-1"]
    one = query.replace(search, "financial_status:refunded")
    assert [node["sourceIdentifier"] for node in ask(client, one)["orders"]["nodes"]] == ["1-1"]
    both = query.replace(search, f"{search} AND financial_status:authorized")
    assert ask(client, both)["orders"]["nodes"] == []


def test_refund_of_no_order_and_refund_that_is_not_there(client: shopify.GraphQL) -> None:
    nobody = refund(client, "gid://shopify/Order/1", "1")
    assert nobody["userErrors"] == [{"field": ["orderId"], "message": "Order does not exist"}]
    assert ask(client, '{ refund(id: "gid://shopify/Refund/1") { id } }') == {"refund": None}
