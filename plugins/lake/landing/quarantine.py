"""Sets failing rows aside with their reason. The same failure is kept once, however often its row is seen."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime

import msgspec
import pyarrow as pa
from pyiceberg.catalog import Catalog

from lake import tables
from lake.landing.progress import RUN_ID, committing, retrying_conflicts
from lake.tables import TableSpec


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A row that does not enter its table.

    Attributes:
        row_id: the row's own id, None where it has none.
        day: its UTC business day, None where it has none.
        reason: what is wrong, in words that hold no personal data.
        expectation: which check it failed.
        origin: where it came from, precise enough to look it up.
        row: the row as masked JSON.
    """

    row_id: str | None
    day: date | None
    reason: str
    expectation: str
    origin: str
    row: str

    @property
    def quarantine_id(self) -> str:
        """The same for the same failure of the same row."""
        parts = (self.origin, self.row_id or "", self.expectation, self.row)
        return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def set_aside(catalog: Catalog, source: TableSpec, rejected: Sequence[Rejected], run_id: str) -> int:
    """Append the rows that the quarantine of ``source`` does not hold yet, and return how many these were.

    Raises:
        Conflict: other runs kept writing to the same quarantine.
    """
    if not rejected:
        return 0
    by_id = {row.quarantine_id: row for row in rejected}
    return retrying_conflicts(lambda: _append(catalog, source, by_id, run_id))


def _append(catalog: Catalog, source: TableSpec, by_id: dict[str, Rejected], run_id: str) -> int:
    table = tables.ensure(catalog, tables.quarantine(source))
    known = set(table.scan(selected_fields=("quarantine_id",)).to_arrow()["quarantine_id"].to_pylist())
    new = {key: row for key, row in by_id.items() if key not in known}
    if not new:
        return 0
    now = datetime.now(UTC)
    rows = [
        {"quarantine_id": key, **msgspec.structs.asdict(row), "landed_at": now, "run_id": run_id}
        for key, row in new.items()
    ]
    with committing(table):
        table.append(pa.Table.from_pylist(rows, schema=table.schema().as_arrow()), {RUN_ID: run_id})
    return len(new)
