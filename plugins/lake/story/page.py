"""The page of one order's story, in the style of the reports: a single file that loads nothing and scripts nothing."""

from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lake.story.tell import Story

HALVES = {"source": "source", "stream": "real time", "batch": "batch"}


def render(story: Story) -> str:
    """Return the page."""
    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader([here, here.parent / "report"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    days = [(day, list(moments)) for day, moments in groupby(story.moments, lambda one: one.time.date())]
    return environment.get_template("story.html.j2").render(story=story, days=days, halves=HALVES)
