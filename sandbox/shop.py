"""The shop's HTTP side, as Shopify's GraphQL Admin API: token, versions, errors, and throttling by cost."""

import secrets
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from graphql import (
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    execute_sync,
    get_operation_ast,
    get_variable_values,
    parse,
    validate,
)

from sandbox import orders_graphql
from sandbox.cost import Bucket, Meter
from sandbox.orders_graphql import Asked
from sandbox.records import Order
from sandbox.shop_refunds import Refunds
from sandbox.store import Numbered

MOST_POINTS_PER_QUERY = 1000
_LIMITS_PAGE = "https://shopify.dev/api/usage/rate-limits"


@dataclass(frozen=True, slots=True)
class Shop:
    """What the routes need.

    Attributes:
        orders: all orders.
        token: what ``X-Shopify-Access-Token`` must hold.
        bucket: points of the one app that uses the sandbox.
        schema: the GraphQL schema.
        refunds: what the shop has given back.
    """

    orders: Numbered[Order]
    token: str
    bucket: Bucket
    schema: GraphQLSchema
    refunds: Refunds


def routes(shop: Shop) -> APIRouter:
    """The shop's routes."""
    router = APIRouter()

    @router.post("/admin/api/{version}/graphql.json")
    async def graphql(version: str, request: Request) -> JSONResponse:
        given = request.headers.get("X-Shopify-Access-Token", "")
        if not secrets.compare_digest(given.encode(), shop.token.encode()):
            message = "[API] Invalid API key or access token (unrecognized login or wrong password)"
            return JSONResponse({"errors": message}, 401)
        if not is_version(version):
            return JSONResponse({"errors": "Not Found"}, 404)
        headers = {"X-Shopify-API-Version": version}
        body = await _body(request)
        if not isinstance(body, dict) or not isinstance(body.get("query"), str):
            return JSONResponse({"errors": {"query": "Required parameter missing or invalid"}}, 400, headers)
        variables = body.get("variables") or {}
        if not isinstance(variables, dict):
            return JSONResponse({"errors": {"variables": "must be an object"}}, 400, headers)
        return JSONResponse(answer(shop, body["query"], variables, body.get("operationName")), 200, headers)

    return router


def is_version(version: str) -> bool:
    """Whether this looks like a version of the API: ``unstable``, or a year and a month."""
    year, _, month = version.partition("-")
    known_month = len(month) == 2 and month.isdecimal() and 1 <= int(month) <= 12
    return version == "unstable" or (len(year) == 4 and year.isdecimal() and known_month)


async def _body(request: Request) -> Any:
    if request.headers.get("Content-Type", "").startswith("application/graphql"):
        return {"query": (await request.body()).decode(errors="replace")}
    try:
        return await request.json()
    except (JSONDecodeError, UnicodeDecodeError):
        return None


def answer(shop: Shop, query: str, variables: dict[str, Any], operation_name: str | None) -> dict[str, Any]:
    """Run a query if the bucket holds its cost, and return the response document."""
    try:
        document = parse(query)
    except GraphQLError as error:
        return {"errors": [error.formatted]}
    errors = validate(shop.schema, document)
    if errors:
        return {"errors": [error.formatted for error in errors]}
    operation = get_operation_ast(document, operation_name)
    if operation is None:
        return {"errors": [{"message": "No operation, or several and no operationName that names one of them"}]}
    coerced = get_variable_values(shop.schema, operation.variable_definitions or (), variables)
    if isinstance(coerced, list):
        return {"errors": [error.formatted for error in coerced]}
    return _metered(shop, Meter(shop.schema, document, coerced), operation, variables)


def _metered(shop: Shop, meter: Meter, operation: OperationDefinitionNode, variables: dict[str, Any]) -> dict[str, Any]:
    requested = meter.cost(operation)
    if requested > min(MOST_POINTS_PER_QUERY, shop.bucket.size):
        return {"errors": [_too_dear(requested, min(MOST_POINTS_PER_QUERY, shop.bucket.size))]}
    if not shop.bucket.take(requested):
        throttled = {"message": "Throttled", "extensions": {"code": "THROTTLED", "documentation": _LIMITS_PAGE}}
        return {"errors": [throttled], "extensions": {"cost": _cost(shop.bucket, requested, None)}}
    asked = Asked(shop.orders, shop.refunds)
    name = operation.name.value if operation.name else None
    result = execute_sync(
        shop.schema, meter.document, context_value=asked, variable_values=variables, operation_name=name
    )
    actual = meter.cost(operation, asked.returned)
    shop.bucket.give_back(requested - actual)
    response: dict[str, Any] = {"data": result.data}
    if result.errors:
        response["errors"] = [error.formatted for error in result.errors]
    response["extensions"] = {"cost": _cost(shop.bucket, requested, actual)}
    if asked.searches:
        response["extensions"]["search"] = asked.searches
    return response


def _too_dear(requested: int, most: int) -> dict[str, Any]:
    return {
        "message": f"Query cost is {requested}, which exceeds the single query max cost limit ({most}).",
        "extensions": {"code": "MAX_COST_EXCEEDED", "cost": requested, "maxCost": most, "documentation": _LIMITS_PAGE},
    }


def _cost(bucket: Bucket, requested: int, actual: int | None) -> dict[str, Any]:
    return {
        "requestedQueryCost": requested,
        "actualQueryCost": actual,
        "throttleStatus": {
            "maximumAvailable": float(bucket.size),
            "currentlyAvailable": bucket.available,
            "restoreRate": float(bucket.per_second),
        },
    }


def new(token: str, bucket: Bucket) -> Shop:
    """An empty shop."""
    orders: Numbered[Order] = Numbered(orders_graphql.FIRST_NUMBER)
    return Shop(orders, token, bucket, orders_graphql.schema(), Refunds(orders))
