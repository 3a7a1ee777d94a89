"""The ledger: the table ``settlement.steps``, a row per word about a step of an order, only ever added to.

Rows of one order are numbered. Who writes has read before, and a commit fails if the table has changed since (see
:mod:`lake.landing.progress`); after such a conflict the rows that somebody else has written meanwhile are left out.
So a word stands there once, even if a task that was taken for dead still writes.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import polars as pl
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import AlwaysTrue, BooleanExpression, In
from pyiceberg.table import Table
from sqlalchemy.exc import OperationalError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from lake import tables
from lake.landing.progress import RUN_ID, Conflict, committing
from lake.settle.case import Case, Line
from order_fraud.settlement import Entry, is_same

MOST_FILES = 60
"""Each commit adds a file; beyond so many the table is written anew."""

_again = retry(
    retry=retry_if_exception_type((Conflict, OperationalError)),  # the latter: SQLite is locked
    stop=stop_after_attempt(12),
    wait=wait_random_exponential(multiplier=0.05, max=2),
    reraise=True,
)


class Ledger:
    """The table, in the name of one run."""

    def __init__(self, catalog: Catalog, run_id: str) -> None:
        """Open the table; it is made if there is none."""
        self._catalog = catalog
        self._run_id = run_id
        self._open()

    def read(self, order_ids: Iterable[str]) -> dict[str, list[Entry]]:
        """Return the entries of orders, by order id; an order without any has an empty list."""
        wanted = sorted(set(order_ids))
        found: dict[str, list[Entry]] = {order_id: [] for order_id in wanted}
        if wanted:
            for row in self._rows(self._open(), In("order_id", wanted)):
                found[row["order_id"]].append(_entry(row))
        return found

    def of_customers(self, customer_ids: Iterable[str]) -> dict[str, dict[str, list[Entry]]]:
        """Return the entries of all orders that these customers have in the ledger, by customer id and order id."""
        found: dict[str, dict[str, list[Entry]]] = {customer_id: defaultdict(list) for customer_id in customer_ids}
        if found:
            for row in self._rows(self._open(), In("customer_id", sorted(found))):
                found[row["customer_id"]][row["order_id"]].append(_entry(row))
        return found

    def everything(self) -> dict[str, tuple[Case, list[Entry]]]:
        """Return every order in the ledger with its entries, by order id."""
        found: dict[str, tuple[Case, list[Entry]]] = {}
        for row in self._rows(self._open(), AlwaysTrue()):
            case = Case(row["order_id"], row["customer_id"], row["known_at"], row["cause"])
            found.setdefault(case.order_id, (case, []))[1].append(_entry(row))
        return found

    @_again
    def add(self, lines: Sequence[Line]) -> None:
        """Append the words that do not stand there yet, in one commit.

        Raises:
            Conflict: other runs kept writing to the table.
        """
        if not lines:
            return
        table = self._open()
        there: dict[str, list[Entry]] = defaultdict(list)
        for row in self._rows(table, In("order_id", sorted({line.case.order_id for line in lines}))):
            there[row["order_id"]].append(_entry(row))
        rows = []
        now = datetime.now(UTC)
        for line in lines:
            entries = there[line.case.order_id]
            if any(is_same(entry, line.entry) for entry in entries):
                continue
            rows.append(self._row(line, len(entries), now))
            entries.append(line.entry)
        if rows:
            schema = table.schema().as_arrow()
            with committing(table):
                table.append(pl.DataFrame(rows).to_arrow().cast(schema), {RUN_ID: self._run_id})

    @_again
    def tidy(self) -> bool:
        """Write the table anew if it has too many files, and say whether it had."""
        table = self._open()
        if sum(1 for _ in table.scan().plan_files()) <= MOST_FILES:
            return False
        rows = pl.DataFrame(pl.from_arrow(table.scan().to_arrow())).sort("day", "order_id", "number")
        with committing(table):
            table.overwrite(rows.to_arrow().cast(table.schema().as_arrow()), snapshot_properties={RUN_ID: self._run_id})
        return True

    def _open(self) -> Table:
        return tables.ensure(self._catalog, tables.SETTLEMENT)

    def _rows(self, table: Table, which: BooleanExpression) -> list[dict[str, object]]:
        frame = pl.DataFrame(pl.from_arrow(table.scan(row_filter=which).to_arrow()))
        return frame.sort("order_id", "number").to_dicts()

    def _row(self, line: Line, number: int, now: datetime) -> dict[str, object]:
        entry = line.entry
        return {
            "order_id": line.case.order_id,
            "customer_id": line.case.customer_id,
            "number": number,
            "word": entry.word,
            "step": entry.step,
            "undo": entry.undo,
            "key": entry.key,
            "evidence": msgspec.json.encode(dict(entry.evidence), order="sorted").decode(),
            "cause": line.case.cause,
            "known_at": line.case.known_at,
            "day": line.case.known_at.date(),
            "at": now,
            "run_id": self._run_id,
        }


def _entry(row: Mapping[str, object]) -> Entry:
    evidence = msgspec.json.decode(str(row["evidence"]), type=dict[str, str])
    return Entry(row["word"], row["step"], bool(row["undo"]), row["key"], evidence)  # type: ignore[arg-type]  # as written
