"""The settings of one source object: a YAML file under ``dags/flows``, checked before anything is fetched."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml
from msgspec import Meta

from lake import tables
from lake.errors import Hopeless
from lake.tables import TableSpec

Share = Annotated[float, Meta(ge=0.0, le=1.0, description="a share of the rows, 0 to 1")]
_TABLES = {spec.name: spec for spec in tables.SOURCES}


class BadFlow(Hopeless):
    """A flow file cannot be used; the message names the file, the field and what is wrong with it."""


class Cursor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a flow continues: rows whose ``field`` is at least the newest one landed, minus the overlap.

    Attributes:
        field: the column of the table that holds the cursor.
        overlap_seconds: how far back the next landing looks again, for rows that the source shows late.
    """

    field: str
    overlap_seconds: Annotated[int, Meta(ge=0, le=30 * 86400)] = 0


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One expectation of Great Expectations: its class name, and its arguments as the class takes them."""

    expect: Annotated[str, Meta(pattern="^Expect[A-Za-z]+$")]
    with_: dict[str, object] = msgspec.field(name="with", default_factory=dict)
    because: Annotated[str, Meta(min_length=1, description="what a failing row means, shown in the quarantine")]


class Flow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where one object comes from and what is asked of it.

    Attributes:
        table: where it lands, ``namespace.table`` of :mod:`lake.tables`.
        dialect: the API's way of paging, throttling and naming.
        connection: id of the Airflow connection with host and secret.
        endpoint: path of the API call.
        page_size: rows per request.
        row_id: the column by which a row that comes again replaces its earlier version.
        cursor: how the next landing continues.
        mask: dotted paths of personal data in the source's own rows, with the way each is masked.
        checks: what a row must fulfil to enter the table.
        threshold: the least share of good rows with which the reconciliation still goes on.
    """

    table: str
    dialect: Literal["shopify-orders", "stripe-charges"]
    connection: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$")]
    endpoint: Annotated[str, Meta(pattern="^/")]
    page_size: Annotated[int, Meta(ge=1, le=250)]
    row_id: str
    cursor: Cursor
    mask: dict[str, Literal["ip", "email"]] = {}
    checks: list[Check]
    threshold: Share = 0.95

    @property
    def spec(self) -> TableSpec:
        """The table in which the object lands."""
        return _TABLES[self.table]


def load(path: Path) -> Flow:
    """Return the flow that a file describes.

    Raises:
        BadFlow: no such file, no YAML, an unknown or missing field, a value out of bounds, an unknown table or column.
    """
    try:
        flow = msgspec.yaml.decode(path.read_bytes(), type=Flow)
    except OSError as error:
        raise BadFlow(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, yaml.YAMLError) as error:
        raise BadFlow(f"{path}: {error}") from error
    if flow.table not in _TABLES:
        raise BadFlow(f"{path}: unknown table {flow.table!r} - at `$.table`; there are {sorted(_TABLES)}")
    columns = {field.name for field in flow.spec.schema.fields}
    for place, name in (("row_id", flow.row_id), ("cursor.field", flow.cursor.field)):
        if name not in columns:
            raise BadFlow(f"{path}: {flow.table} has no column {name!r} - at `$.{place}`")
    for number, check in enumerate(flow.checks):
        for name in ("column", "column_A", "column_B"):
            column = check.with_.get(name, flow.row_id)
            if column not in columns:
                raise BadFlow(f"{path}: {flow.table} has no column {column!r} - at `$.checks[{number}].with.{name}`")
    return flow


def load_all(folder: Path) -> dict[str, Flow]:
    """Return every flow of a folder by its table.

    Raises:
        BadFlow: one of them is unusable, or two land in the same table.
    """
    flows: dict[str, Flow] = {}
    for path in sorted(folder.glob("*.yaml")):
        flow = load(path)
        if flow.table in flows:
            raise BadFlow(f"{path}: another flow lands in {flow.table} already - at `$.table`")
        flows[flow.table] = flow
    return flows
