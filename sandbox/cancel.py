"""The shop's ``orderCancel``, as Shopify's Admin API: a job cancels the order a moment later, and nothing revives it.

Public documentation: shopify.dev/docs/api/admin-graphql/latest/mutations/orderCancel, /payloads/OrderCancelPayload.
"""

import time
from typing import Any

import msgspec
from graphql import GraphQLResolveInfo

from sandbox.records import Order
from sandbox.store import Numbered

JOB_SECONDS = 0.2
LONGEST_NOTE = 255
_JOB_GID = "gid://shopify/Job/"


def is_cancelled(order: Order) -> bool:
    """Whether the job that cancels the order has run."""
    return order.cancelled is not None and order.cancelled <= time.time()


def order_cancel(orders: Numbered[Order], number: int, arguments: dict[str, Any]) -> dict[str, Any]:
    """Start the job that cancels an order, or say why not.

    Args:
        orders: the shop's.
        number: of the order.
        arguments: of the mutation.
    """
    order = orders.get(number)
    if order is None:
        return _refused("NOT_FOUND", ["orderId"], "The order could not be found.")
    if order.cancelled is not None:
        return _refused("INVALID", ["orderId"], "The order has already been canceled.")
    if order.fulfilled:
        return _refused("INVALID", ["orderId"], "The order has fulfillments that can't be canceled.")
    note = arguments.get("staffNote")
    if note is not None and len(note) > LONGEST_NOTE:
        return _refused("INVALID", ["staffNote"], f"Staff note is too long (maximum is {LONGEST_NOTE} characters)")
    moment = time.time() + JOB_SECONDS
    orders.put(
        order.order_id,
        msgspec.structs.replace(
            order, cancelled=moment, cancel_reason=arguments["reason"], staff_note=note, updated=int(moment)
        ),
    )
    job = {"id": f"{_JOB_GID}{number}", "done": False}
    return {"job": job, "orderCancelUserErrors": [], "userErrors": []}


def job(info: GraphQLResolveInfo[Any], id: str) -> dict[str, Any] | None:  # named by the schema
    """The state of a job by its gid."""
    number = id.removeprefix(_JOB_GID)
    order = info.context.orders.get(int(number)) if number != id and number.isdecimal() else None
    return None if order is None else {"id": id, "done": is_cancelled(order)}


def _refused(code: str, path: list[str], message: str) -> dict[str, Any]:
    return {
        "job": None,
        "orderCancelUserErrors": [{"code": code, "field": path, "message": message}],
        "userErrors": [{"field": path, "message": message}],
    }
