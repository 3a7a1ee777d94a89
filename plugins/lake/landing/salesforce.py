"""A CRM that speaks Salesforce's REST API: OAuth 2 client credentials, SOQL, pages behind ``nextRecordsUrl``.

The connection: host is the org's My Domain, login the consumer key of its connected app, password the consumer secret.
"""

import logging
from collections.abc import Generator, Iterator, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

import httpx
import msgspec

from lake.landing.connector import Connector, Entity, Field, Node, Reading
from lake.landing.http import Endpoint, SourceRefused, SourceUnavailable, not_accepted, unavailable
from lake.redaction import redacted

log = logging.getLogger(__name__)

TOKEN_PATH = "/services/oauth2/token"  # noqa: S105  # a path
EXPIRED = "INVALID_SESSION_ID"
PASSING = frozenset(
    {
        "REQUEST_LIMIT_EXCEEDED",  # too many requests today, or too many at once: HTTP 403
        "INVALID_QUERY_LOCATOR",  # the next page was forgotten: the task starts over
        "QUERY_TIMEOUT",
        "UNABLE_TO_LOCK_ROW",
    }
)

_TYPES = {
    **dict.fromkeys(
        ["id", "string", "email", "phone", "picklist", "reference", "textarea", "url", "date", "encryptedstring"],
        "text",
    ),
    "boolean": "boolean",
    "int": "integer",
    "datetime": "time",
}


class ClientCredentials(httpx.Auth):
    """Signs requests with an access token, and gets another when the source says that it has expired."""

    requires_response_body = True

    def __init__(self, endpoint: Endpoint) -> None:
        """No token is asked for before the first request."""
        self._endpoint = endpoint
        self._token = ""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send the request, a second time if the first token had expired.

        Raises:
            BadCredentials: the source gives no token for this secret.
            SourceUnavailable: it cannot give one now, or does not know the one that it has just given.
        """
        fresh = not self._token
        if fresh:
            self._token = self._read((yield self._wanted()))
        response = yield self._signed(request)
        if _is_expired(response) and not fresh:
            log.info("%s: the access token has expired, asking for another", self._endpoint.connection)
            self._token = self._read((yield self._wanted()))
            response = yield self._signed(request)
        if _is_expired(response):
            self._token = ""
            raise SourceUnavailable(f"{request.url} (Airflow connection {self._endpoint.connection}): {EXPIRED}")

    def _signed(self, request: httpx.Request) -> httpx.Request:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _wanted(self) -> httpx.Request:
        credentials = {"client_id": self._endpoint.login, "client_secret": self._endpoint.secret}
        form = {"grant_type": "client_credentials"} | credentials
        return httpx.Request("POST", f"{self._endpoint.base_url}{TOKEN_PATH}", data=form)

    def _read(self, response: httpx.Response) -> str:
        where = f"POST {response.request.url} (Airflow connection {self._endpoint.connection})"
        if response.status_code == 429 or response.status_code >= 500:
            raise unavailable(where, response)
        try:
            answer = msgspec.json.decode(response.content, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise SourceRefused(f"{where}: the answer is no JSON object ({error})") from error
        if response.status_code != httpx.codes.OK or "access_token" not in answer:
            said = redacted(f"{answer.get('error')}: {answer.get('error_description')}", (self._endpoint.secret,))
            raise not_accepted(where, self._endpoint, said[:300])
        return str(answer["access_token"])


class Salesforce(Connector):
    """Reads any object that SOQL can query, and writes fields back by Id or by an external id."""

    most_per_page: ClassVar[int] = 2000
    id_path: ClassVar[str] = "Id"

    def auth(self) -> httpx.Auth:
        """Return the OAuth 2 flow."""
        return ClientCredentials(self.endpoint)

    def is_passing(self, response: httpx.Response) -> bool:
        """Whether an error code says that it may go better later."""
        return bool(codes(response) & PASSING)

    def check_credentials(self) -> None:
        """Ask for the list of objects, which every user may see."""
        self.describe_entities()

    def describe_entities(self) -> list[Entity]:
        """Return the objects that can be queried."""
        found = self.api.call("GET", f"{self.root}/sobjects/")["sobjects"]
        return [Entity(one["name"], one["label"]) for one in found if one["queryable"]]

    def describe_fields(self, entity: str) -> list[Field]:
        """Return the fields of an object."""
        found = self.api.call("GET", f"{self.root}/sobjects/{entity}/describe")["fields"]
        return [Field(one["name"], _TYPES.get(one["type"], ""), one["type"], one["nillable"]) for one in found]

    def read_pages(self, reading: Reading) -> Iterator[list[Node]]:
        """Yield the records of an object, oldest change first. The source may give pages of another size."""
        headers = {"Sforce-Query-Options": f"batchSize={reading.page_size}"}
        page = self.api.call("GET", f"{self.root}/query", params={"q": soql(reading)}, headers=headers)
        yield page["records"]
        while not page["done"]:
            page = self.api.call("GET", page["nextRecordsUrl"], headers=headers)
            yield page["records"]

    def write_records(self, entity: str, key: str, records: Sequence[Node]) -> int:
        """Set fields of records, each found by its Id or by an external id field."""
        for record in records:
            value = record.get(key)
            if not isinstance(value, str) or not value:
                raise SourceRefused(f"{self.endpoint.connection}: a record of {entity} to be written has no {key}")
            place = "" if key == self.id_path else f"{key}/"
            fields = {name: field for name, field in record.items() if name != key}
            self.api.call("PATCH", f"{self.root}/sobjects/{entity}/{place}{quote(value, safe='')}", json=fields)
        return len(records)


def soql(reading: Reading) -> str:
    """Return the query for what is to be read."""
    fields = ", ".join(dict.fromkeys((Salesforce.id_path, *reading.paths)))
    where = (
        "" if reading.since is None else f" WHERE {reading.cursor} >= {reading.since.strftime('%Y-%m-%dT%H:%M:%SZ')}"
    )
    # Names come from the flow file, whose pattern lets nothing but names through.
    return f"SELECT {fields} FROM {reading.entity}{where} ORDER BY {reading.cursor}, {Salesforce.id_path}"  # noqa: S608


def codes(response: httpx.Response) -> set[str]:
    """Return the error codes of an answer: Salesforce lists its errors."""
    try:
        errors = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        return set()
    listed = errors if isinstance(errors, list) else []
    return {str(error.get("errorCode")) for error in listed if isinstance(error, dict)}


def _is_expired(response: httpx.Response) -> bool:
    return response.status_code == httpx.codes.UNAUTHORIZED and EXPIRED in codes(response)
