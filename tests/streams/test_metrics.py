"""What the observer counts is what was committed, and the operations page names every metric and setting."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from docs.contracts.examples import examples
from kafka_access import settings as kafka_access
from order_fraud import topics
from order_fraud.events import NoFraudDetected, PossibleFraud, encode
from streams import __version__
from streams.batch import Batch
from streams.metrics import Metrics
from streams.progress import Progress
from streams.settings import entries

ROOT = Path(__file__).resolve().parents[2]
NOW_MS = 1_800_000_000_000
IP, VERDICTS = topics.RELAY_BY_IP.name, topics.FRAUD_VERDICTS.name


class _Record:
    """Stands for a consumed record; only its offset is asked for."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def offset(self) -> int:
        return self._offset


Outcome = type[PossibleFraud] | type[NoFraudDetected]
EXAMPLES = examples()
"""One event of each type, as the services make them."""


def batch_with_verdicts(partition: int, offset: int, kinds: list[Outcome], ages_ms: list[int]) -> Batch:
    batch = Batch(IP, partition, [_Record(offset + place) for place in range(len(kinds))])  # type: ignore[misc]
    for outcome, age in zip(kinds, ages_ms, strict=True):
        batch.send(VERDICTS, "c", encode(EXAMPLES[outcome.__name__]), NOW_MS - age)
    return batch


def values(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Return every sample as Prometheus would read it: (name, values of the labels in alphabetical order…) -> value."""
    page = generate_latest(metrics.registry).decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(Progress(), now_ms=lambda: NOW_MS)


def test_a_committed_batch_counts_records_verdicts_latency_and_dead_letters(metrics: Metrics) -> None:
    first = batch_with_verdicts(0, 10, [NoFraudDetected, PossibleFraud, NoFraudDetected], [4, 200, 200])
    second = batch_with_verdicts(1, 0, [NoFraudDetected], [90_000])
    second.refuse(second.records[0], "no event", "fraud")
    metrics.polled([first, second])
    metrics.committed([first, second], 0.03)
    found = values(metrics)
    assert found["countersign_records_total", IP] == 4
    assert found["countersign_orders_decided_total", "NoFraudDetected"] == 3
    assert found["countersign_orders_decided_total", "PossibleFraud"] == 1
    assert found["countersign_dead_letters_total", IP] == 1
    assert found["countersign_transaction_seconds_count",] == 1
    assert found["countersign_transaction_seconds_sum",] == 0.03
    assert found["countersign_batch_records_count",] == 2
    assert found["countersign_batch_records_sum",] == 4
    latency = "countersign_decision_latency_seconds"
    assert found[f"{latency}_bucket", "0.005"] == 1
    assert found[f"{latency}_bucket", "0.1"] == 1
    assert found[f"{latency}_bucket", "0.25"] == 3
    assert found[f"{latency}_bucket", "60.0"] == 3
    assert found[f"{latency}_bucket", "+Inf"] == found[f"{latency}_count",] == 4
    assert found[f"{latency}_sum",] == pytest.approx(0.004 + 0.2 + 0.2 + 90)


def test_an_aborted_batch_counts_once_it_is_committed_and_only_then(metrics: Metrics) -> None:
    batch = batch_with_verdicts(0, 10, [NoFraudDetected], [4])
    metrics.polled([batch])
    metrics.aborted([batch])
    found = values(metrics)
    assert found["countersign_transactions_aborted_total",] == 1
    assert ("countersign_records_total", IP) not in found
    assert found["countersign_orders_decided_total", "NoFraudDetected"] == 0
    metrics.committed([batch], 0.01)
    assert values(metrics)["countersign_orders_decided_total", "NoFraudDetected"] == 1


def test_a_batch_without_records_and_a_clock_that_runs_ahead_do_no_harm(metrics: Metrics) -> None:
    metrics.committed([Batch(IP, 0, [], 7)], 0.01)
    metrics.committed([batch_with_verdicts(0, 0, [NoFraudDetected], [-5_000])], 0.01)
    found = values(metrics)
    assert found["countersign_decision_latency_seconds_bucket", "0.005"] == 1
    assert found["countersign_records_total", IP] == 1


def test_overdue_verdicts_are_told_from_other_delivery_events(metrics: Metrics) -> None:
    batch = Batch(topics.CUSTOMER_EVENTS.name, 0, [], 7)
    for kind in [*(each.__name__ for each in topics.DELIVERY_EVENTS.writers), "VerdictOverdue"]:
        batch.send(topics.DELIVERY_EVENTS.name, "c", encode(EXAMPLES[kind]), NOW_MS)
    metrics.committed([batch], 0.01)
    assert values(metrics)["countersign_verdicts_overdue_total",] == 2


def test_lag_is_told_of_the_partitions_at_hand_and_no_others(metrics: Metrics) -> None:
    metrics.assigned({(IP, 0), (IP, 1)})
    metrics.lag({(IP, 0): (5, 25), (IP, 1): (7, 7)})
    found = values(metrics)
    assert found["countersign_partitions_assigned",] == 2
    assert found["countersign_lag_records", "0", IP] == 20
    assert found["countersign_lag_records", "1", IP] == 0
    assert found["countersign_position", "1", IP] == 7
    metrics.assigned({(IP, 1)})
    assert ("countersign_lag_records", "0", IP) not in values(metrics)


def test_the_run_of_a_restore_is_told_and_then_how_it_was(metrics: Metrics) -> None:
    metrics.restoring(1_000, 3)
    found = values(metrics)
    assert found["countersign_restore_records",] == 1_000
    assert found["countersign_restore_partitions_to_go",] == 3
    assert found["countersign_ready",] == 0
    metrics.restored(4_000, 2.5)
    metrics.ready()
    found = values(metrics)
    assert found["countersign_restore_records",] == 4_000
    assert found["countersign_restore_partitions_to_go",] == 0
    assert found["countersign_restore_seconds",] == 2.5
    assert found["countersign_ready",] == 1


def test_the_version_is_the_project_s() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert __version__ == project["version"]
    assert Metrics().registry.get_sample_value("countersign_build_info", {"version": __version__}) == 1


def exported() -> set[str]:
    """Return the names of all metrics of our own, as Prometheus shows them, without the parts of histograms."""
    metrics = Metrics()
    metrics.committed([batch_with_verdicts(0, 0, [NoFraudDetected], [1])], 0.1)
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    names = {f"{each.name}_total" if each.type == "counter" else each.name for each in families}
    return {name for name in names if name.startswith("countersign_")}


def test_the_operations_page_names_every_metric_and_setting_and_no_other() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    told = set(re.findall(r"\bcountersign_[a-z_]+", page))
    parts = {f"{name}_{part}" for name in exported() for part in ("bucket", "sum", "count")}
    assert exported() - told == set()
    assert told - exported() - parts == set()
    settings = {entry.variable for entry in entries()}
    named = set(re.findall(r"\bCOUNTERSIGN_[A-Z_]+", page))
    assert settings - named == set()
    of_kafka = {entry.variable for entry in kafka_access.entries()}  # docs/msk.md has them
    assert named - settings - of_kafka - {"COUNTERSIGN_PORT_WORKERS"} == set()


def test_the_alerts_are_rules_on_metrics_that_exist() -> None:
    groups = yaml.safe_load((ROOT / "docs" / "alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert 4 <= len(rules) == len({rule["alert"] for rule in rules})
    known = exported() | {f"{name}_{part}" for name in exported() for part in ("bucket", "sum", "count")}
    page = (ROOT / "docs" / "operations.md").read_text()
    headings = {anchor(line) for line in page.splitlines() if line.startswith("##")}
    for rule in rules:
        used = set(re.findall(r"\bcountersign_[a-z_]+", rule["expr"]))
        assert used <= known, rule["alert"]
        assert used or "up{" in rule["expr"], rule["alert"]
        assert re.fullmatch(r"\d+[smh]", rule["for"]), rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["runbook"].removeprefix("docs/operations.md#") in headings, rule["alert"]


def anchor(heading: str) -> str:
    """Return what a page's renderer makes of a heading."""
    return re.sub(r"[^a-z0-9 -]", "", heading.lstrip("#").strip().lower()).replace(" ", "-")
