"""What is counted of scorecards: by version and outcome, and where those on trial disagree; never without bound."""

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from docs.contracts.examples import examples
from order_fraud import signals
from order_fraud.events import NoFraudDetected, Outcome, PossibleFraud, Shadow, encode
from order_fraud.judge import Judge, Panel
from scorecards import SCORECARD
from streams.judged import MOST_VERSIONS, Scorecards

EXAMPLE = examples()["PossibleFraud"]
LURE = '"},"scorecard_version":"lure","outcome":"clear"},"specversion":"1.0'


def verdict(version: str, outcome: Outcome, *shadows: tuple[str, Outcome], **changes: object) -> bytes:
    """Return a verdict as the relay writes it."""
    assert isinstance(EXAMPLE, PossibleFraud)
    tried = tuple(
        Shadow(scorecard_version=name, outcome=said, score=place) for place, (name, said) in enumerate(shadows)
    )
    data = msgspec.structs.replace(EXAMPLE.data, scorecard_version=version, outcome=outcome, shadows=tried, **changes)
    kind = NoFraudDetected if outcome == "clear" else PossibleFraud
    fields = {name: getattr(EXAMPLE, name) for name in ("id", "source", "subject", "time")}
    return encode(kind(data=data, **fields))


def panel(active: str, *shadows: str) -> Panel:
    judges = [Judge(msgspec.structs.replace(SCORECARD, version=version)) for version in (active, *shadows)]
    return Panel(judges[0], tuple(judges[1:]))


class Counted:
    """Scorecards and what Prometheus reads of them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.scorecards = Scorecards(self.registry)

    def __call__(self, name: str) -> dict[tuple[str, ...], float]:
        """Return the samples of a metric by the values of their labels, in alphabetical order of the labels."""
        return {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(generate_latest(self.registry).decode())
            for sample in family.samples
            if sample.name == f"countersign_{name}"
        }


@pytest.fixture
def counted() -> Counted:
    return Counted()


def test_verdicts_count_by_version_and_outcome(counted: Counted) -> None:
    counted.scorecards.count(
        [verdict("1", "clear"), verdict("1", "review"), verdict("1", "clear"), verdict("2", "block")]
    )
    counted.scorecards.count([verdict("1", "clear", priority=0, score=3)])
    assert counted("verdicts_total") == {("clear", "1"): 3, ("review", "1"): 1, ("block", "2"): 1}
    assert counted("shadow_judgements_total") == counted("shadow_disagreements_total") == {}


def test_a_shadow_counts_where_it_disagrees(counted: Counted) -> None:
    counted.scorecards.count(
        [
            verdict("1", "clear", ("2", "clear"), ("3", "block")),
            verdict("1", "clear", ("2", "review"), ("3", "block")),
            verdict("1", "block", ("2", "block"), ("3", "block")),
        ]
    )
    assert counted("shadow_judgements_total") == {("2", "1"): 3, ("3", "1"): 3}
    assert counted("shadow_disagreements_total") == {
        ("clear", "2", "review", "1"): 1,
        ("clear", "3", "block", "1"): 2,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"order_id": LURE, "customer_id": LURE},
        {"signals": {}},
        {"signals": dict.fromkeys(signals.NAMES, 1.5)},
        {"signals": {LURE: 1.0}},
        {"reasons": ()},
    ],
)
def test_nothing_else_in_a_verdict_can_be_taken_for_its_version(counted: Counted, changes: dict[str, object]) -> None:
    counted.scorecards.count([verdict("1", "review", **changes), verdict("1", "block", ("2", "clear"), **changes)])
    assert counted("verdicts_total") == {("review", "1"): 1, ("block", "1"): 1}
    assert counted("shadow_disagreements_total") == {("block", "2", "clear", "1"): 1}


def test_an_envelope_cannot_be_taken_for_a_version_either(counted: Counted) -> None:
    event = msgspec.structs.replace(EXAMPLE, id=f"verdict/{LURE}", subject=LURE)
    counted.scorecards.count([encode(event)])
    assert counted("verdicts_total") == {("review", SCORECARD.version): 1}


def test_who_judges_is_told_as_it_is_now(counted: Counted) -> None:
    assert counted("scorecard") == {}
    counted.scorecards.judging(panel("1", "2"))
    assert counted("scorecard") == {("active", "1"): 1, ("shadow", "2"): 1}
    assert counted("verdicts_total") == dict.fromkeys([("block", "1"), ("clear", "1"), ("review", "1")], 0)
    assert set(counted("shadow_disagreements_total").values()) == {0}
    assert len(counted("shadow_disagreements_total")) == 6
    counted.scorecards.judging(panel("2"))
    assert counted("scorecard") == {("active", "2"): 1}


def test_refusals_count_by_reason_from_zero_on(counted: Counted) -> None:
    assert set(counted("policies_refused_total").values()) == {0}
    counted.scorecards.refused("malformed")
    assert counted("policies_refused_total")["malformed",] == 1


def test_the_latest_versions_are_kept_and_no_more(counted: Counted) -> None:
    for number in range(50):
        version = f"v{number}"
        counted.scorecards.judging(panel(version, f"v{number - 1}"))
        counted.scorecards.count([verdict(version, "clear", (f"v{number - 1}", "block"))])
    latest = {f"v{number}" for number in range(50 - MOST_VERSIONS, 50)}
    assert {version for _, version in counted("verdicts_total")} <= latest
    assert {name for labels in counted("shadow_judgements_total") for name in labels} <= latest
    assert counted("verdicts_total")["clear", "v49"] == 1
    assert counted("shadow_disagreements_total")["clear", "v48", "block", "v49"] == 1
    assert len(counted("shadow_disagreements_total")) <= 6 * MOST_VERSIONS
