"""What the tasks of ``backtest_scorecard`` do. The DAG file only wires these together, inside its tasks."""

import logging
from typing import Any

from airflow.sdk import get_current_context

from lake.backtest import outcome
from lake.backtest.candidate import choose
from lake.backtest.run import Trial, backtest
from lake.catalog import open_catalog
from lake.connections import masker
from lake.reconcile.parity import read_panels
from lake.reconcile.read import Lake
from lake.reconcile.run import chosen_days, parse_days
from lake.report.names import BACKTEST, safe_run_id
from lake.report.store import CSV, HTML, JSON, OUTCOME, ReportStore
from lake.settings import from_environment
from scorecards import PANEL

log = logging.getLogger(__name__)


def judge_again() -> dict[str, Any]:
    """Pin the lake, judge its orders with the form's scorecard, store the outcome, and return the figures in short."""
    context = get_current_context()
    params, run_id = context["params"], str(context["run_id"])
    settings = from_environment()
    lake = Lake(open_catalog(settings))
    first, last = chosen_days(lake.judged_days(), *parse_days(params["from_day"], params["to_day"]))
    panels = read_panels(lake.archive, PANEL)
    candidate = choose(panels.known, params["candidate_version"], params["candidate_document"], masker().scorecard)
    active = panels.known.panel.active.version
    log.info("trying %s against %s on %s to %s, snapshots %s", candidate.version, active, first, last, lake.snapshots)
    trial = Trial(candidate=candidate, first=first, last=last, mature_days=int(params["mature_days"]))
    result = backtest(trial, lake.archive, panels, run_id, lake.snapshots)
    ReportStore(settings, BACKTEST).put(safe_run_id(run_id), OUTCOME, outcome.dump(result))
    return {
        "candidate": candidate.version,
        "active": active,
        "orders": result.orders,
        "outcome_changes": len(result.changes),
    }


def publish_report() -> dict[str, Any]:
    """Write page, document and list of changes; return where they lie with the figures in short."""
    from lake.backtest.document import changes_csv, document
    from lake.backtest.page import render

    run_id = str(get_current_context()["run_id"])
    store, name = ReportStore(from_environment(), BACKTEST), safe_run_id(run_id)
    found = outcome.load(store.get(name, OUTCOME))
    as_csv = store.put(name, CSV, changes_csv(found))
    as_json = store.put(name, JSON, document(found))
    as_html = store.put(name, HTML, render(found).encode())
    return {
        "run": run_id,
        "report_html": as_html,
        "report_json": as_json,
        "changes_csv": as_csv,
        "candidate": found.candidate.version,
        "active": found.active.version,
        "orders": found.orders,
        "outcome_changes": len(found.changes),
        "live_sha256": found.proof.live,
        "refolded_sha256": found.proof.refolded.sha256,
        "refolded_differs": len(found.proof.refolded.differs),
        "candidate_sha256": found.proof.candidate.sha256,
        "candidate_differs": len(found.proof.candidate.differs),
        "zombies": [piece.code for piece in found.zombies],
    }
