"""The page on the quality of what has landed: one section per source object and topic, the worst first.

Great Expectations' own pages (Data Docs) load scripts and styles from half a dozen hosts; here they would run below
Airflow's address, with the rights of whoever looks. So its checks are told in a page that loads nothing.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lake.quality.figures import days as days_picture
from lake.quality.profile import Profile


def render(
    profiles: Sequence[Profile], run_id: str, from_day: date | None, to_day: date | None, needed: Sequence[str]
) -> str:
    """Return the page.

    Args:
        profiles: of all objects.
        run_id: of the run that looked.
        from_day, to_day: business days, both included; None is open.
        needed: names of the objects that must pass for a reconciliation to go on.
    """
    here = Path(__file__).parent
    environment = Environment(
        loader=ChoiceLoader([FileSystemLoader(here), FileSystemLoader(here.parent / "report")]),  # one style for all
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": lambda value: f"{value:,}", "arguments": _arguments}
    ordered = sorted(profiles, key=lambda one: (one.result.passed, one.result.share, one.result.object))
    return environment.get_template("quality.html.j2").render(
        profiles=ordered,
        run_id=run_id,
        first=from_day,
        last=to_day,
        needed=frozenset(needed),
        stopped=[one.result.object for one in ordered if not one.result.passed and one.result.object in needed],
        rows=sum(one.result.good for one in profiles),
        waiting=sum(one.result.failing for one in profiles),
        pictures={
            one.result.object: Markup(days_picture(one.result.object, one.days))  # noqa: S704 - escaped where it is made
            for one in ordered
            if one.days
        },
    )


def _arguments(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in arguments.items())
