"""Access tokens of the CRM: given for the client's secret, good for a while, gone when they are revoked."""

import base64
import binascii
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from fastapi.responses import JSONResponse

from sandbox.crm.refused import Refused

CLIENT_ID = "countersign"
"""The consumer key of the one connected app."""

SESSION_SECONDS = 7200.0


class Sessions:
    """Who may ask: the holders of tokens that have not expired."""

    def __init__(self, secret: str, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """No token is given yet.

        Args:
            secret: the consumer secret.
            seconds: how long a token is good.
            clock: seconds, never going back.
        """
        self._secret = secret
        self._seconds = seconds
        self._clock = clock
        self._ends: dict[str, float] = {}

    def token(self, form: Mapping[str, str], authorization: str | None, instance_url: str) -> JSONResponse:
        """Answer a request for a token: the client's credentials are in the form, or in a Basic header."""
        if form.get("grant_type") != "client_credentials":
            return _error("unsupported_grant_type", "grant type not supported")
        client, secret = _basic(authorization) or (form.get("client_id", ""), form.get("client_secret", ""))
        if not secrets.compare_digest(client.encode(), CLIENT_ID.encode()):
            return _error("invalid_client_id", "client identifier invalid")
        if not secrets.compare_digest(secret.encode(), self._secret.encode()):
            return _error("invalid_client", "invalid client credentials")
        now = self._clock()
        self._ends = {token: end for token, end in self._ends.items() if end > now}
        token = f"00D!{secrets.token_urlsafe(32)}"
        self._ends[token] = now + self._seconds
        granted: dict[str, Any] = {
            "access_token": token,
            "instance_url": instance_url,
            "id": f"{instance_url}/id/00D000000000001AAA/005000000000001AAA",
            "token_type": "Bearer",
            "scope": "api",
            "issued_at": str(int(time.time() * 1000)),
        }
        return JSONResponse(granted)

    def check(self, authorization: str | None) -> None:
        """Let a request pass.

        Raises:
            Refused: no token, or one that is not good or not any more.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() not in ("bearer", "oauth") or self._ends.get(token, 0.0) <= self._clock():
            raise Refused(401, "INVALID_SESSION_ID", "Session expired or invalid")

    def revoke_all(self) -> None:
        """Let every token expire now."""
        self._ends.clear()


def _error(code: str, description: str) -> JSONResponse:
    return JSONResponse({"error": code, "error_description": description}, 400)


def _basic(authorization: str | None) -> tuple[str, str] | None:
    scheme, _, given = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client, _, secret = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return client, secret
