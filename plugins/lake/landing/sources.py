"""Lands one object of a SaaS source: fetch what changed, mask, check, merge, all of it or nothing.

1. The table's newest landing snapshot says up to where the source was seen (the watermark).
2. Fetch everything from the watermark on, minus the overlap, page by page; mask each row as it comes.
3. Turn rows into columns; what has not the fields of the object is set aside.
4. Great Expectations checks the rest; failing rows are set aside with the check that failed.
5. Good rows replace their earlier versions; rows and new watermark are one commit.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import msgspec
import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from lake import tables
from lake.landing import shopify, stripe
from lake.landing.flows import Flow
from lake.landing.http import Endpoint
from lake.landing.merge import merge
from lake.landing.progress import RUN_ID, WATERMARK, Landed, latest
from lake.landing.quarantine import Rejected, set_aside
from lake.masking import Masker

log = logging.getLogger(__name__)

PROGRESS_S = 5.0
type Node = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an API is read: page by page, and row by row into the columns of the table."""

    pages: Callable[[Flow, Endpoint, datetime | None], Iterator[list[Node]]]
    row: Callable[[Node], dict[str, Any]]


DIALECTS = {
    "shopify-orders": Dialect(shopify.pages, shopify.row),
    "stripe-charges": Dialect(stripe.pages, stripe.row),
}


def land_flow(
    catalog: Catalog, flow: Flow, endpoint: Endpoint, mask: Masker, run_id: str, *, everything: bool = False
) -> Landed:
    """Land what changed since the last time, or ``everything``.

    Raises:
        BadCredentials, SourceRefused, SourceUnavailable: see :mod:`lake.landing.http`.
        BadFlow: a check of the flow cannot be evaluated.
        Conflict: another landing of this object committed meanwhile; running again is safe.
    """
    begun = monotonic()
    table = tables.ensure(catalog, flow.spec)
    seen = latest(table, WATERMARK).get("")
    watermark = None if everything or seen is None else datetime.fromisoformat(seen)
    nodes = _fetch(flow, endpoint, mask, watermark)
    rows, rejected = _rows(flow, nodes)
    good, failed = _checked(flow, rows)
    quarantined = set_aside(catalog, flow.spec, rejected + failed, run_id)
    reached = max((row[flow.cursor.field] for row in good), default=None)
    landed = _merge(table, flow, good, _later(seen, reached), run_id)
    if rejected or failed:
        log.warning(
            "%s: %d of %d rows set aside, %d of them for the first time; see quarantine.%s",
            flow.table,
            len(rejected) + len(failed),
            len(nodes),
            quarantined,
            flow.spec.identifier[1],
        )
    return Landed(flow.table, landed, quarantined, round(monotonic() - begun, 3))


def _fetch(flow: Flow, endpoint: Endpoint, mask: Masker, watermark: datetime | None) -> list[Node]:
    """The latest version of every row that the source shows, masked."""
    since = None if watermark is None else watermark - timedelta(seconds=flow.cursor.overlap_seconds)
    log.info(
        "%s: fetching %s", flow.table, "everything" if since is None else f"what changed since {since.isoformat()}"
    )
    by_id: dict[object, Node] = {}
    reported = monotonic()
    for page in DIALECTS[flow.dialect].pages(flow, endpoint, since):
        for node in page:
            _mask(node, flow, mask)
            key = node.get("id") or len(by_id)
            # Pages shift while the source changes: of two versions the later one in the source's order counts.
            by_id.pop(key, None)
            by_id[key] = node
        if monotonic() - reported > PROGRESS_S:
            reported = monotonic()
            log.info("%s: %d rows fetched", flow.table, len(by_id))
    return list(by_id.values())


def _mask(node: Node, flow: Flow, mask: Masker) -> None:
    for path, kind in flow.mask.items():
        *parents, last = path.split(".")
        holder: Any = node
        for name in parents:
            holder = holder.get(name) if isinstance(holder, dict) else None
        if not isinstance(holder, dict) or holder.get(last) is None:
            continue
        value = holder[last]
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        holder[last] = mask.email(text) if kind == "email" else mask(text)


def _rows(flow: Flow, nodes: list[Node]) -> tuple[list[dict[str, Any]], list[Rejected]]:
    """Every row with its source node under ``""``, and the nodes that are no rows."""
    rows, rejected = [], []
    to_row = DIALECTS[flow.dialect].row
    for node in nodes:
        try:
            row = to_row(node)
            created = row["created_at"].astimezone(UTC)
        except (ValueError, OverflowError) as error:
            reason = f"{flow.table}: {error}"
            rejected.append(_rejected(flow, node, None, reason, "has the fields of the object"))
            continue
        rows.append(row | {"created_at": created, "day": created.date(), "": node})
    return rows, rejected


def _rejected(flow: Flow, node: Node, row: dict[str, Any] | None, reason: str, expectation: str) -> Rejected:
    row_id = (row or {}).get(flow.row_id) or node.get("id")
    return Rejected(
        row_id=None if row_id is None else str(row_id),
        day=None if row is None else row["day"],
        reason=reason,
        expectation=expectation,
        origin=f"{flow.connection}:{flow.endpoint}",
        row=msgspec.json.encode(node).decode(),
    )


def _checked(flow: Flow, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Rejected]]:
    if not rows:
        return [], []
    from lake.quality.expectations import failing  # takes seconds to import: not when nothing came

    # Before the checks every column may be empty; afterwards the table's own schema says which may.
    lenient = pa.schema([field.with_nullable(True) for field in flow.spec.schema.as_arrow()])
    failed = failing(pa.Table.from_pylist(rows, schema=lenient), flow.checks, flow.table)
    required = [field.name for field in flow.spec.schema.fields if field.required]
    good, rejected = [], []
    for number, row in enumerate(rows):
        empty = [name for name in required if row[name] is None]
        checks = failed.get(number)
        if checks:
            reason = "; ".join(check.because for check in checks)
            rejected.append(_rejected(flow, row[""], row, reason, ", ".join(check.expect for check in checks)))
        elif empty:
            rejected.append(_rejected(flow, row[""], row, f"{', '.join(empty)} is empty", "fills the required columns"))
        else:
            good.append(row)
    return good, rejected


def _later(seen: str | None, reached: datetime | None) -> str | None:
    if reached is None:
        return seen
    text = reached.astimezone(UTC).isoformat()
    return text if seen is None else max(seen, text, key=datetime.fromisoformat)


def _merge(table: Table, flow: Flow, good: list[dict[str, Any]], watermark: str | None, run_id: str) -> int:
    properties = {RUN_ID: run_id} if watermark is None else {RUN_ID: run_id, WATERMARK: watermark}
    return merge(table, pa.Table.from_pylist(good, schema=flow.spec.schema.as_arrow()), flow.row_id, properties)
