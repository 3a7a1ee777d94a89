"""The page of one reconciliation: a single HTML file that loads nothing, scripts nothing, and prints well."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lake.reconcile.allowances import words as length
from lake.reconcile.corrections import Emitted
from lake.reconcile.findings import KINDS, OWN_REMEDIES, REMEDIES, Difference, money
from lake.reconcile.outcome import Outcome
from lake.report import figures, words

LISTED = 50
"""Findings of one kind that the page lists; the JSON beside it has all of them."""


DRAWN = 3
"""Currencies whose money at stake is drawn; the table above has the sums of all."""


class Section(NamedTuple):
    """One kind of finding on the page."""

    kind: str
    title: str
    meaning: str
    remedy: str
    by_us: bool
    count: int
    remedied: int
    stake: str
    listed: Sequence[Difference]


def render(outcome: Outcome, emitted: Emitted) -> str:
    """Return the page of an outcome; ``emitted`` is what the run sent to the services."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"money": money, "number": lambda value: f"{value:,}", "length_of_time": length}
    summary = outcome.summary
    return environment.get_template("page.html.j2").render(
        outcome=outcome,
        emitted=emitted,
        parity=outcome.parity,
        summary=summary,
        sections=_sections(outcome),
        stake=stake(outcome.differences),
        signed=_signed(outcome),
        share=_share(summary.verdicts),
        pictures=_pictures(outcome),
        verdict_words=words.VERDICTS,
        listed=LISTED,
    )


def stake(differences: Sequence[Difference]) -> str:
    """Return the money at stake, one sum per currency: findings in different currencies cannot be added up."""
    return ", ".join(money(amount, currency) for currency, amount in sums(differences).items()) or "nothing"


def sums(differences: Sequence[Difference]) -> Mapping[str, int]:
    """Return the money at stake in minor units by currency, the largest sum first."""
    totals: dict[str, int] = {}
    for difference in differences:
        finding = difference.finding
        if finding.amount and finding.currency:
            totals[finding.currency] = totals.get(finding.currency, 0) + finding.amount
    return dict(sorted(totals.items(), key=lambda item: (-item[1], item[0])))


def _stakes(differences: Sequence[Difference]) -> list[tuple[str, dict[str, int]]]:
    """Money at stake by kind, for the currencies in which most of it is at stake."""
    by_currency: dict[str, dict[str, int]] = {}
    for currency in list(sums(differences))[:DRAWN]:
        of_it = [one for one in differences if one.finding.currency == currency]
        kinds = {one.finding.kind: 0 for one in of_it if one.finding.amount}
        for one in of_it:
            if one.finding.amount:
                kinds[one.finding.kind] += one.finding.amount
        by_currency[currency] = {str(kind): amount for kind, amount in kinds.items()}
    return list(by_currency.items())


def _differing(outcome: Outcome) -> Mapping[date, int]:
    """Orders by day whose verdict the same inputs do not give again."""
    return Counter(one.time.date() for one in outcome.differences if one.finding.kind == "verdict-not-reproducible")


def _signed(outcome: Outcome) -> bool:
    """Whether every verdict came out again and nothing but what came in led to one."""
    return outcome.parity.verdicts == outcome.parity.verdicts_equal and outcome.not_reproducible == 0


def _thresholds(outcome: Outcome) -> list[int]:
    """The points from which orders of these days were held; several if several scorecards judged."""
    judged = [one for one in outcome.scorecards if one.verdicts] or outcome.scorecards
    return sorted({one.threshold for one in judged if one.threshold is not None})


def _share(verdicts: Mapping[str, int]) -> str:
    total = sum(verdicts.values())
    return f"{verdicts.get('PossibleFraud', 0) / total:.1%}" if total else "none"


def _sections(outcome: Outcome) -> list[Section]:
    by_kind: dict[str, list[Difference]] = {}
    for difference in outcome.differences:
        by_kind.setdefault(difference.finding.kind, []).append(difference)
    return [
        Section(
            kind=kind,
            title=words.KINDS[kind].title,
            meaning=words.KINDS[kind].meaning,
            remedy=words.REMEDIES[REMEDIES[kind]],
            by_us=REMEDIES[kind] in OWN_REMEDIES,
            count=len(found),
            remedied=sum(one.state == "remedied" for one in found),
            stake=stake(found),
            listed=found[:LISTED],
        )
        for kind in KINDS
        if (found := by_kind.get(kind))
    ]


def _pictures(outcome: Outcome) -> dict[str, Markup]:
    """Return the pictures that there is anything to show in; their text is escaped where they are made."""
    summary = outcome.summary
    drawn = {
        "funnel": figures.funnel(summary.funnel) if summary.funnel and summary.funnel[0].orders else "",
        "findings": figures.findings(outcome.counts) if outcome.differences else "",
        "days": figures.days(summary.days) if summary.days else "",
        "parity": figures.parity(summary.days, _differing(outcome)) if summary.days else "",
        "scores": figures.scores(summary.scores, _thresholds(outcome)) if summary.scores else "",
        "reasons": figures.reasons(summary.reasons) if summary.reasons else "",
        "stakes": "".join(figures.stakes(by_kind, currency) for currency, by_kind in _stakes(outcome.differences)),
    }
    return {name: Markup(picture) for name, picture in drawn.items()}  # noqa: S704 - see the docstring
