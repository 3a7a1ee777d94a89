"""Calls that change something elsewhere: like :mod:`lake.landing.http`, but the answer is handed back whole.

Whether a refusal is final depends on the error code of each system, and whether a failure may be tried again on the
idempotency key; so the ports decide, and this client tries again only what is safe: every call that goes through it
carries a key, or sets a field to a value.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
from tenacity import Retrying, before_sleep_log, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from tenacity.wait import wait_base

from lake.landing.http import BadCredentials, Endpoint, SourceUnavailable, retry_after
from lake.redaction import redacted

log = logging.getLogger(__name__)

ATTEMPTS = 4
"""So often one attempt of a task asks; the task itself is tried again later."""

TIMEOUT = httpx.Timeout(20.0, connect=5.0)
MAX_WAIT_S = 30.0
LONGEST = 600
"""Characters of a refusal that are kept."""
IN_USE = 409
"""The first request under this key is still at work (Stripe: ``idempotency_key_in_use``)."""


class Refused(Exception):
    """The other side refuses this step of this order for good; the message says in its words why.

    Those words go into the ledger and to people, so what they may hold of a customer is taken out.
    """

    def __init__(self, said: str) -> None:
        super().__init__(redacted(said)[:LONGEST])


class Spent(Exception):
    """The key keeps a failed answer for ever although nothing was done: the next call needs another key."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, and the body read as JSON (None if there is none)."""

    status: int
    body: Any

    @property
    def ok(self) -> bool:
        """Whether the other side did what it was asked."""
        return self.status < 300


class _Wait(wait_base):
    """As long as the server asks for, else longer and longer."""

    def __init__(self) -> None:
        self._backoff = wait_random_exponential(multiplier=0.2, max=MAX_WAIT_S)

    def __call__(self, retry_state: Any) -> float:
        error = retry_state.outcome.exception()
        asked = error.retry_after if isinstance(error, SourceUnavailable) else None
        return self._backoff(retry_state) if asked is None else min(asked, MAX_WAIT_S)


class WriteApi:
    """One system's API over kept-alive connections; threads may share it."""

    def __init__(
        self,
        endpoint: Endpoint,
        headers: Mapping[str, str],
        attempts: int = ATTEMPTS,
        *,
        auth: httpx.Auth | None = None,
        passing: Callable[[httpx.Response], bool] = lambda response: False,
    ) -> None:
        """Plan the connections; nothing is sent yet.

        Args:
            endpoint: where the system is.
            headers: of every request.
            attempts: how often a call is tried before there is no answer.
            auth: signs requests where a header does not do.
            passing: whether a 4xx answer means "not now".
        """
        self.endpoint = endpoint
        self._passing = passing
        self._client = httpx.Client(base_url=endpoint.base_url, headers=dict(headers), auth=auth, timeout=TIMEOUT)
        self._retrying = Retrying(
            retry=retry_if_exception_type(SourceUnavailable),
            stop=stop_after_attempt(attempts),
            wait=_Wait(),
            before_sleep=before_sleep_log(log, logging.WARNING),
            reraise=True,
        )

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def call(self, method: str, path: str, **request: Any) -> Answer:
        """Return the answer; 409, 429, 5xx, time-outs and broken connections are tried again.

        Raises:
            BadCredentials: 401 or 403: nobody's order is to blame.
            SourceUnavailable: still no answer after every attempt.
            Spent: a failure that is kept under the key of the request.
        """
        return self._retrying.copy()(self._once, method, path, **request)

    def _once(self, method: str, path: str, **request: Any) -> Answer:
        where = f"{method} {self.endpoint.base_url}{path} (Airflow connection {self.endpoint.connection})"
        try:
            response = self._client.request(method, path, **request)
        except httpx.TransportError as error:
            raise SourceUnavailable(f"{where}: {type(error).__name__}: {error}") from error
        status = response.status_code
        if status >= 500 and response.headers.get("Idempotent-Replayed") == "true":
            raise Spent(f"{where}: HTTP {status}, kept under its key")
        if status in (IN_USE, 429) or status >= 500 or (status >= 400 and self._passing(response)):
            raise SourceUnavailable(f"{where}: HTTP {status}", retry_after(response.headers.get("Retry-After")))
        if status in (401, 403):
            raise BadCredentials(
                f"{where}: HTTP {status}, the secret is not accepted or may not do this. Put a valid one into the "
                f"connection {self.endpoint.connection} (AIRFLOW_CONN_{self.endpoint.connection.upper()}) and clear "
                "the task"
            )
        try:
            return Answer(status, msgspec.json.decode(response.content) if response.content else None)
        except msgspec.DecodeError as error:
            raise SourceUnavailable(f"{where}: HTTP {status} and no JSON ({error})") from error
