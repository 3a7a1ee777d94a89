"""What the tasks of the landing DAGs do. DAG files only wire these together and import them inside their tasks."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from airflow.sdk import get_current_context

from lake.catalog import open_catalog
from lake.connections import endpoint, masker
from lake.landing.flows import load
from lake.settings import from_environment
from order_fraud.topics import ARCHIVED

# One line per request, or per data source of a check, would bury what the landing itself has to say.
for _chatty in ("httpx", "great_expectations"):
    logging.getLogger(_chatty).setLevel(logging.WARNING)


def land_topic(name: str) -> dict[str, Any]:
    """Land one archived topic and return what it brought: table, rows, quarantined, seconds."""
    from lake.landing import kafka

    settings = from_environment()
    topic = next(topic for topic in ARCHIVED if topic.name == name)
    return asdict(kafka.land_topic(open_catalog(settings), topic, settings.kafka, masker(), run_id()))


def land_flow(path: Path) -> dict[str, Any]:
    """Land the object of one flow file and return what it brought: table, rows, quarantined, seconds."""
    from lake.landing import sources

    flow = load(path)
    everything = bool(get_current_context()["params"]["everything"])
    landed = sources.land_flow(
        open_catalog(), flow, endpoint(flow.connection), masker(), run_id(), everything=everything
    )
    return asdict(landed)


def run_id() -> str:
    """The id of the DAG run that this task belongs to."""
    return str(get_current_context()["run_id"])
