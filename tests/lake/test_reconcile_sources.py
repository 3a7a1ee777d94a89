"""A reconciliation that leaves a source out: what it looks for, and that it leaves the rest alone."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from pyiceberg.catalog import Catalog, load_catalog

from lake import tables
from lake.reconcile import ledger
from lake.reconcile.findings import KINDS
from lake.reconcile.sources import NAMED, RESTS_ON, BadSources, chosen, kinds
from order_fraud.topics import FRAUD_VERDICTS
from tests.lake.reconcile_world import calm, outcome_of


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = load_catalog("t", type="sql", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}/w")
    yield opened
    opened.close()


def test_field_of_the_form_names_tables() -> None:
    assert chosen(None) is chosen("  ") is None
    assert chosen("shop.orders, payments.charges shop.orders") == ["shop.orders", "payments.charges"]
    assert chosen("payments.refunds,crm.contacts") == ["payments.refunds", "crm.contacts"]
    with pytest.raises(BadSources, match=r"no reconciliation reads shop: choose from shop\.orders, .*crm\.contacts"):
        chosen("shop")


def test_every_kind_says_what_it_rests_on() -> None:
    assert list(RESTS_ON) == list(KINDS)
    assert frozenset().union(*RESTS_ON.values()) <= set(NAMED)


def test_kinds_that_rest_on_a_source_need_it() -> None:
    everything = list(NAMED)
    assert kinds(None, everything) == list(KINDS)
    assert kinds(everything, everything) == list(KINDS)
    assert "verdict-missing" in kinds([], everything)
    assert not {"order-not-sold", "payment-missing", "amount-differs", "charged-but-rejected"} & {
        *kinds([], everything)
    }
    assert {"order-not-sold", "order-not-streamed"} <= set(kinds([tables.SOLD], everything))
    assert "payment-missing" not in kinds([tables.SOLD], everything)


def test_a_witness_that_is_left_out_is_not_rested_on_unless_it_never_landed() -> None:
    both = list(tables.RECONCILED)
    assert {*KINDS} - {*kinds(both, NAMED)} == {
        *("customer-differs", "held-overdue", "fraud-missed", "charged-but-rejected", "refund-missing")
    }
    assert kinds(both, both) == list(KINDS)
    with_refunds = [*both, tables.REFUNDED]
    assert "charged-but-rejected" not in kinds(with_refunds, NAMED), "a dispute may have taken the money back"
    assert "charged-but-rejected" in kinds(with_refunds, with_refunds)


def test_findings_that_rest_on_what_was_left_out_stay_as_they_are(catalog: Catalog) -> None:
    world = calm()
    lost, unpaid = (row["order_id"] for row in world.shop[:2])
    world.drop(FRAUD_VERDICTS.name, f"verdict/{lost}")
    world.charges = [row for row in world.charges if row["order_id"] != unpaid]
    first = outcome_of(world, "r1")
    assert {"verdict-missing", "payment-missing"} <= set(first.counts)
    ledger.record(catalog, first)
    second = msgspec.structs.replace(outcome_of(calm(), "r2"), sources=[tables.SOLD])
    assert second.differences == []
    ledger.record(catalog, second)
    rows = catalog.load_table(tables.FINDINGS.name).scan().to_arrow().to_pylist()
    states = {(row["kind"], row["order_id"]): row["state"] for row in rows}
    assert states["verdict-missing", lost] == "closed"
    assert states["payment-missing", unpaid] == "open"
