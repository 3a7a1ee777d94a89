"""The page of one back-test: a single HTML file that loads nothing, scripts nothing, and prints well."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lake import report
from lake.backtest import pictures
from lake.backtest.measures import Estimate, Share
from lake.backtest.outcome import Outcome, Sum
from lake.reconcile.findings import money

LISTED = 100
"""Orders whose outcome changes that the page lists; the CSV beside it has all of them."""
NAMED = 20
"""Orders that differ which the page names; the JSON beside it has all of them."""


def render(outcome: Outcome) -> str:
    """Return the page of an outcome."""
    environment = Environment(
        loader=FileSystemLoader([Path(__file__).parent, *report.__path__]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "money": money,
        "number": lambda value: f"{value:,}",
        "sums": sums,
        "orders": lambda found: sum(one.orders for one in found),
        "share": share,
        "estimate": estimate,
    }
    return environment.get_template("backtest.html.j2").render(
        outcome=outcome,
        signed=signed(outcome),
        pictures={name: Markup(svg) for name, svg in pictures.all_of(outcome).items()},  # noqa: S704 - escaped there
        moved=[move for move in outcome.moves if move.before != move.after],
        listed=LISTED,
        named=NAMED,
    )


def signed(outcome: Outcome) -> bool:
    """Whether the report may be relied on: all that was judged live came out again."""
    proof = outcome.proof
    others = any(one.verdicts for one in outcome.judged if one.version != outcome.candidate.version)
    own = proof.candidate.identical or not outcome.itself or others
    return proof.verdicts > 0 and proof.refolded.identical and own


def sums(found: Sequence[Sum]) -> str:
    """Return money as people write it, one sum per currency."""
    return ", ".join(money(one.amount, one.currency) for one in found) or "nothing"


def share(one: Share | None) -> str:
    """Return a proportion with its interval in percent."""
    return "no such orders" if one is None else f"{one.value:.1%} ({one.low:.1%} to {one.high:.1%})"


def estimate(one: Estimate | None, signed: bool = False) -> str:
    """Return a number with its interval."""
    if one is None:
        return "too few labels"
    sign = "+" if signed else ""
    return f"{one.value:{sign}.3f} ({one.low:{sign}.3f} to {one.high:{sign}.3f})"
