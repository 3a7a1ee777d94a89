"""What tasks of the DAGs do with Kafka, in Airflow's environment: one line of JSON for each.

The argument is a list, in JSON, of tasks and the connection of each.
"""

import json
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from lake.connections import kafka
from lake.errors import Hopeless
from lake.policies import publish
from lake.reconcile.corrections import emit, emit_missing
from lake.settle.stops import TRANSACTIONAL_ID
from lake.tasks import mark_ends
from scorecards import PANEL

logging.disable()


def reconcile() -> object:
    """Take over the transactional id, read the topic; there is nothing to say."""
    return emit(kafka("reconcile"), "run", [], dry_run=False).findings


def settle() -> object:
    """The same under another id."""
    return emit_missing(kafka("settle"), TRANSACTIONAL_ID, "run", [])


def policies() -> object:
    """Publish the scorecard that comes with the code."""
    return publish(kafka("policies"), PANEL.active.scorecard, datetime(2026, 1, 1, tzinfo=UTC))


TASKS: dict[str, Callable[[], object]] = {
    "landing": mark_ends,
    "reconcile": reconcile,
    "settle": settle,
    "policies": policies,
}
for name, connection in json.loads(sys.argv[1]):
    os.environ[f"AIRFLOW_CONN_KAFKA_{name.upper()}"] = connection
    try:
        print(json.dumps({"task": name, "gave": TASKS[name]()}))
    except Hopeless as error:
        print(json.dumps({"task": name, "failed": type(error).__name__, "words": str(error)}))
