"""The report of a training: a page for people, a document for programs."""

from pathlib import Path

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lake import report
from lake.learn import pictures
from lake.learn.card import NEVER
from lake.learn.metrics import Interval
from lake.learn.training import Training
from order_fraud.policy import parse


def render(training: Training) -> str:
    """Return the page."""
    environment = Environment(
        loader=FileSystemLoader([Path(__file__).parent, *report.__path__]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": lambda value: f"{value:,}", "interval": _interval, "share": lambda x: f"{x:.1%}"}
    return environment.get_template("training.html.j2").render(
        training=training,
        card=parse(training.document.encode()),
        never=NEVER,
        calibration=Markup(pictures.calibration(training.calibration)),  # noqa: S704 - made and escaped there
    )


def document(training: Training) -> bytes:
    """Return all of it as JSON, the scorecard as an object."""
    content = msgspec.structs.asdict(training) | {"document": msgspec.Raw(training.document.encode())}
    return msgspec.json.format(msgspec.json.encode(content), indent=1)


def _interval(one: Interval, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{one.value:{sign}.4f} ({one.low:{sign}.4f} to {one.high:{sign}.4f})"
