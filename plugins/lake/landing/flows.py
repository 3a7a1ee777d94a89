"""Reads the flow files, YAML under ``dags/flows``, and checks them before anything is fetched."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import yaml

from lake.landing import connector
from lake.landing.columns import table_of
from lake.landing.flow import BadFlow, Check, Column, Condition, Flow
from lake.tables import RESERVED, TableSpec

__all__ = ["BadFlow", "Check", "Flow", "folder", "load", "load_all", "table_of", "tables_in"]

DAY = "day"
TOKEN = "_token"  # noqa: S105 - the ending of a column's name

type Complaint = tuple[str, str]
"""Which field, as a JSON path without its ``$.``, and what is wrong with it."""


def folder() -> Path:
    """Where the flow files are: beside ``plugins``, under ``dags/flows``, here as on MWAA, or ``COUNTERSIGN_FLOWS``."""
    named = os.environ.get("COUNTERSIGN_FLOWS")
    return Path(named) if named else Path(__file__).resolve().parents[3] / "dags" / "flows"


def load(path: Path) -> Flow:
    """Return the flow that a file describes.

    Raises:
        BadFlow: no such file, no YAML, an unknown or missing field, a value out of bounds, fields that contradict each
            other, a connector that is not there; the message names file and field.
    """
    try:
        flow = msgspec.yaml.decode(path.read_bytes(), type=Flow)
    except OSError as error:
        raise BadFlow(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, yaml.YAMLError) as error:
        raise BadFlow(f"{path}: {error}") from error
    for field, wrong in _complaints(flow):
        raise BadFlow(f"{path}: {wrong} - at `$.{field}`")
    return flow


def load_all(flows: Path) -> dict[str, Flow]:
    """Return every flow of a folder by its table.

    Raises:
        BadFlow: one of them is unusable, or two land in the same table, or set their rows aside in the same one.
    """
    found: dict[str, Flow] = {}
    for path in sorted(flows.glob("*.yaml")):
        flow = load(path)
        if flow.table in found:
            raise BadFlow(f"{path}: another flow lands in {flow.table} already - at `$.table`")
        name = flow.table.partition(".")[2]
        if name in {other.partition(".")[2] for other in found}:
            raise BadFlow(f"{path}: another flow sets its rows aside in quarantine.{name} already - at `$.table`")
        found[flow.table] = flow
    return found


def tables_in(flows: Path) -> dict[str, TableSpec]:
    """Return the table of every flow of a folder, by its name.

    Raises:
        BadFlow: as :func:`load_all`.
    """
    return {name: table_of(flow) for name, flow in load_all(flows).items()}


def _complaints(flow: Flow) -> Iterator[Complaint]:
    namespace = flow.table.partition(".")[0]
    if namespace in RESERVED:
        yield "table", f"{namespace} is not for sources; choose a namespace that is none of {', '.join(RESERVED)}"
    try:
        source = connector.named(flow.connector)
    except connector.NoConnector as error:
        yield "connector", str(error)
    else:
        if flow.page_size > source.most_per_page:
            yield "page_size", f"{flow.connector} gives no larger page: Expected `int` <= {source.most_per_page}"
        if flow.search is not None and not source.searches:
            yield "search", f"{flow.connector} cannot search: leave rows out with `filter`"
    if flow.restated is not None and flow.cursor.overlap_seconds:
        yield "cursor.overlap_seconds", "days that are restated are read again whole: leave the overlap away"
    yield from _about_names(flow)
    yield from _about_columns(flow)
    yield from _about_masks(flow)
    yield from _about_conditions(flow)


def _about_names(flow: Flow) -> Iterator[Complaint]:
    """A name that is used must be a column, and one of the right type."""
    wanted = [("row_id", flow.row_id, "text"), ("cursor.field", flow.cursor.field, "time"), ("columns", DAY, "day")]
    for place, name, kind in wanted:
        if name not in flow.columns:
            yield place, f"{flow.table} has no column {name!r}"
        elif flow.columns[name].type != kind:
            yield f"columns.{name}.type", f"{place} needs a column of type {kind}"
        elif flow.columns[name].optional:
            yield f"columns.{name}.optional", f"{place} needs a column that is always there"
    for number, check in enumerate(flow.checks):
        for argument in ("column", "column_A", "column_B"):
            column = check.with_.get(argument, flow.row_id)
            if column not in flow.columns:
                yield f"checks[{number}].with.{argument}", f"{flow.table} has no column {column!r}"


def _about_columns(flow: Flow) -> Iterator[Complaint]:
    for name, column in flow.columns.items():
        place = f"columns.{name}"
        if column.type == "day" and name != DAY:
            yield f"{place}.type", f"only the column {DAY} is a day: it decides about partitions"
        if inside := [path for path in flow.paths if path.startswith(f"{column.from_}.")]:
            yield f"{place}.from", f"{inside[0]} stands inside of it: a value is masked and landed once"
        yield from ((f"{place}.{field}", wrong) for field, wrong in _about_column(column))


def _about_column(column: Column) -> Iterator[Complaint]:
    if (column.currency is None) == (column.type == "amount"):
        yield "currency", "an amount needs the path of its currency, and nothing else has one"
    if column.type != "text" and column.edit is not None:
        yield "edit", "only a text can be edited"
    if column.type != "text" and column.truncate is not None:
        yield "truncate", "only a text can be truncated"


def _about_masks(flow: Flow) -> Iterator[Complaint]:
    """A token is whole, and whoever reads the table sees by the name what is one."""
    landed = {column.from_ for column in flow.columns.values()}
    for path in flow.mask:
        if path not in landed:
            yield f"mask.{path}", "no column lands from there, so there is nothing to mask"
    for name, column in flow.columns.items():
        masked = column.from_ in flow.mask
        if masked != name.endswith(TOKEN):
            wrong = f"a masked column is called …{TOKEN}" if masked else f"{column.from_} is not in `mask`"
            yield f"columns.{name}", wrong
        if masked and column.type != "text":
            yield f"columns.{name}.type", "a masked column is a text"
        if masked and (column.edit or column.truncate):
            yield f"columns.{name}", "a token cannot be edited or truncated: it would not join any more"


def _about_conditions(flow: Flow) -> Iterator[Complaint]:
    for number, condition in enumerate(flow.filter):
        yield from ((f"filter[{number}].{field}", wrong) for field, wrong in _about_condition(flow, condition))


def _about_condition(flow: Flow, condition: Condition) -> Iterator[Complaint]:
    column = flow.columns.get(condition.column)
    if column is None:
        yield "column", f"{flow.table} has no column {condition.column!r}"
    elif column.type not in ("text", "integer", "boolean"):
        yield "column", f"a filter compares texts, integers and booleans; {condition.column} is of type {column.type}"
    elif column.from_ in flow.mask:
        yield "column", f"{condition.column} is masked: a filter would compare tokens"
    if (condition.keep is None) == (condition.drop is None):
        yield "keep", "a condition has either `keep` or `drop`"
