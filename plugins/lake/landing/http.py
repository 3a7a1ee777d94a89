"""One HTTP client for every source: time-outs, retries that obey the server, and errors that name the connection."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic, sleep
from typing import Any

import httpx
import msgspec
from tenacity import (
    RetryCallState,
    Retrying,
    before_sleep_log,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from lake.errors import Hopeless
from lake.redaction import redacted

log = logging.getLogger(__name__)

ATTEMPTS = 8
MAX_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a source is and the secret that opens it, under the id of the Airflow connection that said so.

    ``login`` is the name that goes with the secret, where the source wants one (the client id of OAuth 2).
    """

    connection: str
    base_url: str
    secret: str = field(repr=False)
    login: str = ""


class BadCredentials(Hopeless):
    """The source refuses the secret. Trying again cannot help."""


class SourceRefused(Hopeless):
    """The source says that the request itself is wrong. Trying again cannot help.

    Attributes:
        status: of the HTTP answer; None if the answer was no error and still unusable.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class SourceUnavailable(RuntimeError):
    """The source did not answer, or asked to wait, until patience ended."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Api:
    """A source's API over one kept-alive connection."""

    def __init__(
        self,
        endpoint: Endpoint,
        headers: dict[str, str],
        attempts: int = ATTEMPTS,
        *,
        auth: httpx.Auth | None = None,
        requests_per_second: float | None = None,
        passing: Callable[[httpx.Response], bool] = lambda response: False,
    ) -> None:
        """Plan the connection; nothing is sent yet.

        Args:
            endpoint: where the source is.
            headers: of every request.
            attempts: how often a request is tried before the source counts as unavailable.
            auth: signs requests where a header does not do.
            requests_per_second: no more than this many; None does not limit.
            passing: whether a 4xx answer means "not now" and is worth another try.
        """
        self._endpoint = endpoint
        self._passing = passing
        self._pause_s = 1 / requests_per_second if requests_per_second else 0.0
        self._next = monotonic()
        self._client = httpx.Client(
            base_url=endpoint.base_url,
            headers=headers,
            auth=auth,
            timeout=httpx.Timeout(30.0, connect=5.0),
            follow_redirects=False,
        )
        self._retrying = Retrying(
            retry=retry_if_exception_type(SourceUnavailable),
            stop=stop_after_attempt(attempts),
            wait=_wait,
            before_sleep=before_sleep_log(log, logging.WARNING),
            reraise=True,
        )

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()

    def call(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """Return the JSON object that the source answers, empty for 204 (no content).

        429, 5xx, time-outs, broken connections and what ``passing`` says are tried again.

        Raises:
            BadCredentials: 401 or 403.
            SourceRefused: any other 4xx, a redirect, or an answer that is no JSON object.
            SourceUnavailable: still no answer after every attempt.
        """
        return self._retrying(self._once, method, path, **request)

    def text(self, path: str, **request: Any) -> str:
        """Return what the source answers to GET where that is no JSON; tried again and refused as with ``call``.

        Raises:
            BadCredentials, SourceRefused, SourceUnavailable: as ``call``.
        """
        return self._retrying(self._answer, "GET", path, **request).text

    def _once(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        response = self._answer(method, path, **request)
        if response.status_code == httpx.codes.NO_CONTENT:
            return {}
        try:
            return msgspec.json.decode(response.content, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise SourceRefused(f"{self._where(method, path)}: the answer is no JSON object ({error})") from error

    def _where(self, method: str, path: str) -> str:
        return f"{method} {self._endpoint.base_url}{path} (Airflow connection {self._endpoint.connection})"

    def _answer(self, method: str, path: str, **request: Any) -> httpx.Response:
        where = self._where(method, path)
        self._pace()
        try:
            response = self._client.request(method, path, **request)
        except httpx.TransportError as error:
            raise SourceUnavailable(f"{where}: {type(error).__name__}: {error}") from error
        status = response.status_code
        if status == 429 or status >= 500 or (status >= 400 and self._passing(response)):
            raise unavailable(where, response)
        if status in (401, 403):
            raise not_accepted(where, self._endpoint, f"HTTP {status}")
        if status >= 300:
            raise SourceRefused(f"{where}: HTTP {status}: {self._quoted(response.text)}", status)
        return response

    def _quoted(self, text: str) -> str:
        """What the source says, which may be the request or a customer's record: cut only when all that is out."""
        return redacted(text, (self._endpoint.secret,))[:300]

    def _pace(self) -> None:
        """Wait until the next request may start."""
        if self._pause_s:
            sleep(max(0.0, self._next - monotonic()))
            self._next = monotonic() + self._pause_s


def not_accepted(where: str, endpoint: Endpoint, said: str) -> BadCredentials:
    """The error for a secret that a source refuses, with the remedy."""
    return BadCredentials(
        f"{where}: {said}, the secret is not accepted. Put a valid one into the password of the connection "
        f"{endpoint.connection} (AIRFLOW_CONN_{endpoint.connection.upper()}) and clear the task"
    )


def unavailable(where: str, response: httpx.Response) -> SourceUnavailable:
    """The error for an answer that means "not now"; it carries how long the source asks to wait."""
    return SourceUnavailable(f"{where}: HTTP {response.status_code}", retry_after(response.headers.get("Retry-After")))


def retry_after(header: str | None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for: a number or a date (RFC 9110, 10.2.3)."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


_backoff = wait_random_exponential(multiplier=0.25, max=MAX_WAIT_S)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after if isinstance(error, SourceUnavailable) else None
    return _backoff(state) if asked is None else min(asked, MAX_WAIT_S)
