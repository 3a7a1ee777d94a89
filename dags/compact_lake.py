"""Puts small data files of the lake's tables together, every week."""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from desk.retries import RETRIES

DOC = """
### Many small files become few large ones

Each landing adds a file to every partition that got rows; after a year of hourly landings a reconciliation that folds
everything would open thousands. This puts together what lies side by side: eight files or more, each smaller than
16 MB, become one of up to 32 MB. **No row changes, and nothing is deleted**: what an earlier run read can be read
again, a reconciliation goes on from its checkpoint as if nothing had been, and a landing knows how far it has come.

One commit for each file that comes of it: a task that is killed has put fewer together, and its retry goes on. Landings
may run beside it; who commits second tries again.

The DAG is **paused until somebody unpauses it**, and then runs on Sundays at 02:00 UTC; *Trigger* does it now. The task
returns tables, files and bytes (tab *XCom*).

| the task fails with | what it means | what to do |
|---|---|---|
| `NoSuchTable` | the form names a table that the lake has not | trigger again with one that the message names |
| `Conflict` | others kept writing to a table at this moment | nothing: the task tries again |
| `RowsDiffer` | files hold fewer rows than they say; nothing was written | look into the store first |
"""


@dag(
    schedule="0 2 * * 0",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
    tags=["lake"],
    doc_md=DOC,
    params={
        "tables": Param(
            None,
            type=["null", "string"],
            title="Tables",
            description="As kafka.customer_events, separated by commas. Empty: all.",
        ),
    },
    default_args={**RETRIES, "execution_timeout": timedelta(hours=2)},
)
def compact_lake() -> None:
    """One task: tables are taken one after the other."""

    @task
    def compact() -> list[dict[str, Any]]:
        from lake.compact.tasks import compact_tables

        return compact_tables()

    compact()


compact_lake()
