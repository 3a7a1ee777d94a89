"""Starts reconcile_orders when the stream does something unusual, instead of waiting for the night."""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Asset, AssetWatcher, dag, task

from desk.hints import TopicBurst
from desk.retries import RETRIES
from desk.starts import LANDINGS, start
from order_fraud.topics import FRAUD_VERDICTS, RECONCILIATION_FINDINGS

SUSPECTS, WITHIN_S = 100, 60.0
PAUSE_S = 1800.0

DOC = f"""
### Look now, something is odd

Two watchers in the triggerer follow Kafka and say so by an event of an asset:

| asset | when |
|---|---|
| `hint/suspects` | {SUSPECTS} orders or more were found suspect (`PossibleFraud`) within {WITHIN_S:.0f} s |
| `hint/parity` | somebody raised a verdict that the same inputs do not give again (`verdict-not-reproducible`) |

**An event is only a hint.** The run lands what is new and reconciles a window of its own: from the last day that a
reconciliation has covered (its watermark, read from the reports) to the newest day there is. Nothing of the event is
used, so that a lost, a repeated or a forged one does no harm.

One burst is one run: a watcher that has fired is silent for {PAUSE_S / 60:.0f} minutes, one run goes at a time, and
all events that wait meanwhile start one run together. A watcher reads from the present end of its topic; what comes
while the triggerer is down is found by the night.

The DAG is **paused until somebody unpauses it**; the watchers run only while it is not. On MWAA, the triggerer reads
`COUNTERSIGN_KAFKA` from the start-up script, as the workers do.
"""


def _hint(name: str, trigger: TopicBurst) -> Asset:
    return Asset(f"hint/{name}", watchers=[AssetWatcher(name=name, trigger=trigger)])


HINTS = (
    _hint("suspects", TopicBurst(FRAUD_VERDICTS.name, ['"type":"PossibleFraud"'], SUSPECTS, WITHIN_S, PAUSE_S)),
    _hint(
        "parity", TopicBurst(RECONCILIATION_FINDINGS.name, ['"kind":"verdict-not-reproducible"'], 1, WITHIN_S, PAUSE_S)
    ),
)


@dag(
    schedule=HINTS[0] | HINTS[1],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
    render_template_as_native_obj=True,  # an empty day is none, not a text
    tags=["reconcile", "starter"],
    doc_md=DOC,
    default_args=dict(RETRIES),
)
def reconcile_on_hint() -> None:
    """Land, choose the window, reconcile it."""

    @task(multiple_outputs=False, execution_timeout=timedelta(minutes=10))
    def choose_window() -> dict[str, Any]:
        from lake.reconcile.window import own_window

        return own_window()

    window = choose_window()
    [start(landing) for landing in LANDINGS] >> window  # type: ignore[operator]  # Airflow's own way to write it
    window >> start("reconcile_orders", {"from_day": "{{ ti.xcom_pull(task_ids='choose_window')['from_day'] }}"})


reconcile_on_hint()
