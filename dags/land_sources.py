"""Copies the objects of the SaaS sources into the lake: each flow file is one task here, and one DAG of its own.

``land_sources`` lands them all, by hand. ``land_<flow>`` lands one, on the schedule that its file says.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, Param, task

from desk.flow_files import DAY, headings
from desk.retries import RETRIES

FLOWS = Path(__file__).parent / "flows"
DOC = """
### {title}

{what} It fetches what changed since the last run (the watermark is kept in the table's own snapshot), keeps what the
flow file maps, masks personal data, checks every row with Great Expectations, and merges: **a row that comes again
replaces its earlier version, so running it twice changes nothing**. Rows that fail a check go to `quarantine.<object>`
with the reason and stay out of the table; too many of them stop `reconcile_orders`, not the landing.

Each task also says which business day (UTC) is complete by now: an event of the asset `<table>/day` with that day as
its partition, for `reconcile_landed_day`.

Start it by hand, or `POST /api/v2/dags/{dag_id}/dagRuns`. Each task returns the rows it landed (tab *XCom*).

| a task fails with | what it means | what to do |
|---|---|---|
| `BadCredentials` | 401 or 403 | put a valid secret into the connection that the message names |
| `BadSetting` | connection or `masking_key` missing | set what the message names |
| `SourceUnavailable` | no answer, 429 or 5xx, after many attempts | nothing: the task tries again |
| `SourceRefused` | the source says that the request is wrong, an unknown field for example | mend the flow file |
| `BadFlow` | a flow file cannot be used | the message names file and field |
"""


EVERYTHING = Param(
    False,
    type="boolean",
    title="Fetch everything",
    description="Ignore the watermark and fetch all rows anew, for example after a flow was mended. "
    "Rows that are in the lake already, unchanged, cost nothing.",
)


def schedule_of(flow: Mapping[str, Any]) -> str | list[Asset] | None:
    """The schedule of a flow: none, cron, or an asset."""
    match flow.get("schedule"):
        case {"asset": str(asset)}:
            return [Asset(asset)]
        case str(cron) if len(cron.split()) == 5 or cron.startswith("@"):
            return cron
    return None


def landing(
    dag_id: str, title: str, what: str, flows: Mapping[str, Mapping[str, Any]], schedule: str | list[Asset] | None
) -> DAG:
    """A DAG with one task per flow, side by side."""
    with DAG(
        dag_id,
        schedule=schedule,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        tags=["landing", "sources"],
        doc_md=DOC.format(title=title, what=what, dag_id=dag_id),
        params={"everything": EVERYTHING},
        default_args={**RETRIES, "execution_timeout": timedelta(hours=1)},
    ) as made:
        for name, flow in flows.items():
            table = flow.get("table")

            outlets = [Asset(table), Asset(f"{table}{DAY}")] if isinstance(table, str) else []

            @task(task_id=name, outlets=outlets)
            def land(name: str, table: str, outlet_events: Any = None) -> dict[str, Any]:
                from lake.tasks import completed_day, land_flow

                landed = land_flow(FLOWS / f"{name}.yaml")
                outlet_events[Asset(f"{table}{DAY}")].add_partitions(completed_day())
                return landed

            land(name, str(table))
    return made


HEADINGS = headings(FLOWS)

land_sources = landing(
    "land_sources", "Every source into the lake", "One task per file in `dags/flows`.", HEADINGS, None
)
for _name, _flow in HEADINGS.items():
    globals()[f"land_{_name}"] = landing(
        f"land_{_name}",
        f"{_flow.get('table')} into the lake",
        f"Lands the object of `dags/flows/{_name}.yaml` alone, on the schedule that stands there.",
        {_name: _flow},
        schedule_of(_flow),
    )
