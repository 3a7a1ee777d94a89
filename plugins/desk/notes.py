"""The note of a reconciliation's run: what it found, in one line, where Airflow lists its runs.

A task cannot write it, as the execution API of Airflow 3.3 has no way to. The scheduler can, when it sees the run end:
it calls listeners with the run in its session, and writes what they change together with the run's state.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

from lake.report.names import RECONCILE

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

PUBLISHED = "publish_report"
MARK = "Reconciled "
"""How our notes begin; one that begins otherwise is a person's, and stays."""
MOST_KINDS = 6


@hookimpl
def on_dag_run_success(dag_run: "DagRun", msg: str) -> None:
    """Write the note of a run that has just ended well. Airflow logs what goes wrong here, and goes on."""
    if dag_run.dag_id != RECONCILE:
        return
    from airflow.models.xcom import XComModel
    from sqlalchemy.orm import object_session

    # The scheduler's own: another one would wait for ever for the lock that the scheduler holds on the run.
    # `dag.test()` hands over a run without one.
    session = object_session(dag_run)
    if session is None or (dag_run.note and not dag_run.note.startswith(MARK)):
        return
    asked = XComModel.get_many(
        run_id=dag_run.run_id, key="return_value", task_ids=PUBLISHED, dag_ids=dag_run.dag_id, limit=1
    )
    found = session.scalars(asked).first()
    if found is not None:
        dag_run.note = words(XComModel.deserialize_value(found))


def words(published: Mapping[str, Any]) -> str:
    """Return the note, from what the task ``publish_report`` returned."""
    counts: Mapping[str, int] = published["findings"]
    total = sum(counts.values())
    kinds = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    named = [f"{count:,} {kind}" for kind, count in kinds[:MOST_KINDS]]
    if len(kinds) > MOST_KINDS:
        named.append(f"{sum(count for _, count in kinds[MOST_KINDS:]):,} of {len(kinds) - MOST_KINDS} more kinds")
    found = f"{_many(total, 'finding')} ({', '.join(named)})" if total else "no finding"
    sent = f"{_many(published['findings_emitted'], 'new one')} sent, {_many(published['corrections'], 'correction')}"
    wrong = published["not_reproducible"]
    proof = f"{_many(wrong, 'verdict')} not reproducible" if wrong else "every verdict is reproducible"
    # Airflow shows the beginning in one line.
    return f"{MARK}{_many(published['orders'], 'order')}: {proof}; {found}; {sent}. Everything: tab Report."


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
