"""Brings the table of a source up to the columns of its flow, as far as that can be done without touching rows."""

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from lake import tables
from lake.landing.flow import BadFlow
from lake.landing.progress import committing
from lake.tables import TableSpec


def ensure(catalog: Catalog, spec: TableSpec) -> Table:
    """Return the table with the columns of ``spec``: made, or widened by optional columns that it lacks.

    Raises:
        BadFlow: the table that there is has another column, or one of another type; or a new one is not optional,
            though the rows that are there have nothing for it.
        Conflict: another landing changed the table meanwhile; running again is safe.
    """
    table = tables.as_made(catalog, spec)
    there = {field.name: field for field in table.schema().fields}
    wanted = {field.name: field for field in spec.schema.fields}
    for name, field in there.items():
        if name not in wanted:
            raise _misfit(spec, name, "the table has this column and the flow has not")
        if wanted[name].field_type != field.field_type:
            raise _misfit(spec, name, f"the table has {field.field_type}, the flow {wanted[name].field_type}")
        if wanted[name].required != field.required:
            raise _misfit(spec, name, "the table and the flow do not agree on whether it is optional")
    for name, field in wanted.items():
        if field.required and name not in there:
            raise _misfit(spec, name, "a new column must be optional: rows that have landed have nothing for it")
    with committing(table):
        tables.widen(table, spec)
    return table


def _misfit(spec: TableSpec, column: str, wrong: str) -> BadFlow:
    return BadFlow(f"{spec.name}: {wrong} - at `$.columns.{column}`. Mend the flow; or drop the table and land it anew")
