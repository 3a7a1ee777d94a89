"""The door by which the sandbox is fed and emptied: no part of any real system, so it has a token of its own."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Request

from sandbox import disputes
from sandbox.analytics.api import Analytics
from sandbox.carrier.api import Carrier
from sandbox.crm.api import Crm
from sandbox.erp.api import Erp
from sandbox.injection import Faults, Rules
from sandbox.notices import Notices
from sandbox.payments import Payments
from sandbox.records import Load, Order
from sandbox.shop import Shop
from sandbox.store import Numbered

type Counts = dict[str, int | str]

KEYS = {
    "orders": "order_id",
    "charges": "charge_id",
    "refunds": "refund_id",
    "disputes": "dispute_id",
    "accounts": "customer_id",
    "contacts": "customer_id",
    "shipments": "shipment_id",
    "sales_orders": "number",
    "visits": "key",
}
"""What is loaded, and by which field a record replaces its earlier version."""


@dataclass(frozen=True, slots=True)
class Systems:
    """Everything that is fed."""

    shop: Shop
    payments: Payments
    crm: Crm
    notices: Notices
    carrier: Carrier
    erp: Erp
    analytics: Analytics


def routes(systems: Systems, token: str) -> APIRouter:
    """Health for everyone; loading and clearing for whoever has the token."""
    shop, payments, crm, notices = systems.shop, systems.payments, systems.crm, systems.notices
    router = APIRouter()
    guarded = [Depends(_only_with(token))]

    stores: dict[str, Numbered[Any]] = {
        "orders": shop.orders,
        "charges": payments.charges,
        "refunds": payments.refunds,
        "disputes": payments.disputes,
        "accounts": crm.accounts,
        "contacts": crm.contacts,
        "shipments": systems.carrier.shipments,
        "sales_orders": systems.erp.orders,
        "visits": systems.analytics.visits,
    }

    def counts() -> Counts:
        held = {name: len(records) for name, records in stores.items()}
        return {"status": "ok"} | held | {"shop_refunds": len(shop.refunds.booked)}

    @router.get("/health")
    async def health() -> Counts:
        return counts()

    @router.post("/sandbox/records", dependencies=guarded)
    async def load(request: Request) -> Counts:
        try:
            records = msgspec.json.decode(await request.body(), type=Load)
        except msgspec.DecodeError as error:
            raise HTTPException(400, f"the body is not a load of records: {error}") from error
        opened = [one for one in records.disputes if payments.disputes.number(one.dispute_id) is None]
        _put(records, stores, shop)
        for dispute in opened:
            payments.webhooks.happened("charge.dispute.created", disputes.as_object(payments, dispute))
        return counts()

    @router.delete("/sandbox/records", dependencies=guarded)
    async def clear() -> Counts:
        for store in stores.values():
            store.clear()
        shop.refunds.clear()
        crm.locators.clear()
        payments.clear()
        notices.clear()
        return counts()

    @router.get("/sandbox/notices", dependencies=guarded)
    async def notices_taken() -> list[dict[str, object]]:
        return [msgspec.json.decode(body) for body in notices.taken.values()]

    return router


def _put(records: Load, stores: Mapping[str, Numbered[Any]], shop: Shop) -> None:
    for name, key in KEYS.items():
        for record in getattr(records, name):
            stores[name].put(getattr(record, key), _as_it_is(shop, record))
    for refund in records.shop_refunds:
        shop.refunds.book(refund)


def _as_it_is(shop: Shop, order: object) -> object:
    """A record as it is to be kept: cancellation and refunds of an order hold, though the order is fed again."""
    if not isinstance(order, Order):
        return order
    before = shop.orders.get(shop.orders.number(order.order_id) or 0)
    if before is not None and before.cancelled is not None:
        kept = {name: getattr(before, name) for name in ("updated", "cancelled", "cancel_reason", "staff_note")}
        order = msgspec.structs.replace(order, **kept)
    return shop.refunds.seen_by(order)


def fault_routes(faults: Faults, token: str) -> APIRouter:
    """See and set how many requests fail, for whoever has the token."""
    router = APIRouter(dependencies=[Depends(_only_with(token))])

    @router.get("/sandbox/faults")
    async def injected() -> dict[str, object]:
        return {"rules": msgspec.to_builtins(faults.rules), "happened": dict(faults.happened)}

    @router.put("/sandbox/faults")
    async def inject(request: Request) -> dict[str, object]:
        try:
            faults.set(msgspec.json.decode(await request.body(), type=Rules))
        except msgspec.DecodeError as error:
            raise HTTPException(400, f"the body is not a set of rules for faults: {error}") from error
        return await injected()

    @router.delete("/sandbox/faults")
    async def mend() -> dict[str, object]:
        faults.set(Rules(share=0.0))
        return await injected()

    return router


def _only_with(token: str) -> Callable[[Request], Awaitable[None]]:
    async def check(request: Request) -> None:
        given = request.headers.get("Authorization", "").encode()
        if not secrets.compare_digest(given, f"Bearer {token}".encode()):
            raise HTTPException(401, "the Authorization header must be Bearer and the value of SANDBOX_ADMIN_TOKEN")

    return check
