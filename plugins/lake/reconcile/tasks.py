"""What the tasks of ``reconcile_orders`` do. The DAG file only wires these together, inside its tasks."""

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from airflow.sdk import get_current_context

from lake import tables
from lake.catalog import open_catalog
from lake.connections import kafka
from lake.reconcile import run
from lake.reconcile.allowances import of_params
from lake.reconcile.sources import chosen
from lake.report.names import RECONCILE, safe_run_id
from lake.settings import from_environment

log = logging.getLogger(__name__)

_TOPICS = tuple(spec.name for spec in tables.TOPICS)
"""No run can do without the stream."""


def check_sources(flows: Path) -> dict[str, str]:
    """Judge what has landed, write the page on its quality, and return the words on each object.

    The page is written before the run may stop, since that is when it is wanted most.
    """
    from lake.quality import gate, page, profile
    from lake.report.store import QUALITY, ReportStore

    params = get_current_context()["params"]
    first, last = _days()
    settings = from_environment()
    catalog = open_catalog(settings)
    needed = gate.judge(catalog, flows, first, last)
    shown = profile.profiles(catalog, flows, [*needed, *gate.judge_others(catalog, flows, first, last)], first, last)
    run_id = str(get_current_context()["run_id"])
    text = page.render(shown, run_id, first, last, [result.object for result in needed])
    address = ReportStore(settings, RECONCILE).put(safe_run_id(run_id), QUALITY, text.encode())
    log.info("data quality: %s", address)
    sources = chosen(params.get("sources"))
    asked = [one for one in needed if sources is None or one.object in (*sources, *_TOPICS)]
    percent = params.get("good_percent")
    gate.require(asked if percent is None else [replace(one, threshold=percent / 100) for one in asked])
    return {result.object: str(result) for result in needed}


def reconcile() -> dict[str, Any]:
    """Re-fold and match; return the figures in short. The outcome itself lies on S3."""
    context = get_current_context()
    params = context["params"]
    first, last = _days()
    outcome = run.reconcile(
        str(context["run_id"]),
        first,
        last,
        of_params(params),
        dry_run=bool(params["dry_run"]),
        repeat=params.get("repeat_run"),
        sources=chosen(params.get("sources")),
        full_fold=bool(params.get("full_fold")),
    )
    return {
        "from_day": outcome.first.isoformat(),
        "to_day": outcome.last.isoformat(),
        "orders": outcome.summary.orders,
        "findings": outcome.counts,
    }


def correct() -> dict[str, int]:
    """Emit what the topic does not hold yet, record the findings, and return what was emitted."""
    from lake.reconcile import ledger
    from lake.reconcile.corrections import emit

    catalog = open_catalog()
    outcome = run.stored(str(get_current_context()["run_id"]))
    already = ledger.emitted_before(catalog, outcome)
    emitted = emit(kafka("reconcile"), outcome.run_id, outcome.differences, already, dry_run=outcome.dry_run)
    if not outcome.dry_run:
        recorded = ledger.record(catalog, outcome)
        log.info("findings table: %s", recorded)
        emitted = replace(emitted, closed=recorded.closed)
    return asdict(emitted)


def publish_report(emitted: dict[str, int]) -> dict[str, Any]:
    """Write page and document, and return where they lie with the figures in short."""
    from lake.reconcile.corrections import Emitted
    from lake.report.document import document
    from lake.report.page import render
    from lake.report.store import HTML, JSON, ReportStore

    outcome, sent = run.stored(str(get_current_context()["run_id"])), Emitted(**emitted)
    store, name = ReportStore(from_environment(), RECONCILE), safe_run_id(outcome.run_id)
    as_json = store.put(name, JSON, document(outcome, sent))
    as_html = store.put(name, HTML, render(outcome, sent).encode())
    return {
        "run": outcome.run_id,
        "report_html": as_html,
        "report_json": as_json,
        "orders": outcome.summary.orders,
        "findings": outcome.counts,
        "findings_emitted": sent.findings,
        "corrections": 0 if outcome.dry_run else sent.corrections,
        "not_reproducible": outcome.not_reproducible,
    }


def _days() -> tuple[Any, Any]:
    params = get_current_context()["params"]
    return run.parse_days(params["from_day"], params["to_day"])
