"""What the tasks of ``activate_scorecard`` do. The DAG file only wires these together, inside its tasks."""

import logging
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from airflow.sdk import get_current_context

from lake import policies
from lake.activate.difference import headline, request
from lake.backtest.run import Trial, backtest
from lake.catalog import open_catalog
from lake.connections import kafka, masker
from lake.errors import Hopeless
from lake.reconcile.parity import read_panels
from lake.reconcile.read import Lake
from lake.settings import from_environment
from order_fraud.events import Activation
from order_fraud.judge import Judge
from order_fraud.policies import Policies
from order_fraud.policy_diff import differences
from scorecards import PANEL

log = logging.getLogger(__name__)


class BadVersion(Hopeless):
    """The form names no scorecard that can be activated; the message says which there are."""


class NotLanded(Hopeless):
    """The lake does not know yet who judges now, so that nothing can be compared with it."""


class Overtaken(Hopeless):
    """While a person was thinking, another scorecard was activated: what was approved is not what would happen."""


def compare() -> dict[str, Any]:
    """Judge the orders of the last days with the new scorecard, and return the question that a person is asked."""
    context = get_current_context()
    params = context["params"]
    settings = from_environment()
    published = policies.read(kafka("policies"))
    version = chosen(published, params["version"])
    active = published.panel.active.version
    lake = Lake(open_catalog(settings))
    panels = read_panels(lake.archive, PANEL)
    if panels.known.panel.active.version != active:
        raise NotLanded(
            f"scorecard {active} judges now, but in the lake it is still {panels.known.panel.active.version}: run "
            "land_events"
        )
    earliest, last = lake.judged_days()
    first = max(earliest, last - timedelta(days=int(params["days"]) - 1))
    candidate = Judge(masker().scorecard(published.scorecards[version]))
    outcome = backtest(
        Trial(candidate=candidate, first=first, last=last, mature_days=int(params["mature_days"])),
        lake.archive,
        panels,
        str(context["run_id"]),
        lake.snapshots,
    )
    asked = request(outcome, differences(panels.known.panel.active.scorecard, candidate.scorecard))
    log.info("%s\n%s", asked.subject, asked.body)
    return {
        "version": version,
        "active": active,
        "subject": asked.subject,
        "body": asked.body,
        "effect": headline(outcome),
        "orders": outcome.orders,
        "orders_changed": len(outcome.changes),
    }


def activate(compared: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Let the approved scorecard judge; the other trials go on.

    Args:
        compared: what :func:`compare` returned.
        answer: what the operator that asked returned.
    """
    params = get_current_context()["params"]
    by = (answer.get("responded_by_user") or {}).get("name") or "a person"
    reason = f"{params['reason']} Approved by {by}: {compared['effect']}"[:2000]
    choose = partial(approved, compared["version"], compared["active"], params["owner"], reason)
    panel = policies.activate(kafka("policies"), choose, datetime.now(UTC)).after.panel
    return {"active": panel.active.version, "shadows": [shadow.version for shadow in panel.shadows]}


def approved(version: str, compared_with: str, owner: str, reason: str, known: Policies) -> Activation | None:
    """Return the activation of what was approved; the other trials go on. None if an earlier attempt has done it.

    Raises:
        Overtaken: neither the version nor the one that it was compared with judges now.
    """
    active = known.panel.active.version
    if active == version:
        return None
    if active != compared_with:
        raise Overtaken(
            f"scorecard {active} judges by now, and {version} was compared with {compared_with}: run "
            "activate_scorecard again"
        )
    shadows = tuple(shadow.version for shadow in known.panel.shadows if shadow.version != version)
    return Activation(active=version, shadows=shadows, owner=owner, reason=reason)


def tell(compared: dict[str, Any], activated: dict[str, Any] | None, by: str | None) -> str:
    """Return what came of it, in a sentence; also in the task's log.

    Args:
        compared: what :func:`compare` returned.
        activated: what :func:`activate` returned, None if it was skipped.
        by: who answered, None if nobody did.
    """
    version, active = compared["version"], compared["active"]
    if activated is not None:
        said = f"Scorecard {version} judges now, in place of {active}. {compared['effect']}"
    elif by:
        said = f"Rejected by {by}: scorecard {active} goes on judging, nothing changed."
    else:
        said = f"Nobody answered in time: scorecard {active} goes on judging, nothing changed."
    log.info(said)
    return said


def chosen(published: Policies, version: str | None) -> str:
    """Return the version to activate: the form's, or the only one on trial.

    Raises:
        BadVersion: nobody published it, it judges already, or the form names none and there is not exactly one trial.
    """
    active, trials = published.panel.active.version, [shadow.version for shadow in published.panel.shadows]
    wanted = (version or "").strip()
    if not wanted:
        if len(trials) != 1:
            on_trial = f"{', '.join(trials)} are on trial" if trials else "none is on trial"
            raise BadVersion(f"the form names no version and {on_trial}: name one of {', '.join(published.scorecards)}")
        return trials[0]
    if wanted == active:
        raise BadVersion(f"scorecard {wanted} judges already")
    if wanted not in published.scorecards:
        raise BadVersion(f"version {wanted!r} was never published; there are {', '.join(published.scorecards)}")
    return wanted
