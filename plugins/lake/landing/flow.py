"""What a flow file may say: one source object, whole. Light enough for the docs, which are made where no lake is.

What only the lake can check (columns, connectors, tables) is checked by :mod:`lake.landing.flows`.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from lake.errors import Hopeless

CONNECTORS = {
    "aftership": "lake.landing.aftership:AfterShip",
    "google-analytics": "lake.landing.analytics:GoogleAnalytics",
    "odata": "lake.landing.odata:OData",
    "salesforce": "lake.landing.salesforce:Salesforce",
    "shopify": "lake.landing.shopify:Shopify",
    "stripe": "lake.landing.stripe:Stripe",
}
"""The connectors that come with Countersign, and where their classes are. Any other is named by ``module:Class``."""

MOST_PER_PAGE = 2000

Share = Annotated[float, Meta(ge=0.0, le=1.0, description="a share of the rows, 0 to 1")]
Words = Annotated[str, Meta(min_length=1)]
Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$")]
Path = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$",
        description="where a value stands in the source's own row: names joined by dots",
        examples=["createdAt", "totalPriceSet.shopMoney.amount"],
    ),
]
Cron = Annotated[
    str,
    Meta(
        pattern=r"^(@hourly|@daily|@weekly|@monthly|([^ ]+ ){4}[^ ]+)$",
        description="five fields of cron in UTC, or @hourly, @daily, @weekly, @monthly",
        examples=["15 2 * * *"],
    ),
]
Masking = Literal["card", "email", "ip", "text"]


class BadFlow(Hopeless):
    """A flow file cannot be used; the message names the file, the field and what is wrong with it."""


class Column(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One column of the table, and where its value comes from.

    Attributes:
        from_: where the value stands in the source's own row.
        type: text; integer; boolean; time (ISO 8601 with an offset, or seconds since 1970); day (the UTC day of such a
            time); amount (a decimal number, landed in minor units of its currency).
        doc: what the value means; it becomes the column's comment.
        optional: whether a row may come without it. A row that lacks any other column is set aside.
        currency: of an amount: where its ISO 4217 code stands.
        edit: of a text: upper or lower case, or what follows its last slash.
        truncate: of a text: how many characters are kept.
    """

    from_: Path = msgspec.field(name="from")
    type: Literal["text", "integer", "boolean", "time", "day", "amount"]
    doc: Words
    optional: bool = False
    currency: Path | None = None
    edit: Literal["upper", "lower", "last-segment"] | None = None
    truncate: Annotated[int, Meta(ge=1)] | None = None


class Cursor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a flow continues: rows whose ``field`` is at least the newest one landed, minus the overlap.

    Attributes:
        field: the column of the table that holds the cursor, a time.
        overlap_seconds: how far back the next landing looks again, for rows that the source shows late.
    """

    field: Name
    overlap_seconds: Annotated[int, Meta(ge=0, le=180 * 86400)] = 0


class Restated(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The source counts the latest days anew each time: what is read replaces everything of the days that it is about.

    A row that the source no longer shows is gone then, which no merge by id would notice.

    Attributes:
        days: how many days up to the newest one landed are read again; the source may restate so many.
    """

    days: Annotated[int, Meta(ge=1, le=400)]


class Condition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row lands only if this column has one of the values of ``keep``, and none of those of ``drop``.

    It is meant for what never changes about a row. One that landed and then leaves the filter keeps its last version.
    """

    column: Name
    keep: list[str | int | bool | None] | None = None
    drop: list[str | int | bool | None] | None = None


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One expectation of Great Expectations: its class name, and its arguments as the class takes them."""

    expect: Annotated[str, Meta(pattern="^Expect[A-Za-z]+$")]
    with_: dict[str, Any] = msgspec.field(name="with", default_factory=dict)
    because: Annotated[str, Meta(min_length=1, description="what a failing row means, shown in the quarantine")]


class OnAsset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Land when a task has updated this asset, ``kafka.customer_events`` for example."""

    asset: Words


class Flow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where one object comes from, what lands of it and what is asked of it.

    Attributes:
        table: where it lands, ``namespace.table``; the table is made from ``columns``.
        connector: the API's way of signing in, describing, paging and throttling; a class of your own as
            ``module:Class``.
        connection: id of the Airflow connection with host and secret.
        endpoint: path under which the API answers, with its version.
        entity: the object as the API names it.
        search: reads only rows for which this holds, in the source's own words; null reads them all.
        page_size: rows per request.
        requests_per_second: no more than this many; null leaves it to the source to say when it is too much.
        restated: the source restates its latest days, and a landing replaces them whole; null merges by ``row_id``.
        row_id: the column by which a row that comes again replaces its earlier version.
        cursor: how the next landing continues.
        columns: of the table, in their order. One of them is ``day``, of type day, from a moment that never changes:
            it decides about the partition of a row.
        mask: paths of personal data, with the way each is masked. Their columns are called ``…_token``.
        filter: conditions that a row must fulfil to be of interest; the others are counted and left where they are.
        checks: what a row must fulfil to enter the table; the others go to the quarantine.
        threshold: the least share of good rows with which the reconciliation still goes on.
        schedule: null by hand, cron, or an asset. ``land_sources`` lands every object, whatever its schedule.
    """

    table: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")]
    connector: Annotated[
        str, Meta(pattern=rf"^({'|'.join(CONNECTORS)}|[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*)$")
    ]
    connection: Name
    endpoint: Annotated[str, Meta(pattern="^/.*[^/]$")]
    entity: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$",
            description="the object as the API names it; with a dot, what stands in a list inside of it",
            examples=["orders", "orders.refunds"],
        ),
    ]
    search: Words | None = None
    page_size: Annotated[int, Meta(ge=1, le=MOST_PER_PAGE)]
    requests_per_second: Annotated[float, Meta(gt=0.0)] | None = None
    row_id: Name
    cursor: Cursor
    columns: Annotated[dict[Name, Column], Meta(min_length=1)]
    mask: dict[Path, Masking] = {}
    filter: list[Condition] = []
    restated: Restated | None = None
    checks: list[Check]
    threshold: Share = 0.95
    schedule: Cron | OnAsset | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path of the source's row that something lands from, each once."""
        found = [path for column in self.columns.values() for path in (column.from_, column.currency) if path]
        return tuple(dict.fromkeys(found))
