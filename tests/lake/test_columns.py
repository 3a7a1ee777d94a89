"""From a source's row to the columns of a table: every type and edit, what is no such value, what is filtered out."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog, load_catalog

from lake.landing import columns
from lake.landing.evolve import ensure
from lake.landing.flow import BadFlow, Column, Condition, Cursor, Flow

AT = datetime(2015, 1, 2, 6, tzinfo=UTC)


def flow(filter: list[Condition] | None = None, **given: Column) -> Flow:
    made = {
        "id": Column(from_="id", type="text", doc="x"),
        "at": Column(from_="at", type="time", doc="x"),
        "day": Column(from_="at", type="day", doc="x"),
    }
    return Flow(
        table="some.things",
        connector="stripe",
        connection="some",
        endpoint="/v1",
        entity="things",
        page_size=1,
        row_id="id",
        cursor=Cursor(field="at"),
        columns=made | given,
        filter=filter or [],
        checks=[],
    )


def value(node: dict[str, Any], **column: Any) -> Any:
    return columns.row(flow(x=Column(doc="x", **column)), node)["x"]


@pytest.mark.parametrize(
    ("given", "column", "expected"),
    [
        ("Abc", {"type": "text"}, "Abc"),
        ("Abc", {"type": "text", "edit": "upper"}, "ABC"),
        ("Abc", {"type": "text", "edit": "lower"}, "abc"),
        ("gid://shopify/Customer/17", {"type": "text", "edit": "last-segment"}, "17"),
        ("17", {"type": "text", "edit": "last-segment"}, "17"),
        ("äöüß", {"type": "text", "truncate": 3}, "äöü"),
        ("äö", {"type": "text", "truncate": 3}, "äö"),
        (7, {"type": "integer"}, 7),
        (False, {"type": "boolean"}, False),
        ("2015-01-02T06:00:00Z", {"type": "time"}, AT),
        ("2015-01-02T06:00:00.000+0000", {"type": "time"}, AT),
        ("2015-01-02T07:00:00+01:00", {"type": "time"}, AT),
        (1_420_178_400, {"type": "time"}, AT),
        ("2015-01-03T00:30:00+02:00", {"type": "day"}, date(2015, 1, 2)),
        ("12.30", {"type": "amount", "currency": "cur"}, 1230),
        (12.3, {"type": "amount", "currency": "cur"}, 1230),
        (12, {"type": "amount", "currency": "cur"}, 1200),
    ],
)
def test_value_of_each_type(given: Any, column: dict[str, Any], expected: Any) -> None:
    found = value({"a": {"b": given}, "cur": "usd"}, from_="a.b", **column)
    assert found == expected
    assert type(found) is type(expected)
    if isinstance(found, datetime):
        assert found.tzinfo is UTC


@pytest.mark.parametrize("kind", ["text", "integer", "boolean", "time", "day"])
@pytest.mark.parametrize("node", [{}, {"a": None}, {"a": {"b": None}}, {"a": "text"}, {"a": [1]}])
def test_what_is_not_there_is_none(kind: str, node: dict[str, Any]) -> None:
    assert value(node, from_="a.b", type=kind) is None


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        (7, "text", "Expected text, got int"),
        ({"c": 1}, "text", "Expected text, got dict"),
        ("7", "integer", "Expected a whole number, got str"),
        (True, "integer", "Expected a whole number, got bool"),
        (10**16, "integer", "out of range"),
        (1, "boolean", "Expected true or false"),
        ("soon", "time", "soon"),
        ("2015-01-02T06:00:00", "time", "does not say its offset"),
        (10**15, "time", "out of range"),
        (True, "time", "got bool"),
        ("soon", "day", "soon"),
        ("ten", "amount", "is no amount"),
        ("1.005", "amount", "more decimals than USD"),
        (True, "amount", "got bool"),
    ],
)
def test_what_is_no_such_value_is_named_with_its_path(given: Any, kind: str, said: str) -> None:
    more = {"currency": "cur"} if kind == "amount" else {}
    with pytest.raises(ValueError, match=rf"{said}.* - at `\$\.a\.b`"):
        value({"a": {"b": given}, "cur": "USD"}, from_="a.b", type=kind, **more)


def test_amount_without_a_currency_is_no_amount() -> None:
    with pytest.raises(ValueError, match="has no currency"):
        value({"a": "1"}, from_="a", type="amount", currency="cur")


def test_nothing_is_kept_but_what_is_asked_for() -> None:
    node = {"id": 1, "card": {"last4": "4242", "brand": "visa"}, "name": "Planted", "meta": {"a": None}}
    assert columns.only(node, ("id", "card.brand", "meta.a", "gone.b")) == {"id": 1, "card": {"brand": "visa"}}
    assert node["name"] == "Planted", "the source's own row is left alone"


def test_filter_keeps_and_drops() -> None:
    rows = [{"kind": kind, "live": live} for kind in ("a", "b", None) for live in (True, False)]
    kept = [Condition(column="kind", keep=["a", None]), Condition(column="live", drop=[False])]
    assert list(columns.wanted(flow(kept), rows)) == [{"kind": "a", "live": True}, {"kind": None, "live": True}]
    assert list(columns.wanted(flow(), rows)) == rows
    assert list(columns.wanted(flow([Condition(column="live", keep=[1])]), rows)) == [], "true is not 1"


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return load_catalog("t", type="sql", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}/w")


def test_table_takes_on_an_optional_column_and_keeps_its_rows(catalog: Catalog) -> None:
    table = ensure(catalog, columns.table_of(flow()))
    table.append(pa.Table.from_pylist([{"id": "1", "at": AT, "day": AT.date()}], schema=table.schema().as_arrow()))
    wider = ensure(catalog, columns.table_of(flow(note=Column(from_="n", type="text", doc="said", optional=True))))
    assert wider.scan().to_arrow().to_pylist() == [{"id": "1", "at": AT, "day": AT.date(), "note": None}]
    assert wider.schema().find_field("note").doc == "said"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({}, {"n": Column(from_="n", type="text", doc="x")}, r"a new column must be optional.*columns\.n"),
        (
            {"n": Column(from_="n", type="text", doc="x")},
            {"n": Column(from_="n", type="integer", doc="x")},
            r"the table has string, the flow long.*columns\.n",
        ),
        (
            {"n": Column(from_="n", type="text", doc="x")},
            {"n": Column(from_="n", type="text", doc="x", optional=True)},
            r"whether it is optional.*columns\.n",
        ),
        ({"n": Column(from_="n", type="text", doc="x")}, {}, r"the flow has not.*columns\.n"),
    ],
)
def test_table_that_does_not_fit_is_refused(
    catalog: Catalog, before: dict[str, Column], after: dict[str, Column], said: str
) -> None:
    ensure(catalog, columns.table_of(flow(**before)))
    with pytest.raises(BadFlow, match=said):
        ensure(catalog, columns.table_of(flow(**after)))


def test_table_that_does_not_fit_is_left_as_it_was(catalog: Catalog) -> None:
    """A new column that would fit is not added on the way to a refusal."""
    n, late = Column(from_="n", type="text", doc="x"), Column(from_="m", type="text", doc="x", optional=True)
    spec = columns.table_of(flow(n=n))
    ensure(catalog, spec)
    with pytest.raises(BadFlow):
        ensure(catalog, columns.table_of(flow(n=Column(from_="n", type="integer", doc="x"), m=late)))
    assert "m" not in {field.name for field in catalog.load_table(spec.identifier).schema().fields}
