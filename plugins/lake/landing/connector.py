"""What every API must be able to do so that flows can land its objects: the verbs of Amazon AppFlow's connector SDK.

`docs/connectors.md` shows how to write one; a test runs what it shows.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Self

import httpx

from lake.errors import Hopeless
from lake.landing.flow import CONNECTORS, MOST_PER_PAGE
from lake.landing.http import Api, Endpoint

type Node = dict[str, Any]
"""A row as the source gives it."""


class NoConnector(Hopeless):
    """There is no connector of that name; the message says what was looked for."""


class CannotWrite(Hopeless):
    """This connector cannot write records back."""


@dataclass(frozen=True, slots=True)
class Entity:
    """An object of the source: the name by which a flow asks for it, and what people call it."""

    name: str
    label: str


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an object.

    Attributes:
        path: where it stands in a row, as a flow's ``from``.
        type: the type of column it fits (text, integer, boolean, time); empty if it fits none as it is.
        native: the type as the source calls it.
        nullable: whether a row may come without it.
    """

    path: str
    type: str
    native: str
    nullable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is to be read.

    Attributes:
        entity: the object as the API names it.
        paths: the fields to ask for; the connector adds the row's own id.
        page_size: rows per request.
        cursor: the field that tells when a row last changed (or was made, if the source has nothing better).
        since: read rows whose cursor is at least this moment; None reads everything.
        search: read only rows for which this holds, in the source's own words; None reads them all.
    """

    entity: str
    paths: tuple[str, ...]
    page_size: int
    cursor: str
    since: datetime | None
    search: str | None = None


class Connector(ABC):
    """One API's way of doing things, over one connection; a context manager.

    A subclass says in ``headers`` or ``auth`` how it signs in, and implements the verbs with ``self.api``, which waits,
    tries again and names the Airflow connection in every error. It keeps no progress and knows neither tables nor
    masking: those are the landing's.

    Attributes:
        most_per_page: the largest page that the API gives.
        id_path: where a row's own id stands; of two versions of a row the later one counts.
        searches: whether ``Reading.search`` is understood; a flow that has one is refused otherwise.
    """

    most_per_page: ClassVar[int] = MOST_PER_PAGE
    id_path: ClassVar[str] = "id"
    searches: ClassVar[bool] = False

    def __init__(self, endpoint: Endpoint, root: str, requests_per_second: float | None = None) -> None:
        """Plan a connection; nothing is asked yet.

        Args:
            endpoint: where the source is, and the secret.
            root: path under which the API answers, with its version.
            requests_per_second: no more than this many; None does not limit.
        """
        self.endpoint = endpoint
        self.root = root
        self.api = Api(
            endpoint,
            self.headers(),
            auth=self.auth(),
            requests_per_second=requests_per_second,
            passing=self.is_passing,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.api.close()

    def headers(self) -> dict[str, str]:
        """Return the headers of every request, those that sign in among them."""
        return {}

    def auth(self) -> httpx.Auth | None:
        """Return how requests are signed where a header does not do, None if it does."""
        return None

    def is_passing(self, response: httpx.Response) -> bool:
        """Whether a 4xx answer means "not now", besides 429."""
        return False

    @abstractmethod
    def check_credentials(self) -> None:
        """Return if the source lets us in.

        Raises:
            BadCredentials: it does not; the message names the Airflow connection.
            SourceUnavailable: it does not answer.
        """

    @abstractmethod
    def describe_entities(self) -> list[Entity]:
        """Return the objects that can be read."""

    @abstractmethod
    def describe_fields(self, entity: str) -> list[Field]:
        """Return the fields of an object.

        Raises:
            SourceRefused: there is no such object.
        """

    @abstractmethod
    def read_pages(self, reading: Reading) -> Iterator[list[Node]]:
        """Yield rows page by page. Every row that did not change meanwhile must come at least once.

        Where the same row comes twice, its later version must come later, or both must be the same.

        Raises:
            BadCredentials, SourceRefused, SourceUnavailable: see :mod:`lake.landing.http`.
        """

    def write_records(self, entity: str, key: str, records: Sequence[Node]) -> int:
        """Set fields of records, found by their ``key`` field, and return how many were written.

        Doing it again sets the same values again: a retry after a lost answer changes nothing.

        Raises:
            CannotWrite: this connector cannot.
            SourceRefused: the source does not take a record; those before it are written.
        """
        raise CannotWrite(
            f"{type(self).__name__} (Airflow connection {self.endpoint.connection}) cannot write records back: "
            f"override write_records, or leave {entity} to a connector that can"
        )


def named(name: str) -> type[Connector]:
    """Return the class of a connector: one of ours by its short name, any other as ``module:Class``.

    Raises:
        NoConnector: no such name, module or class, or the class is no connector.
    """
    place = CONNECTORS.get(name, name)
    module, colon, attribute = place.partition(":")
    if not colon:
        raise NoConnector(f"there is no connector {name!r}: {', '.join(CONNECTORS)}, or one of yours as module:Class")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise NoConnector(f"there is no connector {place}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Connector)):
        raise NoConnector(f"{place} is no subclass of lake.landing.connector.Connector")
    return found
