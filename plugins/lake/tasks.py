"""What the tasks of the landing DAGs do. DAG files only wire these together and import them inside their tasks."""

import logging
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import get_current_context

from lake.catalog import open_catalog
from lake.connections import endpoint, kafka, masker
from lake.landing.flows import load
from order_fraud.topics import ARCHIVED

Ends = dict[str, dict[str, int]]
"""Topic name, partition (as text: it travels as JSON) and the offset that a landing goes up to."""

ON_THE_WAY = timedelta(minutes=5)
"""A record of the last minute of a day is in its source after so long."""

# One line per request, or per data source of a check, would bury what the landing itself has to say.
for _chatty in ("httpx", "great_expectations"):
    logging.getLogger(_chatty).setLevel(logging.WARNING)


def mark_ends() -> Ends:
    """Return how far each archived topic reaches, so that no landing takes an effect without its cause."""
    from lake.landing import broker

    found = broker.ends(kafka("landing"), reversed(ARCHIVED))
    return {name: {str(partition): end for partition, end in ends.items()} for name, ends in found.items()}


def land_topic(name: str, ends: Ends) -> dict[str, Any]:
    """Land one archived topic up to its mark and return what it brought: table, rows, quarantined, seconds."""
    from lake.landing.kafka import land_topic as land

    topic = next(topic for topic in ARCHIVED if topic.name == name)
    until = {int(partition): end for partition, end in ends[name].items()}
    return asdict(land(open_catalog(), topic, kafka("landing"), masker(), run_id(), until))


def record_labels() -> dict[str, Any]:
    """Bring fraud.labels up to the words that have landed, and return what it brought, as a landing does."""
    from lake import labels

    return asdict(labels.record(open_catalog(), run_id()))


def land_flow(path: Path) -> dict[str, Any]:
    """Land the object of one flow file and return what it brought: table, rows, quarantined, seconds, filtered."""
    from lake.landing import sources

    flow = load(path)
    everything = bool(get_current_context()["params"]["everything"])
    landed = sources.land_flow(
        open_catalog(), flow, endpoint(flow.connection), masker(), run_id(), everything=everything
    )
    return asdict(landed)


def completed_day() -> str:
    """Return the last business day (UTC) whose records this run has seen whole, ``YYYY-MM-DD``.

    That is the day before the run began; one that had only just ended then may have had records on the way.
    """
    began = get_current_context()["dag_run"].start_date
    return (began - ON_THE_WAY - timedelta(days=1)).date().isoformat()


def run_id() -> str:
    """The id of the DAG run that this task belongs to."""
    return str(get_current_context()["run_id"])
