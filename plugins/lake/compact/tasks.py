"""What the task of ``compact_lake`` does."""

import logging
from dataclasses import asdict
from typing import Any

from airflow.sdk import get_current_context

from lake.catalog import open_catalog
from lake.compact.rewrite import compact
from lake.errors import Hopeless
from lake.forms import names

log = logging.getLogger(__name__)


class NoSuchTable(Hopeless):
    """The form names a table that the lake has not; the message names those that it has."""


def compact_tables() -> list[dict[str, Any]]:
    """Put the small files of the form's tables together, of every table if it names none.

    Returns:
        What was done, for tables where anything was.

    Raises:
        NoSuchTable: see there.
        Conflict: others kept writing to a table.
    """
    context = get_current_context()
    catalog = open_catalog()
    there = sorted(
        ".".join(identifier) for namespace in catalog.list_namespaces() for identifier in catalog.list_tables(namespace)
    )
    chosen = _chosen(context["params"]["tables"], there)
    done = []
    for number, name in enumerate(chosen, start=1):
        log.info("%s, table %d of %d", name, number, len(chosen))
        if found := compact(catalog, name, str(context["run_id"])):
            done.append(asdict(found))
    return done


def _chosen(text: str | None, there: list[str]) -> list[str]:
    named = names(text)
    if unknown := [name for name in named if name not in there]:
        raise NoSuchTable(f"the lake has no table {', '.join(unknown)}; it has {', '.join(there) or 'none yet'}")
    return [name for name in there if name in named] if named else there
