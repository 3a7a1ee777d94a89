"""How bad a landed topic may be: on a real Iceberg catalog in a folder, with records that a landing itself refuses."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyiceberg.catalog import Catalog, load_catalog

from lake import tables
from lake.landing.quarantine import set_aside
from lake.landing.records import Batch
from lake.masking import Masker
from lake.quality.gate import SourceBelowThreshold, gate
from order_fraud.topics import CUSTOMER_EVENTS, FRAUD_POLICIES, Topic
from tests.lake.conftest import ROOT
from tests.lake.reconcile_world import calm
from tests.lake.test_reconcile_lake import land

FLOWS = ROOT / "dags" / "flows"


@dataclass
class Rubbish:
    """A record that is no event."""

    at: int

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.at

    def timestamp(self) -> tuple[int, int]:
        return 1, 0

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return b"{%d" % self.at


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = load_catalog("t", type="sql", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}/w")
    yield opened
    opened.close()


def spoil(catalog: Catalog, topic: Topic, *offsets: int) -> None:
    """Set records of a topic aside, as a landing does."""
    batch = Batch(topic, Masker("a masking key for tests"))
    for offset in offsets:
        batch.add(Rubbish(offset))
    assert set_aside(catalog, tables.records(topic), batch.rejected, "r") == len(offsets)


def test_policy_that_the_stream_ignores_stops_no_reconciliation(catalog: Catalog) -> None:
    world = calm()
    world.activate("1")
    land(catalog, world)
    spoil(catalog, FRAUD_POLICIES, 7)
    results = {result.object: result for result in gate(catalog, FLOWS)}
    policies = results["kafka.fraud_policies"]
    assert (policies.good, policies.failing) == (1, 1)
    assert "50.00% of 2 rows pass, 0.00% are needed, 1 fail" in str(policies)


def test_policies_that_never_landed_stop_it_all_the_same(catalog: Catalog) -> None:
    land(catalog, calm())
    catalog.drop_table("kafka.fraud_policies")
    with pytest.raises(SourceBelowThreshold, match=r"kafka\.fraud_policies was never landed: run the DAG land_events"):
        gate(catalog, FLOWS)


def test_topic_of_the_business_stops_it_below_its_threshold(catalog: Catalog) -> None:
    land(catalog, calm())  # 60 sign-ups and orders
    spoil(catalog, CUSTOMER_EVENTS, 1, 2, 3)
    assert gate(catalog, FLOWS)
    spoil(catalog, CUSTOMER_EVENTS, 4)
    with pytest.raises(SourceBelowThreshold, match=r"kafka\.customer_events: 93\.75% of 64 rows pass, 95\.00% are"):
        gate(catalog, FLOWS)
