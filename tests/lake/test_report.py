"""The page and the document: for an empty run, a usual one and a huge one; nothing loaded from elsewhere."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from lake.reconcile.corrections import Emitted
from lake.reconcile.findings import money
from lake.reconcile.outcome import Day, Outcome
from lake.report.document import document
from lake.report.page import LISTED, render, stake, sums
from order_fraud.events import DeliveryReleased, PossibleFraud
from tests.lake.reconcile_world import START, World, calm, edit, outcome_of

NOTHING = Emitted(0, 0, 0)
VOID = {"meta", "br", "path", "use", "circle", "rect"}


class Reader(HTMLParser):
    """Collects ids, references and text, and that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} has a script in {name}"
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "action", "xlink:href"):
                self.references.append(value or "")
            self.references += re.findall(r"url\(([^)]+)\)", value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


STORIES = "../../../orders/"
"""From a report at the desk to the story of an order, whose id may hold anything."""


def check(page: str) -> str:
    """Whatever the run, the page stands on its own; return its text."""
    reader = read(page)
    assert not reader.tags & {"script", "iframe", "object", "embed", "link", "img", "form"}
    assert "http" not in page.replace("http-equiv", "")
    assert "@import" not in page
    assert len(reader.ids) == len(set(reader.ids))
    targets = {reference.removeprefix("#") for reference in reader.references if reference.startswith("#")}
    assert targets <= set(reader.ids)
    elsewhere = {reference for reference in reader.references if not reference.startswith("#")}
    stories = {reference for reference in elsewhere if reference.startswith(STORIES)}
    assert not any({*"/<>\"'"} & set(reference.removeprefix(STORIES)) for reference in stories)
    assert elsewhere - stories <= {
        "report.json",
        "changes.csv",
        "quality.html",
        "report.html",
    }
    return " ".join(" ".join(reader.text).split())


@pytest.fixture
def faulty() -> World:
    world = calm()
    for _ in range(3):
        world.charges.pop()
    world.pay("<script>alert(1)</script>", START, 100)
    world.charges[0]["amount"] += 5
    held = next(row for row in world.topics["fraud.verdicts"] if row["type"] == PossibleFraud.__name__)
    world.told(DeliveryReleased, held["subject"], held["key"], held["time"])
    return world


def test_run_without_findings_is_countersigned() -> None:
    text = check(render(outcome_of(calm(), "r"), NOTHING))
    assert "48 of 48 verdicts re-derived byte for byte" in text
    assert "Shop, stream, warehouse and payment provider agree on every order of these days." in text
    assert "nothing to correct" in text


def test_run_without_orders_is_a_page_too() -> None:
    text = check(render(outcome_of(World(), "r", dry_run=True), NOTHING))
    assert "No verdict on these days" in text
    assert "The shop sold nothing on these days." in text
    assert "dry run" in text
    assert "None" not in text.replace("None. Shop", "").replace("None on these days", "")


def test_findings_are_told_with_cause_evidence_money_and_remedy(faulty: World) -> None:
    text = check(render(outcome_of(faulty, "r"), Emitted(6, 1, 0)))
    assert "Sold, but not paid 3" in text
    assert "Released without clearance 1" in text
    assert "The delivery service stops or recalls the parcel. by event" in text
    assert "snapshot of shop.orders 11" in text
    assert "<script>alert(1)</script>" in text  # as text


def test_verdict_that_does_not_come_out_breaks_the_seal() -> None:
    world = calm()
    edit(world.topics["fraud.verdicts"][0], score=999)
    page = render(outcome_of(world, "r"), NOTHING)
    text = check(page)
    assert "47 of 48 verdicts re-derived byte for byte" in text
    assert "1 order did not come out as the stream wrote them" in text
    assert 'class="seal broken"' in page
    assert "score is 999, re-derived" in text
    assert "of 4 days every verdict came out again" in page
    assert "On 3 of 4" in page


def test_huge_run_lists_the_first_and_points_to_the_document() -> None:
    world = calm(customers=400, orders=5)
    world.charges.clear()
    outcome = outcome_of(world, "r")
    assert len(outcome.differences) == 2000
    days = [Day(START.date() + timedelta(days=n), n, 3) for n in range(5000)]
    outcome = msgspec.structs.replace(outcome, summary=msgspec.structs.replace(outcome.summary, days=days))
    page = render(outcome, Emitted(2000, 0, 0))
    assert f"The first {LISTED} of 2,000, in the order of business" in check(page)
    assert len(page) < 1_000_000
    assert len(json.loads(document(outcome, NOTHING))["findings"]) == 2000


def test_same_run_gives_the_same_page(faulty: World) -> None:
    outcome = outcome_of(faulty, "r")
    assert render(outcome, NOTHING) == render(outcome, NOTHING)


def test_pictures_say_in_words_what_they_show(faulty: World) -> None:
    outcome = outcome_of(faulty, "r")
    page = render(outcome, NOTHING)
    labels = re.findall(r'<svg role="img" aria-label="([^"]+)"', page)
    assert len(labels) == 7
    said = " ".join(labels)
    assert "payment-missing 3" in said
    paid = sum(one.finding.amount for one in outcome.differences if one.finding.kind == "payment-missing")
    assert f"payment-missing {money(paid, 'USD')}" in said
    assert "every verdict came out again; the lowest share is 100.00%" in said
    assert "var(--ok)" in page
    assert not re.search(r"#0[1-6]0[1-6]0[1-6]", page)


def test_document_has_what_the_page_has(faulty: World) -> None:
    outcome = outcome_of(faulty, "manual__1")
    found = json.loads(document(outcome, Emitted(6, 1, 2)))
    assert found["run"] == "manual__1"
    assert found["counts"] == outcome.counts
    assert sum(found["counts"].values()) == len(found["findings"]) == 6
    assert (found["orders"], found["not_reproducible"]) == (48, 0)
    assert (found["corrections_emitted"], found["findings_emitted"], found["known_events"]) == (1, 6, 2)
    assert sum(found["verdicts"].values()) == found["verdicts_compared"] == found["verdicts_equal"] == 48
    assert found["snapshots"] == {"shop.orders": 11, "kafka.fraud_verdicts": 22, "payments.refunds": 33}
    fields = {"kind", "order_id", "customer_id", "cause", "evidence", "amount", "currency", "remedy", "time", "state"}
    assert all(set(one) == fields for one in found["findings"])


def test_money_of_different_currencies_is_not_added_up(faulty: World) -> None:
    faulty.charges[3]["currency"] = "EUR"
    faulty.pay("ghost", START, 5, currency="JPY")
    differences = outcome_of(faulty, "r").differences
    assert set(sums(differences)) == {"USD", "JPY"}
    assert stake(differences).endswith("5 JPY")
    assert stake([]) == "nothing"


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (123456789, "USD", "1,234,567.89 USD"),
        (5, "USD", "0.05 USD"),
        (1500, "JPY", "1,500 JPY"),
        (1500, "KWD", "1.500 KWD"),
        (0, None, "0.00"),
        (None, "USD", "an unknown amount"),
    ],
)
def test_money_as_people_write_it(amount: int | None, currency: str | None, text: str) -> None:
    assert money(amount, currency) == text


@pytest.fixture
def environment(stack: dict[str, str], catalog_uri: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The stack's addresses as a task sees them, with a catalog of this test alone."""
    for name, value in (stack | {"COUNTERSIGN_CATALOG": catalog_uri}).items():
        monkeypatch.setenv(name, value)
    return stack


def test_store_keeps_and_lists_reports(environment: dict[str, str]) -> None:
    from lake.report.names import BACKTEST, RECONCILE
    from lake.report.store import HTML, JSON, NoSuchReport, ReportStore
    from lake.settings import from_environment

    store = ReportStore(from_environment(), RECONCILE)
    assert not store.has("run-1")
    with pytest.raises(NoSuchReport, match="'run-1' has no report"):
        store.get("run-1", HTML)
    assert store.put("run-1", HTML, b"one") == f"s3://{store.bucket}/reports/reconcile_orders/run-1/report.html"
    store.put("run-1", HTML, b"two")
    store.put("run-2", JSON, b"{}")
    assert store.get("run-1", HTML) == b"two"
    assert [one.run for one in store.runs() if one.run.startswith("run-")] == ["run-1"]
    other = ReportStore(from_environment(), BACKTEST)
    assert not other.has("run-1"), "runs of different DAGs may have the same id"
    with pytest.raises(NoSuchReport, match=r"runs of '\.\./x' have no report"):
        ReportStore(from_environment(), "../x")


def test_run_from_the_lake_to_the_page_and_again(
    environment: dict[str, str], lake: Any, faulty: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lake import tables
    from lake.reconcile import corrections, tasks
    from lake.reconcile.run import NoSuchRun
    from lake.report.names import RECONCILE
    from lake.report.store import HTML, JSON, ReportStore
    from lake.settings import from_environment
    from tests.lake.test_reconcile_lake import findings, land

    land(lake, faulty)

    def whole(run_id: str, *, dry_run: bool = False, **other: Any) -> dict[str, Any]:
        held_hours = 20_000  # the world's records are of January 2026
        params = {"from_day": None, "to_day": None, "dry_run": dry_run, "held_hours": held_hours} | other
        context = {"run_id": run_id, "params": params}
        monkeypatch.setattr(tasks, "get_current_context", lambda: context)
        checked = tasks.check_sources(Path("dags/flows"))
        assert checked.keys() == {spec.name for spec in tables.TOPICS} | set(tables.RECONCILED)
        assert tasks.reconcile()["orders"] == 48
        return tasks.publish_report(tasks.correct())

    ghost = "<script>alert(1)</script>"
    own = replace(corrections.RECONCILIATION_FINDINGS, name="findings-of-a-run")
    make_topic(environment["COUNTERSIGN_KAFKA"], own.name, own.partitions)
    monkeypatch.setattr(corrections, "RECONCILIATION_FINDINGS", own)
    kinds = {"released-without-clearance": 1, "amount-differs": 1, "payment-missing": 3, "payment-orphan": 1}

    dry = whole("dry", dry_run=True)
    assert (dry["findings"], dry["corrections"]) == (kinds, 0)
    assert not lake.table_exists("reconciliation.findings")

    first = whole("manual__2026-01-01T00:00:00+00:00")
    assert (first["findings"], first["corrections"], first["findings_emitted"]) == (kinds, 1, 6)
    assert first["not_reproducible"] == 0
    assert len(findings(lake)) == 6

    second = whole("second")
    assert (second["findings"], second["corrections"], second["findings_emitted"]) == (kinds, 0, 0)
    assert {row[2:] for row in findings(lake)} == {("second", "manual__2026-01-01T00:00:00+00:00")}

    before = lake.load_table("reconciliation.findings").current_snapshot()
    again = whole("again", held_hours=0, repeat_run="manual__2026-01-01T00:00:00+00:00")
    assert (again["findings"], again["corrections"]) == (kinds, 0)
    assert lake.load_table("reconciliation.findings").current_snapshot() == before
    with pytest.raises(NoSuchRun, match="there is no reconciliation 'nobody' to repeat"):
        whole("nothing", repeat_run="nobody")

    store = ReportStore(from_environment(), RECONCILE)
    run = SimpleNamespace(name=first["report_html"].split("/")[-2])
    assert "48 of 48 verdicts" in check(store.get(run.name, HTML).decode())
    assert {one["order_id"] for one in json.loads(store.get(run.name, JSON))["findings"]} >= {ghost}


def make_topic(bootstrap: str, name: str, partitions: int) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic

    from tests.lake.test_reconcile_corrections import wait_for_leaders

    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics([NewTopic(name, partitions, 1)]).values():
        made.result(30)
    wait_for_leaders(bootstrap, name)


def test_outcome_says_how_many_of_each_kind(faulty: World) -> None:
    outcome: Outcome = outcome_of(faulty, "r")
    assert list(outcome.counts) == ["released-without-clearance", "amount-differs", "payment-missing", "payment-orphan"]
