"""Lands one object of a SaaS source: fetch what changed, mask, check, merge, all of it or nothing.

1. The table's newest landing snapshot says up to where the source was seen (the watermark).
2. Fetch everything from the watermark on, minus the overlap, page by page; of each row keep what the flow maps, masked.
3. Turn rows into columns; what has not the fields of the object is set aside, what the filter leaves out is counted.
4. Great Expectations checks the rest; failing rows are set aside with the check that failed.
5. Good rows replace their earlier versions, or all rows of the days that a source restates; rows and new watermark are
   one commit.
"""

import logging
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import msgspec
import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from lake.landing import columns
from lake.landing.columns import at
from lake.landing.connector import Node, Reading, named
from lake.landing.evolve import ensure
from lake.landing.flow import Flow
from lake.landing.http import Endpoint
from lake.landing.merge import merge
from lake.landing.progress import RUN_ID, WATERMARK, Landed, latest
from lake.landing.quarantine import Rejected, set_aside
from lake.landing.restate import restate
from lake.masking import Masker
from lake.redaction import redacted, redacted_values
from lake.tables import TableSpec

log = logging.getLogger(__name__)

PROGRESS_S = 5.0


def land_flow(
    catalog: Catalog, flow: Flow, endpoint: Endpoint, mask: Masker, run_id: str, *, everything: bool = False
) -> Landed:
    """Land what changed since the last time, or ``everything``.

    Raises:
        BadCredentials, SourceRefused, SourceUnavailable: see :mod:`lake.landing.http`.
        BadFlow: a check of the flow cannot be evaluated, or its columns do not fit the table that there is.
        NoConnector: the flow's connector is not there.
        Conflict: another landing of this object committed meanwhile; running again is safe.
    """
    begun = monotonic()
    spec = columns.table_of(flow)
    table = ensure(catalog, spec)
    seen = latest(table, WATERMARK).get("")
    since = None if everything or seen is None else _since(flow, datetime.fromisoformat(seen))
    nodes = _fetch(flow, endpoint, mask, since)
    rows, rejected = _rows(flow, nodes)
    interesting = list(columns.wanted(flow, rows))
    good, failed = _checked(flow, spec, interesting)
    quarantined = set_aside(catalog, spec, rejected + failed, run_id)
    reached = max((row[flow.cursor.field] for row in good), default=None)
    landed = _merge(table, flow, good, _later(seen, reached), run_id, since)
    if rejected or failed:
        log.warning(
            "%s: %d of %d rows set aside, %d of them for the first time; see quarantine.%s",
            flow.table,
            len(rejected) + len(failed),
            len(nodes),
            quarantined,
            spec.identifier[1],
        )
    return Landed(flow.table, landed, quarantined, round(monotonic() - begun, 3), len(rows) - len(interesting))


def _since(flow: Flow, watermark: datetime) -> datetime:
    """From which moment on rows are fetched, given up to where the source was seen."""
    if flow.restated is None:
        return watermark - timedelta(seconds=flow.cursor.overlap_seconds)
    midnight = watermark.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=flow.restated.days - 1)


def _fetch(flow: Flow, endpoint: Endpoint, mask: Masker, since: datetime | None) -> list[Node]:
    """The latest version of every row that the source shows, with what the flow maps of it, masked."""
    log.info(
        "%s: fetching %s", flow.table, "everything" if since is None else f"what changed since {since.isoformat()}"
    )
    source = named(flow.connector)
    paths = tuple(dict.fromkeys((source.id_path, *flow.paths)))
    reading = Reading(
        entity=flow.entity,
        paths=paths,
        page_size=flow.page_size,
        cursor=flow.columns[flow.cursor.field].from_,
        since=since,
        search=flow.search,
    )
    by_id: dict[object, Node] = {}
    reported = monotonic()
    with source(endpoint, flow.endpoint, flow.requests_per_second) as connector:
        for page in connector.read_pages(reading):
            for whole in page:
                node = columns.only(whole, paths)
                _mask(node, flow, mask)
                key = at(node, source.id_path) or len(by_id)
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
        holder = at(node, ".".join(parents)) if parents else node
        if not isinstance(holder, dict) or holder.get(last) is None:
            continue
        value = holder[last]
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        holder[last] = mask.as_kind(kind, text)


def _rows(flow: Flow, nodes: list[Node]) -> tuple[list[dict[str, Any]], list[Rejected]]:
    """Every row with its source node under ``""``, and the nodes that are no rows."""
    rows, rejected = [], []
    for node in nodes:
        try:
            rows.append(columns.row(flow, node) | {"": node})
        except ValueError as error:
            reason = f"{flow.table}: {error}"
            rejected.append(_rejected(flow, node, None, reason, "has the fields of the object"))
    return rows, rejected


def _rejected(flow: Flow, node: Node, row: dict[str, Any] | None, reason: str, expectation: str) -> Rejected:
    row_id = (row or {}).get(flow.row_id) or at(node, named(flow.connector).id_path)
    return Rejected(
        row_id=None if row_id is None else redacted(str(row_id)),
        day=None if row is None else row["day"],
        reason=redacted(reason),
        expectation=expectation,
        origin=f"{flow.connection}:{flow.entity}",
        row=msgspec.json.encode(redacted_values(node)).decode(),
    )


def _checked(flow: Flow, spec: TableSpec, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Rejected]]:
    if not rows:
        return [], []
    from lake.quality.expectations import failing  # takes seconds to import: not when nothing came

    # Before the checks every column may be empty; afterwards the table's own schema says which may.
    lenient = pa.schema([field.with_nullable(True) for field in spec.schema.as_arrow()])
    failed = failing(pa.Table.from_pylist(rows, schema=lenient), flow.checks, flow.table)
    required = [field.name for field in spec.schema.fields if field.required]
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


def _merge(
    table: Table, flow: Flow, good: list[dict[str, Any]], watermark: str | None, run_id: str, since: datetime | None
) -> int:
    properties = {RUN_ID: run_id} if watermark is None else {RUN_ID: run_id, WATERMARK: watermark}
    rows = pa.Table.from_pylist(good, schema=table.schema().as_arrow())
    if flow.restated is not None:
        return restate(table, rows, flow.row_id, None if since is None else since.date(), properties)
    return merge(table, rows, flow.row_id, properties)
