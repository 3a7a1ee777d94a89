"""One order's story: complete, in time order, from both halves; on a real catalog, and through the desk."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from pyiceberg.catalog import Catalog, load_catalog

from lake import labels, tables
from lake.landing.quarantine import Rejected, set_aside
from lake.reconcile import ledger
from lake.settle.case import Case, Line
from lake.settle.ledger import Ledger
from lake.story.page import render
from lake.story.tell import NoSuchOrder, Story, tell
from order_fraud.events import DeliveryCancelled, FraudConfirmed, NewOrder
from order_fraud.settlement import Entry
from order_fraud.topics import ARCHIVED, CUSTOMER_EVENTS, FRAUD_POLICIES
from tests.lake.reconcile_world import START, World, feedback, full_traffic, outcome_of
from tests.lake.test_reconcile_lake import SPECS, catalog, land

ORDER = "c1-3"
__all__ = ["catalog"]


def eventful() -> World:
    """All six hops, a confirmed fraud, a recalled parcel, and a charge of another amount."""
    made = full_traffic(customers=4)
    bought = next(one for one in made if isinstance(one, NewOrder) and one.subject == ORDER)
    made.append(feedback(FraudConfirmed, bought, START + timedelta(days=20), "ann"))
    world = World().stream(made).sell(made)  # type: ignore[arg-type]  # words are passed over
    world.told(DeliveryCancelled, ORDER, "c1", START + timedelta(days=21))
    charge = next(one for one in world.charges if one["order_id"] == ORDER)
    charge["amount"] += 1
    return world


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("lake")
    catalog = load_catalog("t", type="sql", uri=f"sqlite:///{folder}/c.db", warehouse=f"file://{folder}/w")
    world = eventful()
    land(catalog, world)
    ledger.record(catalog, outcome_of(world, "r1"))
    case = Case(ORDER, "c1", START + timedelta(days=20), "a person confirmed the fraud (ann)")
    settled = Ledger(catalog, "s1")
    settled.add([Line(case, Entry("begun", "stop-delivery", key=f"settle/{ORDER}/stop-delivery"))])
    settled.add([Line(case, Entry("refused", "flag-customer", evidence={"reason": "locked"}))])
    bad = Rejected(row_id=ORDER, day=None, reason="the amount is negative", expectation="x", origin="shop", row="{}")
    set_aside(catalog, SPECS[tables.SOLD], [bad], "l1")
    labels.record(catalog, "l1")
    yield tell(catalog, ORDER)
    catalog.close()


def test_story_has_everything_from_both_halves_in_time_order(story: Story) -> None:
    times = [one.time for one in story.moments]
    assert times == sorted(times)
    told = [one.what for one in story.moments]
    assert told[0] == "Signed up"
    assert told[1:10] == ["Sold", "Came in", *["Passed on"] * 5, story.facts["Verdict"].partition(" · ")[0], told[9]]
    assert {"Paid", "Confirmed as fraud", "Delivery cancelled", "Set aside"} <= set(told)
    assert (told.count("Confirmed as fraud"), told.count("Passed on")) == (1, 10), "order and word pass five hops each"
    assert "Finding: Charged another amount" in told
    settled = [(one.what, one.said.partition(".")[0]) for one in story.moments if one.what.startswith("Settlement")]
    assert settled == [("Settlement: stop delivery", "Begun"), ("Settlement: flag customer", "Refused")]
    assert story.customer_id == "c1"
    assert story.facts["Delivery"] == "Delivery cancelled"
    assert story.facts["Turned out"] == "Confirmed as fraud"
    assert story.facts["Settlement"] == "flag customer: refused"
    assert story.facts["Findings"].split()[0] != "0"


def test_each_hop_shows_the_signals_that_it_stamped(story: Story) -> None:
    hops = [one for one in story.moments if one.what == "Passed on"]
    names = [name.partition(".")[0] for one in hops for name in one.details]
    assert list(dict.fromkeys(names))[-1] == "email_domain", "in the order of the hops"
    assert {"customer", "device", "ip", "card"} <= set(names)
    stamped = [name for one in hops for name in one.details]
    assert len(stamped) == len(set(stamped)) > 0, "each signal is shown once, where it was stamped"


def test_story_of_every_order_has_as_many_records_as_the_archive(catalog: Catalog) -> None:
    world = eventful()
    land(catalog, world)
    for order_id in sorted({row["order_id"] for row in world.shop})[::4]:
        there = sum(
            row["subject"] == order_id
            for topic in ARCHIVED
            if topic is not FRAUD_POLICIES
            for row in world.topics.get(topic.name, ())
        )
        moments = tell(catalog, order_id).moments
        assert sum(one.half == "stream" for one in moments) == there + 1, "and the sign-up"


def test_records_are_opened_by_their_place_alone(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wide column is never read by a filter that no statistics help with."""
    land(catalog, eventful())
    asked: list[tuple[Any, tuple[str, ...]]] = []
    table_type = type(catalog.load_table(tables.records(CUSTOMER_EVENTS).name))
    scan = table_type.scan

    def watched(self: Any, row_filter: Any = None, selected_fields: tuple[str, ...] = ("*",), **more: Any) -> Any:
        if self.name()[-2] == "kafka":
            asked.append((row_filter, selected_fields))
        return scan(self, row_filter, selected_fields, **more)

    monkeypatch.setattr(table_type, "scan", watched)
    tell(catalog, ORDER)
    wide = [which for which, columns in asked if "value" in columns]
    assert wide
    assert all("subject" not in str(which) and "offset" in str(which) for which in wide)


def test_page_is_whole_and_safe(story: Story) -> None:
    page = render(story)
    assert f"<h1>Order {ORDER}</h1>" in page
    assert page.count("<li class=") == len(story.moments)
    assert "<script" not in page
    evil = msgspec.structs.replace(story, order_id="<b>x</b>")
    assert "<b>x</b>" not in render(evil)


@pytest.mark.parametrize("order_id", ["nothing", "", "x" * 201, "' OR 1=1"])
def test_order_that_nobody_knows_is_said_so(catalog: Catalog, order_id: str) -> None:
    land(catalog, eventful())
    with pytest.raises(NoSuchOrder, match=r"no order id|is about order"):
        tell(catalog, order_id)


def test_desk_gives_html_to_browsers_and_json_to_programs_but_nothing_to_strangers(story: Story) -> None:
    from fastapi import HTTPException
    from fastapi.testclient import TestClient

    from desk.app import create_app

    def teller(order_id: str) -> Story:
        if order_id != "a/b":
            raise NoSuchOrder(f"nothing is about order {order_id!r}")
        return story

    client = TestClient(create_app(lambda: "ann", teller=teller))
    page = client.get("/orders/a/b", headers={"accept": "text/html,*/*"})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    document = client.get("/orders/a%2Fb").json()
    assert [one["what"] for one in document["moments"]] == [one.what for one in story.moments]
    missing = client.get("/orders/none")
    assert (missing.status_code, missing.json()["detail"]) == (404, "nothing is about order 'none'")

    def stranger() -> None:
        raise HTTPException(401)

    assert TestClient(create_app(stranger, teller=teller)).get("/orders/a/b").status_code == 401


def test_times_are_utc(story: Story) -> None:
    assert {one.time.utcoffset() for one in story.moments} == {timedelta(0)}
