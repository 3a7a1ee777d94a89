"""How a table of the lake looks in the warehouse: in the part of SQL that PostgreSQL and Amazon Redshift share."""

from dataclasses import dataclass
from typing import Self

from psycopg import sql
from pyiceberg.schema import Schema
from pyiceberg.types import BooleanType, DateType, IcebergType, IntegerType, LongType, StringType, TimestamptzType

from lake.errors import Hopeless

TYPES: dict[type[IcebergType], str] = {
    BooleanType: "boolean",
    DateType: "date",
    IntegerType: "integer",
    LongType: "bigint",
    StringType: "varchar(65535)",  # the widest that Redshift has
    TimestamptzType: "timestamptz",
}


class CannotLoad(Hopeless):
    """A table of the lake has no place in the warehouse; the message names column and reason."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One table of the warehouse.

    Attributes:
        name: as in the lake, ``namespace.table``; the namespace is its schema.
        columns: their names and SQL types.
        key: columns that no two rows have alike.
    """

    name: str
    columns: dict[str, str]
    key: tuple[str, ...]

    @classmethod
    def of(cls, name: str, schema: Schema, key: tuple[str, ...]) -> Self:
        """Return the shape of a table of the lake.

        Raises:
            CannotLoad: a column's type has no counterpart.
        """
        columns = {}
        for field in schema.fields:
            kind = TYPES.get(type(field.field_type))
            if kind is None:
                raise CannotLoad(f"{name}: the column {field.name} is of type {field.field_type}, which has no place")
            columns[field.name] = kind
        return cls(name, columns, key)

    @property
    def identifier(self) -> sql.Identifier:
        """The name, quoted."""
        return sql.Identifier(*self.name.split(".", 1))

    def declared(self) -> sql.Composed:
        """The columns, as ``create table`` lists them."""
        return sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))  # type: ignore[arg-type]  # one of TYPES
            for name, kind in self.columns.items()
        )

    def listed(self) -> sql.Composed:
        """The columns' names."""
        return sql.SQL(", ").join(map(sql.Identifier, self.columns))

    def same(self, staged: str) -> sql.Composed:
        """The condition that a row of a staging table has the key of one of this table."""
        place = self.name.split(".", 1)
        return sql.SQL(" and ").join(
            sql.SQL("{} = {}").format(sql.Identifier(*place, name), sql.Identifier(staged, name)) for name in self.key
        )
