"""The door by which the sandbox is fed and emptied: no part of any real system, so it has a token of its own."""

import secrets
from collections.abc import Awaitable, Callable

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Request

from sandbox.crm import Crm
from sandbox.notices import Notices
from sandbox.payments import Payments
from sandbox.records import Load, Order
from sandbox.shop import Shop

type Counts = dict[str, int | str]


def routes(shop: Shop, payments: Payments, crm: Crm, notices: Notices, token: str) -> APIRouter:
    """Health for everyone; loading and clearing for whoever has the token."""
    router = APIRouter()
    guarded = [Depends(_only_with(token))]

    def counts() -> Counts:
        return {"status": "ok", "orders": len(shop.orders), "charges": len(payments.charges)}

    @router.get("/health")
    async def health() -> Counts:
        return counts()

    @router.post("/sandbox/records", dependencies=guarded)
    async def load(request: Request) -> Counts:
        try:
            records = msgspec.json.decode(await request.body(), type=Load)
        except msgspec.DecodeError as error:
            raise HTTPException(400, f"the body is not a load of orders, charges and contacts: {error}") from error
        for order in records.orders:
            shop.orders.put(order.order_id, _still_cancelled(shop, order))
        for charge in records.charges:
            payments.charges.put(charge.charge_id, charge)
        for contact in records.contacts:
            crm.contacts.put(contact.customer_id, contact)
        return counts()

    @router.delete("/sandbox/records", dependencies=guarded)
    async def clear() -> Counts:
        shop.orders.clear()
        payments.clear()
        crm.clear()
        notices.clear()
        return counts()

    @router.get("/sandbox/notices", dependencies=guarded)
    async def notices_taken() -> list[dict[str, object]]:
        return [msgspec.json.decode(body) for body in notices.taken.values()]

    return router


def _still_cancelled(shop: Shop, order: Order) -> Order:
    """An order that is fed again; a cancellation since its first feeding holds."""
    before = shop.orders.get(shop.orders.number(order.order_id) or 0)
    if before is None or before.cancelled is None:
        return order
    kept = {name: getattr(before, name) for name in ("updated", "cancelled", "cancel_reason", "staff_note")}
    return msgspec.structs.replace(order, **kept)


def _only_with(token: str) -> Callable[[Request], Awaitable[None]]:
    async def check(request: Request) -> None:
        given = request.headers.get("Authorization", "").encode()
        if not secrets.compare_digest(given, f"Bearer {token}".encode()):
            raise HTTPException(401, "the Authorization header must be Bearer and the value of SANDBOX_ADMIN_TOKEN")

    return check
