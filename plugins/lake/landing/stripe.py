"""Charges of a provider that speaks Stripe's API: ``GET /v1/charges``, newest first, paged by ``starting_after``."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from lake.landing.flows import Flow
from lake.landing.http import Api, Endpoint, SourceRefused
from lake.landing.money import MOST

API_LIMIT = 100
"""The API gives no more per page."""


class Charge(msgspec.Struct):
    """The part of a charge that lands. ``amount`` is in minor units already."""

    id: str
    amount: Annotated[int, msgspec.Meta(ge=-MOST, le=MOST)]
    currency: str
    created: int
    captured: bool
    status: str
    metadata: dict[str, str | None] = {}


def pages(flow: Flow, endpoint: Endpoint, since: datetime | None) -> Iterator[list[dict[str, Any]]]:
    """Yield the provider's charges page by page, newest first.

    Raises:
        BadCredentials, SourceRefused, SourceUnavailable: see :mod:`lake.landing.http`.
    """
    query: dict[str, str | int] = {"limit": min(flow.page_size, API_LIMIT)}
    if since is not None:
        query["created[gte]"] = int(since.timestamp())
    with Api(endpoint, {"Authorization": f"Bearer {endpoint.secret}"}) as api:
        while True:
            page = api.call("GET", flow.endpoint, params=query)
            charges = page.get("data")
            if not isinstance(charges, list):
                raise SourceRefused(f"{flow.table}: the provider's answer has no list `data`")
            yield [_needed(charge) for charge in charges]
            if not page.get("has_more"):
                return
            if not charges:
                raise SourceRefused(f"{flow.table}: the provider says has_more and gives an empty page")
            query["starting_after"] = charges[-1]["id"]


def _needed(charge: dict[str, Any]) -> dict[str, Any]:
    """The fields that land and nothing else: a charge also holds names, addresses and the digits of a card."""
    needed = {name: charge[name] for name in Charge.__struct_fields__ if name in charge}
    metadata = charge.get("metadata")
    needed["metadata"] = {"order_id": metadata.get("order_id")} if isinstance(metadata, dict) else {}
    return needed


def row(node: dict[str, Any]) -> dict[str, Any]:
    """Return the row of ``payments.charges`` for one charge.

    Raises:
        ValueError: a field is missing, of the wrong type or out of range; the message names it.
    """
    charge = msgspec.convert(node, Charge)
    try:
        created = datetime.fromtimestamp(charge.created, UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(f"created {charge.created} is no time") from error
    return {
        "charge_id": charge.id,
        "order_id": charge.metadata.get("order_id"),
        "amount": charge.amount,
        "currency": charge.currency.upper(),
        "created_at": created,
        "captured": charge.captured,
        "status": charge.status,
    }
