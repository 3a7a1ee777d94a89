"""Copies the objects of the SaaS sources into the lake: one flow file, one task."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Asset, ExceptionRetryPolicy, Param, RetryAction, RetryRule, dag, task

FLOWS = Path(__file__).parent / "flows"
OBJECTS = {"shop_orders": "shop.orders", "payments_charges": "payments.charges"}

DOC = """
### Shop and payment provider into the lake

One task per file in `dags/flows`. It fetches what changed since the last run (the watermark is kept in the table's own
snapshot), masks ip and e-mail addresses, checks every row with Great Expectations, and merges: **a row that comes
again replaces its earlier version, so running it twice changes nothing**. Rows that fail a check go to
`quarantine.<object>` with the reason and stay out of the table; too many of them stop `reconcile_orders`, not the
landing.

Start it by hand, or `POST /api/v2/dags/land_sources/dagRuns`. Each task returns the rows it landed (tab *XCom*).

| a task fails with | what it means | what to do |
|---|---|---|
| `BadCredentials` | 401 or 403 | put a valid secret into the connection that the message names |
| `BadSetting` | connection or `masking_key` missing | set what the message names |
| `SourceUnavailable` | no answer, 429 or 5xx, after many attempts | nothing: the task tries again |
| `BadFlow` | a flow file cannot be used | the message names file and field |
"""

# Repeating cannot mend these; all else (source away, throttled, conflict) is tried again.
HOPELESS = ExceptionRetryPolicy(rules=[RetryRule(exception="lake.errors.Hopeless", action=RetryAction.FAIL)])


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["landing", "sources"],
    doc_md=DOC,
    params={
        "everything": Param(
            False,
            type="boolean",
            title="Fetch everything",
            description="Ignore the watermark and fetch all rows anew, for example after a flow was mended. "
            "Rows that are in the lake already, unchanged, cost nothing.",
        )
    },
    default_args={
        "retries": 3,
        "retry_delay": timedelta(seconds=5),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=5),
        "retry_policy": HOPELESS,
        "execution_timeout": timedelta(hours=1),
    },
)
def land_sources() -> None:
    """One task per flow, side by side."""
    for flow, table in OBJECTS.items():

        @task(task_id=flow, outlets=[Asset(table)])
        def land(name: str) -> dict[str, Any]:
            from lake.tasks import land_flow

            return land_flow(FLOWS / f"{name}.yaml")

        land(flow)


land_sources()
