"""The note of a run; that the scheduler itself writes it, tests/stack/test_demo.py shows."""

import json
from pathlib import Path

import pytest

from desk.notes import words
from tests.lake.test_landing_dags import Airflow

DAG = """
from airflow.sdk import dag, task

@dag(dag_id="{dag_id}", schedule=None, params={{"fails": False}})
def made():
    @task(task_id="{task_id}")
    def publish(params=None):
        if params["fails"]:
            raise ValueError("as asked")
        return {published!r}
    publish()

made()
"""
PUBLISHED = {
    "orders": 1000,
    "findings": {"payment-missing": 2, "verdict-missing": 1},
    "findings_emitted": 1,
    "corrections": 3,
    "not_reproducible": 0,
}
RUN = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from sqlalchemy import select
file, *forms = sys.argv[1:]
(dag,) = DagBag(file).dags.values()
notes = []
for form in map(json.loads, forms):
    run = dag.test(run_conf={"fails": form.get("fails", False)})
    with create_session() as session:
        again = session.scalars(select(DagRun).where(DagRun.run_id == run.run_id)).one()
        again.note = form.get("note")
        session.flush()
        again.notify_dagrun_state_changed(msg="as the scheduler does")
    with create_session() as session:
        notes.append(session.scalars(select(DagRun).where(DagRun.run_id == run.run_id)).one().note)
print("NOTES" + json.dumps(notes))
"""


def test_words_count_name_and_prove() -> None:
    assert words(PUBLISHED) == (
        "Reconciled 1,000 orders: every verdict is reproducible; 3 findings (2 payment-missing, 1 verdict-missing); "
        "1 new one sent, 3 corrections. Everything: tab Report."
    )
    nothing = {"orders": 1, "findings": {}, "findings_emitted": 0, "corrections": 0, "not_reproducible": 1}
    assert words(nothing) == (
        "Reconciled 1 order: 1 verdict not reproducible; no finding; 0 new ones sent, 0 corrections. Everything: "
        "tab Report."
    )


def test_many_kinds_are_counted_together() -> None:
    findings = {f"kind-{number}": number for number in range(1, 10)}
    text = words(PUBLISHED | {"findings": findings})
    assert "45 findings (9 kind-9, 8 kind-8, 7 kind-7, 6 kind-6, 5 kind-5, 4 kind-4, 6 of 3 more kinds)" in text


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    return Airflow({}, tmp_path_factory.mktemp("airflow"))


def notes(airflow: Airflow, folder: Path, dag_id: str, *forms: object, task_id: str = "publish_report") -> list[str]:
    file = folder / "made.py"
    file.write_text(DAG.format(dag_id=dag_id, task_id=task_id, published=PUBLISHED))
    out = airflow.python(RUN, str(file), *map(json.dumps, forms))
    line = next(line for line in out.splitlines() if line.startswith("NOTES"))
    return json.loads(line.removeprefix("NOTES"))


def test_a_run_that_ends_well_has_a_note(airflow: Airflow, tmp_path: Path) -> None:
    forms = ({}, {"note": "looked into by Ann"}, {"note": "Reconciled before a task was cleared"}, {"fails": True})
    ours = words(PUBLISHED)
    assert notes(airflow, tmp_path, "reconcile_orders", *forms) == [ours, "looked into by Ann", ours, None]


def test_runs_of_other_dags_and_without_a_report_have_none(airflow: Airflow, tmp_path: Path) -> None:
    assert notes(airflow, tmp_path, "land_events", {}) == [None]
    assert notes(airflow, tmp_path, "reconcile_orders", {}, task_id="correct") == [None]
