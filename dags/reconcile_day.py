"""Starts reconcile_orders every night for the business day before; by backfill for any days of the past."""

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import CronPartitionTimetable, TriggerRule, dag, task

from desk.retries import RETRIES
from desk.starts import LANDINGS, start

DOC = """
### The day before, every night

A run's **partition is a business day** (UTC), `YYYY-MM-DD`: the one before the night of the run, at 04:00. It lands
what is new (`land_events`, `land_sources`), then starts `reconcile_orders` for that day alone and waits for its end.

**Days of the past:** `airflow backfill create --dag-id reconcile_day --from-date 2026-11-02 --to-date 2026-11-06`
(or *Backfill* beside *Trigger*) makes one run for each of these days. A run of a backfill lands nothing: what
those days had has landed. By hand, *Trigger* asks for the partition key, which is the day.

The DAG is **paused until somebody unpauses it**. It may run beside the other starters and beside runs by hand:
reconciling a day twice, or at the same time, raises nothing twice. What went wrong stands in the run that was started
(*Triggered DAG*).
"""


@dag(
    # At 04:00 late evening orders have settled everywhere; one interval back is the day that ended at midnight.
    schedule=CronPartitionTimetable("0 4 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
    tags=["reconcile", "starter"],
    doc_md=DOC,
    default_args=dict(RETRIES),
)
def reconcile_day() -> None:
    """Land, unless the day is long past; then reconcile the day."""

    @task.branch
    def land_or_go(dag_run: Any = None) -> str | list[str]:
        return "reconcile_orders" if dag_run.run_type == "backfill" else list(LANDINGS)

    day = "{{ dag_run.partition_key }}"
    reconcile = start(
        "reconcile_orders",
        {"from_day": day, "to_day": day},
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
    )
    land_or_go() >> [*(start(landing) for landing in LANDINGS), reconcile]
    for landing in LANDINGS:
        reconcile.set_upstream(reconcile.dag.get_task(landing))


reconcile_day()
