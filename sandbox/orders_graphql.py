"""Answers Shopify's GraphQL queries over orders and their refunds: the schema, its resolvers, cursors and pages."""

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from graphql import GraphQLError, GraphQLObjectType, GraphQLResolveInfo, GraphQLSchema, build_schema

from sandbox import cancel, cost, search, shop_refunds
from sandbox.records import Order, ShopRefund
from sandbox.shop_refunds import Refunds
from sandbox.store import Numbered, Position, Value

MOST_PER_PAGE = 250
FIRST_NUMBER = 5_000_000_001
"""Numbers of orders look like Shopify's."""

_ORDER_GID = "gid://shopify/Order/"
_CUSTOMER_GID = "gid://shopify/Customer/"


def created(order: Order) -> Value:
    """Sort key."""
    return order.created


def updated(order: Order) -> Value:
    """Sort key."""
    return order.updated


def total(order: Order) -> Value:
    """Sort key."""
    return order.amount


def arrival(_: Order) -> Value:
    """Sort key: the number alone decides, and numbers are given in order of arrival."""
    return 0


SORT_KEYS = {
    "CREATED_AT": (created, "created_at"),
    "PROCESSED_AT": (created, "processed_at"),
    "UPDATED_AT": (updated, "updated_at"),
    "TOTAL_PRICE": (total, None),
    "ID": (arrival, None),
    "ORDER_NUMBER": (arrival, None),
}
"""Each sort key's function, and the search field that has the same values, so that its range needs no scan."""


@dataclass(slots=True)
class Asked:
    """What resolvers share during one query.

    Attributes:
        orders: the shop's.
        refunds: the shop's.
        returned: how many records each connection returned, by its response path.
        searches: what was understood of each search query that raised warnings.
    """

    orders: Numbered[Order]
    refunds: Refunds
    returned: dict[cost.Path, int] = field(default_factory=dict)
    searches: list[dict[str, Any]] = field(default_factory=list)


def schema() -> GraphQLSchema:
    """The shop's schema with its resolvers."""
    built = build_schema(Path(__file__).with_name("shop.graphql").read_text())
    query = built.query_type
    if not isinstance(query, GraphQLObjectType):
        raise TypeError("shop.graphql has no query type")
    query.fields["shop"].resolve = lambda *_: {"name": "Countersign sandbox", "currencyCode": "USD"}
    query.fields["order"].resolve = _order
    query.fields["orders"].resolve = _orders
    query.fields["refund"].resolve = _refund
    query.fields["job"].resolve = lambda _, info, id: cancel.job(info, id)
    mutation = built.mutation_type
    if not isinstance(mutation, GraphQLObjectType):
        raise TypeError("shop.graphql has no mutation type")
    mutation.fields["orderCancel"].resolve = _order_cancel
    mutation.fields["refundCreate"].resolve = _refund_create
    return built


def _refuse(message: str, code: str = "BAD_REQUEST") -> GraphQLError:
    return GraphQLError(message, extensions={"code": code})


def _order(_: object, info: GraphQLResolveInfo[Asked], id: str) -> dict[str, Any] | None:  # named by the schema
    number = _number(id)
    order = info.context.orders.get(number)
    return None if order is None else as_node(number, order, info.context.refunds)


def _refund(_: object, info: GraphQLResolveInfo[Asked], id: str) -> dict[str, Any] | None:  # named by the schema
    number = _number(id, shop_refunds.GID)
    refund = info.context.refunds.booked.get(number)
    return None if refund is None else refund_node(number, refund, info.context.refunds)


def _refund_create(_: object, info: GraphQLResolveInfo[Asked], input: dict[str, Any]) -> dict[str, Any]:
    orders, refunds = info.context.orders, info.context.refunds
    place = _number(input["orderId"])
    number, error = shop_refunds.refund_create(refunds, orders.get(place), input)
    refund, order = refunds.booked.get(number), orders.get(place)
    return {
        "refund": None if refund is None else refund_node(number, refund, refunds),
        "order": None if refund is None or order is None else as_node(place, order, refunds),
        "userErrors": [] if error is None else [error],
    }


def _order_cancel(_: object, info: GraphQLResolveInfo[Asked], **arguments: Any) -> dict[str, Any]:
    return cancel.order_cancel(info.context.orders, _number(arguments["orderId"]), arguments)


def _number(gid: str, prefix: str = _ORDER_GID) -> int:
    number = gid.removeprefix(prefix)
    if number == gid or not number.isdecimal():
        raise _refuse(f"Invalid global id '{gid}'", "argumentLiteralsIncompatible")
    return int(number)


def _orders(_: object, info: GraphQLResolveInfo[Asked], **arguments: Any) -> dict[str, Any]:
    asked = info.context
    size, backwards, cursor = _page_asked(arguments)
    sort_key: str = arguments["sortKey"]
    by, sorted_field = SORT_KEYS[sort_key]
    ranges = _ranges(asked, info, arguments.get("query"))
    bounds = ranges.pop(sorted_field, search.Range()) if sorted_field else search.Range()
    descending = bool(arguments["reverse"]) != backwards
    found = asked.orders.scan(
        by,
        descending=descending,
        low=bounds.low,
        high=bounds.high,
        after=None if cursor is None else _position(cursor, sort_key),
    )
    page = list(islice(_matching(found, ranges), size + 1))
    more = len(page) > size
    page = page[:size]
    if backwards:
        page.reverse()
    asked.returned[tuple(str(key) for key in info.path.as_list())] = len(page)
    nodes = [as_node(position[1], order, asked.refunds) for position, order in page]
    return _connection(page, nodes, sort_key, more=more, continued=cursor is not None, backwards=backwards)


def _page_asked(arguments: dict[str, Any]) -> tuple[int, bool, str | None]:
    given = [name for name in ("first", "last") if arguments.get(name) is not None]
    if len(given) != 1:
        raise _refuse("you must provide one of first or last")
    name, size = given[0], int(arguments[given[0]])
    if not 1 <= size <= MOST_PER_PAGE:
        raise _refuse(f"{name} must be between 1 and {MOST_PER_PAGE}, it is {size}")
    right, wrong = ("after", "before") if name == "first" else ("before", "after")
    if arguments.get(wrong) is not None:
        raise _refuse(f"{wrong} cannot be used with {name}")
    return size, name == "last", arguments.get(right)


def _ranges(asked: Asked, info: GraphQLResolveInfo[Asked], query: str | None) -> dict[str, search.Range]:
    try:
        found = search.parse(query or "")
    except search.BadSearch as error:
        raise _refuse(str(error)) from error
    if found.warnings:
        asked.searches.append({"path": info.path.as_list(), "query": query, "warnings": found.warnings})
    return found.ranges


def _matching(
    found: Iterable[tuple[Position, Order]], ranges: dict[str, search.Range]
) -> Iterable[tuple[Position, Order]]:
    if not ranges:
        return found
    tests = [(search.FIELDS[name], values) for name, values in ranges.items()]
    return ((position, order) for position, order in found if all(value(order) in values for value, values in tests))


def _connection(
    page: list[tuple[Position, Order]],
    nodes: list[dict[str, Any]],
    sort_key: str,
    *,
    more: bool,
    continued: bool,
    backwards: bool,
) -> dict[str, Any]:
    cursors = [_cursor(position, sort_key) for position, _ in page]
    return {
        "nodes": nodes,
        "edges": [{"cursor": cursor, "node": node} for cursor, node in zip(cursors, nodes, strict=True)],
        "pageInfo": {
            "hasNextPage": continued if backwards else more,
            "hasPreviousPage": more if backwards else continued,
            "startCursor": cursors[0] if cursors else None,
            "endCursor": cursors[-1] if cursors else None,
        },
    }


def _cursor(position: Position, sort_key: str) -> str:
    """Opaque to the reader; holds the position itself, so that it stays good when records come in."""
    return base64.urlsafe_b64encode(json.dumps([sort_key, *position]).encode()).decode()


def _position(cursor: str, sort_key: str) -> Position:
    try:
        key, value, number = json.loads(base64.urlsafe_b64decode(cursor))
    except (ValueError, TypeError, binascii.Error) as error:
        raise _refuse(f"Invalid cursor '{cursor}'") from error
    if key != sort_key or not isinstance(value, int) or not isinstance(number, int):
        raise _refuse("Invalid cursor for current pagination sort.")
    return value, number


def as_node(number: int, order: Order, refunds: Refunds) -> dict[str, Any]:
    """An order in Shopify's words."""
    created_at = _iso(order.created)
    cancelled = cancel.is_cancelled(order)
    return {
        "id": f"{_ORDER_GID}{number}",
        "legacyResourceId": str(number),
        "name": f"#{1000 + number - FIRST_NUMBER + 1}",
        "createdAt": created_at,
        "processedAt": created_at,
        "updatedAt": created_at if order.updated == order.created else _iso(order.updated),
        "cancelledAt": _iso(int(order.cancelled)) if cancelled and order.cancelled is not None else None,
        "cancelReason": order.cancel_reason if cancelled else None,
        "clientIp": order.ip,
        "email": order.email,
        "currencyCode": order.currency,
        "customer": {
            "id": f"{_CUSTOMER_GID}{order.customer_id}",
            "legacyResourceId": order.customer_id,
            "email": order.email,
        },
        "displayFinancialStatus": shop_refunds.financial_status(order),
        "displayFulfillmentStatus": "FULFILLED" if order.fulfilled else "UNFULFILLED",
        "sourceIdentifier": order.order_id,
        "customAttributes": [{"key": "order_id", "value": order.order_id}],
        "test": False,
        "refunds": lambda _, first=None: [
            refund_node(place, refund, refunds) for place, refund in refunds.of(order.order_id)[:first]
        ],
        "totalPriceSet": _money(order.amount, order.currency),
        "totalRefundedSet": _money(order.refunded, order.currency),
    }


def refund_node(number: int, refund: ShopRefund, refunds: Refunds) -> dict[str, Any]:
    """A refund in Shopify's words."""
    place = refunds.orders.number(refund.order_id) or 0
    order = refunds.orders.get(place)
    if order is None:
        raise _refuse(f"refund {refund.refund_id} is of order {refund.order_id}, which the shop does not know")
    moment = _iso(refund.created)
    return {
        "id": f"{shop_refunds.GID}{number}",
        "legacyResourceId": str(number),
        "createdAt": moment,
        "updatedAt": moment,
        "note": refund.note,
        "order": lambda *_: as_node(place, order, refunds),
        "totalRefundedSet": _money(refund.amount, order.currency),
    }


def _money(amount: int, currency: str) -> dict[str, Any]:
    money = {"amount": decimal_string(amount), "currencyCode": currency}
    return {"shopMoney": money, "presentmentMoney": money}


def decimal_string(amount: int) -> str:
    """Minor units as Shopify writes them: at least one decimal place and no further zeros (``34.0``, ``34.55``)."""
    text = str(Decimal(amount).scaleb(-2).quantize(Decimal("0.01")))
    return text[:-1] if text.endswith("0") else text


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
