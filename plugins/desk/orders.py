"""One order's story as a web page, or as JSON for programs."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

type Teller = Callable[[str], Any]
"""Returns the story of an order (:class:`lake.story.tell.Story`); raises ``NoSuchOrder``."""


def from_lake(order_id: str) -> Any:
    """Tell an order's story from the lake that the environment names."""
    from lake.catalog import open_catalog
    from lake.settings import BadSetting
    from lake.story.tell import tell

    try:
        catalog = open_catalog()
    except BadSetting as error:
        raise HTTPException(503, f"The desk cannot reach the lake: {error}") from error
    try:
        return tell(catalog, order_id)
    finally:
        catalog.close()


def router(headers: dict[str, str], teller: Teller = from_lake) -> APIRouter:
    """Return the route ``/orders/<order id>``.

    Args:
        headers: of every answer.
        teller: where the story comes from.
    """
    made = APIRouter()

    # A plain function: it reads from S3 and runs in a thread. An id may have slashes.
    @made.get("/orders/{order_id:path}")
    def story(order_id: str, request: Request) -> Response:
        """Everything about one order: HTML for browsers, JSON for who does not ask for HTML."""
        import msgspec

        from lake.story.page import render
        from lake.story.tell import NoSuchOrder

        try:
            told = teller(order_id)
        except NoSuchOrder as error:
            raise HTTPException(404, str(error)) from error
        if "text/html" in request.headers.get("accept", ""):
            return Response(render(told), media_type="text/html; charset=utf-8", headers=headers)
        return Response(msgspec.json.encode(told), media_type="application/json", headers=headers)

    return made
