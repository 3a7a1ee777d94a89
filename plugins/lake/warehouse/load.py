"""Brings one table of the warehouse up to a snapshot of the lake, all of it or nothing.

Rows go into a staging table by ``copy``; then, in the same transaction, the rows that they replace are deleted, they
are inserted, and the snapshot's id is written down. So a load that was killed leaves nothing, one that is done again
has nothing to do, and rows and the note of what they are cannot contradict each other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, LiteralString

import pyarrow as pa
from psycopg import Connection, sql

from lake.warehouse.change import Change
from lake.warehouse.shape import CannotLoad, Shape

STAGED, GONE = "countersign_staged", "countersign_gone"
_LOADS: LiteralString = "countersign.loads"
_NOTES: LiteralString = f"""
create table if not exists {_LOADS} (
    table_name varchar(256) not null,
    snapshot_id bigint not null,
    rows_total bigint not null,
    run_id varchar(256) not null,
    loaded_at timestamptz not null
)"""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one load brought: the snapshot, rows deleted and inserted, rows that the table has since."""

    table: str
    snapshot_id: int
    deleted: int
    inserted: int
    total: int


def prepare(connection: Connection[Any]) -> None:
    """Make the table of notes, which says what was loaded."""
    with connection.transaction():
        connection.execute("create schema if not exists countersign")
        connection.execute(_NOTES)


def loaded(connection: Connection[Any], table: str) -> int | None:
    """Return the snapshot id that a table of the warehouse has; None before its first load."""
    row = connection.execute(f"select snapshot_id from {_LOADS} where table_name = %s", (table,)).fetchone()  # noqa: S608
    return None if row is None else int(row[0])


def load(connection: Connection[Any], shape: Shape, change: Change, before: int | None, run_id: str) -> Loaded | None:
    """Bring the table from the snapshot ``before`` to that of ``change``; None if another load has been faster.

    Raises:
        CannotLoad: the table in the warehouse has other columns.
    """
    with connection.transaction():
        # One load at a time: whoever comes second sees what the first has written down.
        connection.execute(f"lock table {_LOADS} in exclusive mode")
        if loaded(connection, shape.name) != before:
            return None
        _make(connection, shape)
        _stage(connection, shape, STAGED, shape.columns, change.rows)
        deleted = _delete(connection, shape, change)
        into = sql.SQL("insert into {} ({}) select {} from {}")
        inserted = connection.execute(
            into.format(shape.identifier, shape.listed(), shape.listed(), sql.Identifier(STAGED))
        ).rowcount
        total = connection.execute(sql.SQL("select count(*) from {}").format(shape.identifier)).fetchone()
        done = Loaded(shape.name, change.snapshot_id, deleted, inserted, int(total[0]) if total else 0)
        connection.execute(f"delete from {_LOADS} where table_name = %s", (shape.name,))  # noqa: S608
        connection.execute(
            f"insert into {_LOADS} values (%s, %s, %s, %s, current_timestamp)",  # noqa: S608
            (shape.name, change.snapshot_id, done.total, run_id),
        )
    return done


def _make(connection: Connection[Any], shape: Shape) -> None:
    schema, name = shape.name.split(".", 1)
    connection.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(schema)))
    connection.execute(sql.SQL("create table if not exists {} ({})").format(shape.identifier, shape.declared()))
    found = connection.execute(
        "select column_name from information_schema.columns where table_schema = %s and table_name = %s", (schema, name)
    ).fetchall()
    there = {row[0] for row in found}
    for column in shape.columns.keys() - there:
        # A flow that was widened: the earlier rows have nothing there, as in the lake.
        kind = sql.SQL(shape.columns[column])  # type: ignore[arg-type]  # one of TYPES
        add = sql.SQL("alter table {} add column {} {}")
        connection.execute(add.format(shape.identifier, sql.Identifier(column), kind))
    if strange := there - shape.columns.keys():
        raise CannotLoad(
            f"{shape.name}: the warehouse has the column {', '.join(sorted(strange))} and the lake has not. Drop it "
            f"there; or drop the table and its row in {_LOADS}, and it is loaded anew"
        )


def _delete(connection: Connection[Any], shape: Shape, change: Change) -> int:
    """Delete the rows that went or are replaced."""
    if change.gone is None:
        return connection.execute(sql.SQL("delete from {}").format(shape.identifier)).rowcount
    keys = {name: shape.columns[name] for name in shape.key}
    _stage(connection, shape, GONE, keys, change.gone)
    using = sql.SQL("delete from {} using {} where {}")
    return sum(
        connection.execute(using.format(shape.identifier, sql.Identifier(staged), shape.same(staged))).rowcount
        for staged in (GONE, STAGED)
    )


def _stage(connection: Connection[Any], shape: Shape, name: str, columns: dict[str, str], rows: pa.Table) -> None:
    staged = sql.Identifier(name)
    connection.execute(sql.SQL("drop table if exists {}").format(staged))
    declared = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind))  # type: ignore[arg-type]  # one of TYPES
        for column, kind in columns.items()
    )
    connection.execute(sql.SQL("create temporary table {} ({})").format(staged, declared))
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    with (
        connection.cursor() as cursor,
        cursor.copy(sql.SQL("copy {} ({}) from stdin").format(staged, listed)) as copy,
    ):
        for row in _tuples(rows.select(list(columns))):
            copy.write_row(row)


def _tuples(rows: pa.Table) -> Iterator[tuple[Any, ...]]:
    for batch in rows.to_batches(max_chunksize=10_000):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
