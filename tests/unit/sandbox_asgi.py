"""Talks to the sandbox without a socket: httpx over ASGI, from tests that are not asynchronous."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from sandbox.app import Settings, create_app
from sandbox.records import Load

SECRETS = (
    *("shop-token", "sk_test_12345678", "admin", "crm-secret", "whsec_1234"),
    *("asat_12345678", "erp-password", "ya29.12345678"),
)
"""Of shop, payments, feed, CRM, notices, carrier, ERP system and analytics."""


class Client:
    """A sandbox of its own, and requests to it."""

    def __init__(self, load: Load, clock: Callable[[], float] | None = None, **throttle: Any) -> None:
        self.app = create_app(Settings(*SECRETS, **throttle), clock)
        self.load(load)

    def load(self, load: Load) -> None:
        response = self.request(
            "POST",
            "/sandbox/records",
            content=msgspec.json.encode(load),
            headers={"Authorization": "Bearer admin"},
        )
        assert response.status_code == 200, response.text

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        return self.request("DELETE", path, **options)
