"""What the tasks of ``train_scorecard`` do. The DAG file only wires these together, inside its tasks."""

import logging
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
from airflow.sdk import get_current_context

from lake import policies
from lake.catalog import open_catalog
from lake.connections import kafka
from lake.learn.archive import known
from lake.learn.card import Capacity
from lake.learn.training import CannotLearn, Training, Wish, train
from lake.reconcile.parity import read_panels
from lake.reconcile.read import Lake
from lake.reconcile.run import parse_days
from lake.report.names import TRAIN, safe_run_id
from lake.report.store import HTML, JSON, OUTCOME, ReportStore
from lake.settings import from_environment
from order_fraud.events import Activation
from order_fraud.policies import Policies
from order_fraud.policy import parse
from order_fraud.scorecard import Scorecard
from scorecards import PANEL

log = logging.getLogger(__name__)

MOST_SHADOWS = 4
"""On trial at once; see :class:`order_fraud.events.Activation`."""


def learn() -> dict[str, Any]:
    """Pin the lake, learn, measure, store the outcome, and return the figures in short."""
    context = get_current_context()
    params, run_id = context["params"], str(context["run_id"])
    settings = from_environment()
    lake = Lake(open_catalog(settings))
    first, last = parse_days(params["from_day"], params["to_day"])
    mature_days = int(params["mature_days"])
    found = known(lake.archive, first, last, mature_days)
    champion = read_panels(lake.archive, PANEL).known.panel.active
    wish = Wish(owner=params["owner"], reason=params["reason"], capacity=_capacity(params))
    result = train(found, champion, wish, run_id, lake.snapshots, mature_days)
    ReportStore(settings, TRAIN).put(safe_run_id(run_id), OUTCOME, msgspec.json.encode(result))
    version = parse(result.document.encode()).version
    log.info("learned %s from %d orders; %s judges now", version, len(found.fraud), champion.version)
    return {
        "version": version,
        "champion": champion.version,
        "orders": len(found.fraud),
        "fraud": sum(found.fraud),
        "gain": {one.name: one.gain.value for one in result.measures},
    }


def put_on_trial() -> dict[str, Any]:
    """Publish what was learned, and put it on trial beside the scorecard that judges now.

    Returns:
        The version, whether it is new, who judges now, which are on trial, and which no longer is, to make room.
    """
    context = get_current_context()
    bootstrap, result = kafka("policies"), _stored(str(context["run_id"]))
    scorecard = parse(result.document.encode())
    new = policies.publish(bootstrap, scorecard, result.made_at)
    done = policies.activate(bootstrap, partial(on_trial, scorecard), datetime.now(UTC))
    shadows = _trials(done.after)
    gone = [version for version in _trials(done.before) if version not in shadows]
    for version in gone:
        log.warning("%s is no longer on trial: %d can be at a time, and it was the oldest", version, MOST_SHADOWS)
    active = done.after.panel.active.version
    return {"version": scorecard.version, "published": new, "active": active, "shadows": shadows, "made_room": gone}


def on_trial(scorecard: Scorecard, known: Policies) -> Activation | None:
    """Return the activation that puts a scorecard on trial beside who judges now; None if it is there already.

    If there are as many trials as there can be, the oldest makes room: shadows stand in the order in which they came.
    """
    active, shadows = known.panel.active.version, _trials(known)
    if scorecard.version in (active, *shadows):
        return None
    kept = shadows[-(MOST_SHADOWS - 1) :]
    instead = "".join(f" in place of {version}" for version in shadows if version not in kept)
    return Activation(
        active=active,
        shadows=(*kept, scorecard.version),
        owner=scorecard.owner,
        reason=f"{scorecard.version} goes on trial{instead}: {scorecard.reason}"[:2000],
    )


def _trials(known: Policies) -> list[str]:
    return [shadow.version for shadow in known.panel.shadows]


def publish_report() -> dict[str, Any]:
    """Write page and document; return where they lie."""
    from lake.learn.page import document, render

    run_id = str(get_current_context()["run_id"])
    store, name, result = ReportStore(from_environment(), TRAIN), safe_run_id(run_id), _stored(run_id)
    as_json = store.put(name, JSON, document(result))
    as_html = store.put(name, HTML, render(result).encode())
    return {"run": run_id, "report_html": as_html, "report_json": as_json}


def _stored(run_id: str) -> Training:
    return msgspec.json.decode(ReportStore(from_environment(), TRAIN).get(safe_run_id(run_id), OUTCOME), type=Training)


def _capacity(params: Any) -> Capacity:
    review, block = float(params["review_percent"]) / 100, float(params["block_percent"]) / 100
    if block > review:
        raise CannotLearn(f"block_percent {block:.2%} exceeds review_percent {review:.2%}: what is blocked is held")
    return Capacity(review=review, block=block)
