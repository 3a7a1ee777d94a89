"""Copies the Kafka topics into the lake."""

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, dag, task
from airflow.sdk.exceptions import AirflowSkipException

from desk.retries import RETRIES
from order_fraud.topics import ARCHIVED, CUSTOMER_EVENTS

DAY, NEW_WORDS = Asset("kafka/day"), Asset("fraud.labels/new")

DOC = """
### Kafka topics into the lake

First the end of every topic is marked, effects before their causes (deliveries, then verdicts, then what led to them,
the scorecards last), so that no verdict lands without its order or its scorecard, however busy the topics are. Then
one task per topic reads everything committed since the last run, up to its mark, and appends it to the Iceberg table
`kafka.<topic>` together with the offsets reached: **one commit, so running it twice changes nothing** and a crash
leaves nothing half done. Ip addresses are masked, those on the lists of scorecards too. A record that is no event is
set aside in `quarantine.<topic>` with topic, partition, offset and reason. At last `fraud_labels` brings the table
`fraud.labels` up to date: which orders were confirmed as fraud, charged back or cleared, and since when that is known.

Two tasks tell other DAGs by events of assets: `say_day` which business day (UTC) is complete by now, as the partition
of `kafka/day` (for `reconcile_landed_day`), and `say_words` that there is new word (`fraud.labels/new`, for
`settle_confirmed`).

Start it by hand, or `POST /api/v2/dags/land_events/dagRuns`. Each task returns the rows it landed (tab *XCom*).

| a task fails with | what it means | what to do |
|---|---|---|
| `OffsetGap` | records are gone before they landed, or the topic was made anew | see the message |
| `Conflict` | another run landed the same topic at this moment | nothing: the task tries again |
| `TopicUnusable` | broker or topic is not there | start the stack (`make up`) |
"""


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["landing", "kafka"],
    doc_md=DOC,
    default_args={**RETRIES, "execution_timeout": timedelta(hours=1)},
)
def land_events() -> None:
    """Mark the ends, then one task per archived topic, side by side; then the labels."""

    @task(doc_md="How far each topic reaches, effects before their causes.")
    def mark_ends() -> dict[str, dict[str, int]]:
        from lake.tasks import mark_ends as mark

        return mark()

    ends = mark_ends()
    landed = {}
    for topic in ARCHIVED:
        table = topic.name.replace(".", "_").replace("-", "_")

        @task(task_id=table, outlets=[Asset(f"kafka.{table}")], doc_md=topic.description)
        def land(name: str, ends: dict[str, dict[str, int]]) -> dict[str, Any]:
            from lake.tasks import land_topic

            return land_topic(name, ends)

        landed[topic.name] = land(topic.name, ends)

    @task(task_id="fraud_labels", doc_md="What orders turned out to be, from the words that have landed.")
    def labels() -> dict[str, Any]:
        from lake.tasks import record_labels

        return record_labels()

    @task(outlets=[NEW_WORDS], doc_md="Says that orders turned out to be something; skipped if no word is new.")
    def say_words(landed: dict[str, Any]) -> None:
        if not landed["rows"]:
            raise AirflowSkipException("no new word on any order")

    @task(outlets=[DAY], doc_md="Says which business day is complete by now.")
    def say_day(outlet_events: Any = None) -> None:
        from lake.tasks import completed_day

        outlet_events[DAY].add_partitions(completed_day())

    found = labels()
    landed[CUSTOMER_EVENTS.name] >> found
    say_words(found)
    list(landed.values()) >> say_day()


land_events()
