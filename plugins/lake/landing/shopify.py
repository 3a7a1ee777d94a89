"""Orders of a shop that speaks Shopify's GraphQL Admin API, version 2026-07.

Paging: ``orders(first, after, query)`` with ``pageInfo``. Throttling: a bucket of query cost that refills with
``restoreRate`` points a second; every answer says in ``extensions.cost.throttleStatus`` what is left, and an error
``THROTTLED`` that it was not enough. Waiting before the bucket is empty is cheaper than being turned away.
"""

import logging
from collections.abc import Iterator
from datetime import datetime
from time import sleep
from typing import Annotated, Any

import msgspec

from lake.landing.flows import Flow
from lake.landing.http import Api, BadCredentials, Endpoint, SourceRefused, SourceUnavailable
from lake.landing.money import minor_units

log = logging.getLogger(__name__)

QUERY = """
query Orders($first: Int!, $after: String, $query: String) {
  orders(first: $first, after: $after, query: $query, sortKey: UPDATED_AT) {
    nodes {
      id sourceIdentifier createdAt updatedAt email clientIp displayFinancialStatus
      totalPriceSet { shopMoney { amount currencyCode } }
      customer { id }
    }
    pageInfo { hasNextPage endCursor }
  }
}
"""
THROTTLED_ATTEMPTS = 20
MIN_WAIT_S = 0.1


Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class ShopMoney(msgspec.Struct, rename="camel"):
    amount: str
    currency_code: str


class MoneyBag(msgspec.Struct, rename="camel"):
    shop_money: ShopMoney


class Customer(msgspec.Struct):
    id: str


class Order(msgspec.Struct, rename="camel"):
    """The part of an order that lands."""

    created_at: Moment
    updated_at: Moment
    total_price_set: MoneyBag
    source_identifier: str | None = None
    customer: Customer | None = None
    email: str | None = None
    client_ip: str | None = None
    display_financial_status: str | None = None


def pages(flow: Flow, endpoint: Endpoint, since: datetime | None) -> Iterator[list[dict[str, Any]]]:
    """Yield the shop's orders page by page, oldest change first.

    Raises:
        BadCredentials, SourceRefused, SourceUnavailable: see :mod:`lake.landing.http`.
    """
    variables: dict[str, Any] = {"first": flow.page_size, "after": None, "query": None}
    if since is not None:
        variables["query"] = f"updated_at:>='{since.strftime('%Y-%m-%dT%H:%M:%SZ')}'"
    with Api(endpoint, {"X-Shopify-Access-Token": endpoint.secret}) as api:
        while True:
            orders = _ask(api, flow, variables)
            yield orders["nodes"]
            if not orders["pageInfo"]["hasNextPage"]:
                return
            variables["after"] = orders["pageInfo"]["endCursor"]


def _ask(api: Api, flow: Flow, variables: dict[str, Any]) -> dict[str, Any]:
    for _ in range(THROTTLED_ATTEMPTS):
        answer = api.call("POST", flow.endpoint, json={"query": QUERY, "variables": variables})
        cost = (answer.get("extensions") or {}).get("cost") or {}
        errors = answer.get("errors") or []
        if not errors:
            if variables["after"] is not None or answer["data"]["orders"]["pageInfo"]["hasNextPage"]:
                sleep(refill_wait(cost))
            return answer["data"]["orders"]
        _refuse(flow, errors)
        wait = max(refill_wait(cost), MIN_WAIT_S)
        log.info("%s: the shop throttles, waiting %.1f s", flow.table, wait)
        sleep(wait)
    raise SourceUnavailable(f"{flow.table}: the shop throttled {THROTTLED_ATTEMPTS} times in a row")


def _refuse(flow: Flow, errors: list[dict[str, Any]] | str) -> None:
    """Pass over THROTTLED; raise for everything else."""
    listed = errors if isinstance(errors, list) else [{"message": str(errors)}]
    codes = {(error.get("extensions") or {}).get("code") for error in listed}
    if codes == {"THROTTLED"}:
        return
    said = "; ".join(str(error.get("message")) for error in listed)[:300]
    if "ACCESS_DENIED" in codes:
        raise BadCredentials(
            f"{flow.table}: the shop denies access: {said}. The token of the Airflow connection {flow.connection} "
            f"needs the "
            "scope read_orders (and read_all_orders for orders older than 60 days)"
        )
    if "MAX_COST_EXCEEDED" in codes:
        raise SourceRefused(
            f"{flow.table}: one page costs more than the shop allows: {said}. Lower page_size in the flow"
        )
    raise SourceRefused(f"{flow.table}: the shop refuses the query: {said}")


def refill_wait(cost: dict[str, Any]) -> float:
    """Return the seconds until the bucket holds enough for one more query like this, 0 if it does already."""
    status = cost.get("throttleStatus") or {}
    rate = float(status.get("restoreRate") or 0)
    missing = float(cost.get("requestedQueryCost") or 0) - float(status.get("currentlyAvailable") or 0)
    return max(0.0, missing / rate) if rate > 0 else 0.0


def row(node: dict[str, Any]) -> dict[str, Any]:
    """Return the row of ``shop.orders`` for one order, whose personal data is masked already.

    Raises:
        ValueError: a field is missing or of the wrong type (msgspec names it), or the amount is no amount.
    """
    order = msgspec.convert(node, Order)
    money = order.total_price_set.shop_money
    return {
        "order_id": order.source_identifier,
        "customer_id": order.customer.id.rpartition("/")[2] if order.customer else None,
        "created_at": order.created_at,
        "amount": minor_units(money.amount, money.currency_code),
        "currency": money.currency_code,
        "email_token": order.email,
        "ip_token": order.client_ip,
        "financial_status": order.display_financial_status,
        "updated_at": order.updated_at,
    }
