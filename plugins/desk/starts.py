"""How one DAG starts another and waits for it, the same wherever it is done. Light: DAG files import it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

POLL_S = 10
LANDINGS = ("land_events", "land_sources")


def start(dag_id: str, conf: Mapping[str, Any] | None = None, **more: Any) -> TriggerDagRunOperator:
    """Return a task that starts a run of a DAG and is done when that is; meanwhile it holds no worker.

    A task that is tried again starts another run: that is safe with all DAGs here, since none does a thing twice.

    Args:
        dag_id: which DAG.
        conf: fields of its form; texts are templates.
        more: arguments of the operator.
    """
    return TriggerDagRunOperator(
        task_id=dag_id,
        trigger_dag_id=dag_id,
        trigger_run_id="{{ dag.dag_id }}__{{ run_id }}__{{ ti.try_number }}",
        logical_date=None,
        conf=dict(conf or {}),
        wait_for_completion=True,
        deferrable=True,
        poke_interval=POLL_S,
        retries=1,
        retry_delay=timedelta(minutes=5),
        execution_timeout=timedelta(hours=6),
        **more,
    )
