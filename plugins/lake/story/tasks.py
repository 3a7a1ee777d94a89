"""What the task of ``tell_order`` does."""

from typing import Any

import msgspec
from airflow.sdk import get_current_context

from lake.catalog import open_catalog
from lake.report.names import TELL, safe_run_id
from lake.report.store import HTML, JSON, ReportStore
from lake.settings import from_environment
from lake.story.page import render
from lake.story.tell import tell


def tell_order() -> dict[str, Any]:
    """Write page and document of the form's order, and return where they lie, how things stand, and how much was said.

    Raises:
        NoSuchOrder: nothing in the lake is about it.
    """
    context = get_current_context()
    settings = from_environment()
    story = tell(open_catalog(settings), (context["params"]["order_id"] or "").strip())
    store, run = ReportStore(settings, TELL), safe_run_id(str(context["run_id"]))
    return {
        "order_id": story.order_id,
        "moments": len(story.moments),
        "facts": dict(story.facts),
        "report_json": store.put(run, JSON, msgspec.json.encode(story)),
        "report_html": store.put(run, HTML, render(story).encode()),
    }
