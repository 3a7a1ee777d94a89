"""The DAGs that train and activate a scorecard, by Airflow itself: real broker, store, and operator that asks a person.

The person is Airflow's own code: the function behind the *Required Actions* page, or the scheduler's sweep of requests
that nobody answered.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lake import policies
from order_fraud.events import ChargebackOpened, NewCustomer, NewOrder
from producers import book as books
from producers import patterns
from scorecards import HAND_SET
from tests.lake.conftest import ROOT, running_stack
from tests.lake.reconcile_world import START, World, feedback, order
from tests.lake.test_backtest_dag import play
from tests.lake.test_landing_dags import RUN, Airflow

PERSON = """
import sys, threading, time
from datetime import timedelta
from sqlalchemy import select
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState

def answer(how):
    while True:
        time.sleep(0.5)
        with create_session() as session:
            asked = session.scalars(
                select(TaskInstance).where(TaskInstance.state == TaskInstanceState.AWAITING_INPUT)
            ).first()
            if asked is None:
                continue
            detail = session.get(HITLDetail, asked.id)
            print("ASKED" + __import__("json").dumps({"subject": detail.subject, "body": detail.body,
                  "defaults": detail.defaults, "waits_s": (asked.trigger_timeout - detail.created_at).total_seconds()}))
            if how == "nobody":
                from airflow.jobs.job import Job
                from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
                asked.trigger_timeout = detail.created_at - timedelta(seconds=1)
                session.commit()
                SchedulerJobRunner(Job()).check_awaiting_input_timeouts(session=session)
            else:
                from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
                from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
                from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail
                update_hitl_detail(
                    asked.dag_id, asked.run_id, asked.task_id,
                    UpdateHITLDetailPayload(chosen_options=[how], params_input={}),
                    SimpleAuthManagerUser(username="ann", role="admin"), session,
                )
            return

# Before there are two threads: the first query of one imports all models under a lock, which deadlocks with the other's
# imports.
from sqlalchemy.orm import configure_mappers
configure_mappers()
threading.Thread(target=answer, args=(sys.argv.pop(),), daemon=True).start()
"""


class Asked(Airflow):
    """Airflow with a person at hand, and time for three trainings on a busy machine."""

    patience_s = 900

    def ask(self, form: dict[str, Any], how: str) -> tuple[dict[str, Any], dict[str, Any], str]:
        """Run ``activate_scorecard`` and answer; return the run, what the person was asked, and the log."""
        import sys

        out, log = self._call(
            sys.executable, "-c", PERSON + RUN, "activate_scorecard", str(ROOT / "dags"), json.dumps(form), how
        )
        (run,) = (json.loads(line[5:]) for line in out.splitlines() if line.startswith("FOUND"))
        (asked,) = (json.loads(line[5:]) for line in out.splitlines() if line.startswith("ASKED"))
        return run, asked, log


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A broker that no other test has written to."""
    with running_stack(tmp_path_factory.mktemp("stack")) as environment:
        yield environment


@pytest.fixture(scope="module")
def airflow(own_stack: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Asked:
    return Asked(own_stack, tmp_path_factory.mktemp("airflow"))


def seeded() -> World:
    book = patterns.generate(1_500, seed=3)
    truth = {sale.order_id: sale.row.truth for sale in book.sales}
    incoming = [event for _, event in books.events(book) if isinstance(event, NewCustomer | NewOrder)]
    word = [
        feedback(ChargebackOpened, event, event.time + timedelta(days=7))
        for event in incoming
        if isinstance(event, NewOrder) and truth[event.subject] != "normal"
    ]
    refused = order("far-1", "far", datetime(2099, 12, 31, tzinfo=UTC))  # it must not be what *the last days* are
    return World().stream([*sorted([*incoming, *word], key=lambda event: event.time), refused])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_scorecard_is_learned_tried_rejected_forgotten_and_approved(
    airflow: Asked, own_stack: dict[str, str]
) -> None:
    bootstrap = own_stack["COUNTERSIGN_KAFKA"]
    play(seeded(), bootstrap)
    (landed,), _ = airflow.run("land_events")
    assert landed["state"] == "success"

    # `dag.test` leaves the params of a run on the DAG object: the next run of this process has to say them again.
    few_days, all_days = {"mature_days": 20, "to_day": "2015-01-10"}, {"mature_days": 20, "to_day": None}
    (few, learned, again), log = airflow.run("train_scorecard", few_days, all_days, all_days)
    assert (few["state"], few["tasks"]["learn"]["try"]) == ("failed", 1)
    assert "orders are known as fraud" in log
    assert learned["state"] == again["state"] == "success", log[-6000:]
    version = learned["tasks"]["learn"]["returned"]["version"]
    assert learned["tasks"]["put_on_trial"]["returned"] == {
        "version": version, "published": True, "active": "1", "shadows": [version], "made_room": [],
    }  # fmt: skip
    assert again["tasks"]["put_on_trial"]["returned"]["published"] is False, "the same orders, the same scorecard"
    assert learned["tasks"]["publish_report"]["returned"]["report_html"].endswith("/report.html")
    panel = policies.read(bootstrap).panel
    assert (panel.active.version, [one.version for one in panel.shadows]) == ("1", [version])

    (landed,), _ = airflow.run("land_events")
    assert landed["state"] == "success"
    for how, words in (("Reject", "Rejected by ann"), ("nobody", "Nobody answered in time")):
        run, asked, log = airflow.ask({}, how)
        assert run["state"] == "success", log[-6000:]
        assert run["tasks"]["activate"]["state"] == "skipped"
        said = run["tasks"]["tell"]["returned"]
        assert said == f"{words}: scorecard 1 goes on judging, nothing changed."
        assert said in log
        assert asked["subject"].startswith(f"Let scorecard {version} judge instead of 1? ")
        assert "USD" in asked["subject"]
        assert "stopped" in asked["body"]
        assert asked["defaults"] == ["Reject"]
        assert asked["waits_s"] == pytest.approx(3 * 86_400, abs=120)
        assert policies.read(bootstrap).panel.active.version == "1"

    policies.publish(bootstrap, HAND_SET, START)
    run, asked, log = airflow.ask({"version": version, "owner": "bob", "reason": "Better."}, "Approve")
    assert {task: one["state"] for task, one in run["tasks"].items()} == dict.fromkeys(
        ("compare", "ask", "activate", "tell"), "success"
    ), log[-6000:]
    assert run["tasks"]["tell"]["returned"].startswith(f"Scorecard {version} judges now, in place of 1. ")
    panel = policies.read(bootstrap).panel
    assert (panel.active.version, panel.shadows) == (version, ())

    (stale,), log = airflow.run("activate_scorecard", {"version": HAND_SET.version})
    assert (stale["state"], stale["tasks"]["compare"]["try"]) == ("failed", 1)
    assert f"scorecard {version} judges now, but in the lake it is still 1: run land_events" in log
