"""What flow files say at the top: all that DAG files may know of them when they are parsed.

Only a task reads a flow whole: a bad file must not take the other DAGs away.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

DAY = "/day"
"""The asset of this name behind a table's has an event for each business day that is complete, as its partition."""


def headings(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what each flow file of a folder says, by the file's name; nothing for one that cannot be read."""
    return {path.stem: heading(path) for path in sorted(folder.glob("*.yaml"))}


def heading(path: Path) -> dict[str, Any]:
    """Return what one flow file says."""
    try:
        found = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except yaml.YAMLError:
        found = None
    return found if isinstance(found, dict) else {}


def days_of(tables: Iterable[str], flows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the assets that say a day is complete, of those tables that some flow lands."""
    landed = {flow.get("table") for flow in flows.values()}
    return [f"{table}{DAY}" for table in tables if table in landed]
