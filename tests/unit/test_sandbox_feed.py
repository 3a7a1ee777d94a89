"""The feed: what each source then holds, fault by fault, and that it sees the producer's orders."""

import json
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from order_fraud.events import NewOrder
from producers import book, patterns
from producers.book import Book
from sandbox import faults, feed
from sandbox.records import Charge, Order
from tests.unit.sandbox_asgi import Client

SEED = 11


@pytest.fixture(scope="module")
def sold() -> Book:
    return patterns.generate(1_500, SEED)


@pytest.fixture(scope="module")
def plan(sold: Book) -> dict[str, list[str]]:
    return faults.plan((sale.order_id for sale in sold.sales), SEED)


@pytest.fixture(scope="module")
def orders(sold: Book, plan: dict[str, list[str]]) -> dict[str, Order]:
    return {order.order_id: order for order in feed.orders(sold, plan)}


@pytest.fixture(scope="module")
def charges(sold: Book, plan: dict[str, list[str]]) -> dict[str, Charge]:
    return {charge.order_id: charge for charge in feed.charges(sold, plan, SEED)}


def test_without_a_plan_shop_payments_and_stream_agree(sold: Book) -> None:
    streamed = {
        event.data.order_id: (event.data.customer_id, event.data.amount, int(event.time.timestamp()))
        for _, event in book.events(sold)
        if isinstance(event, NewOrder)
    }
    assert len(streamed) == 1_500
    assert {o.order_id: (o.customer_id, o.amount, o.created) for o in feed.orders(sold, {})} == streamed
    assert {c.order_id: (c.customer_id, c.amount, c.created) for c in feed.charges(sold, {}, SEED)} == streamed


def test_the_shop_has_all_but_what_was_not_sold(
    sold: Book, plan: dict[str, list[str]], orders: dict[str, Order]
) -> None:
    everything = {sale.order_id for sale in sold.sales}
    assert everything - set(orders) == set(plan[faults.NOT_SOLD])
    assert set(plan[faults.NOT_STREAMED]) <= set(orders)
    assert {order.email for order in orders.values() if order.customer_id == "1000001"} <= {"c1000001@example.test"}


def test_each_order_of_the_shop_is_charged_but_the_planned_and_the_orphans_are_extra(
    plan: dict[str, list[str]], orders: dict[str, Order], charges: dict[str, Charge]
) -> None:
    assert set(orders) - set(charges) == set(plan[faults.PAYMENT_MISSING])
    assert set(charges) - set(orders) == set(plan[faults.PAYMENT_ORPHAN])
    differing = {name for name, order in orders.items() if name in charges and charges[name].amount != order.amount}
    assert differing == set(plan[faults.AMOUNT_DIFFERS])
    assert len({charge.charge_id for charge in charges.values()}) == len(charges)


def test_more_in_the_plan_changes_just_that(sold: Book, plan: dict[str, list[str]], charges: dict[str, Charge]) -> None:
    free = sorted(set(charges) - {order_id for order_ids in plan.values() for order_id in order_ids})[:5]
    again = {one.order_id: one for one in feed.charges(sold, plan | {faults.CHARGED_REJECTED: free}, SEED)}
    changed = {order_id for order_id, charge in again.items() if charge != charges[order_id]}
    assert changed == set(free)
    assert {order_id for order_id, charge in again.items() if charge.captured} == set(free)
    assert not any(charge.captured for charge in charges.values())


def test_orphans_fall_on_days_of_real_orders(
    sold: Book, plan: dict[str, list[str]], charges: dict[str, Charge]
) -> None:
    times = {int(sale.row.purchase_time.timestamp()) for sale in sold.sales}
    assert {charges[order_id].created for order_id in plan[faults.PAYMENT_ORPHAN]} <= times


def test_feeding_twice_changes_nothing(sold: Book, plan: dict[str, list[str]]) -> None:
    loads = list(feed.batches(sold, plan, SEED))
    customers = len(sold.signups)
    sizes = [len(load.orders) + len(load.charges) + len(load.accounts) + len(load.contacts) for load in loads]
    assert sizes == [1_470, 1_470, customers, customers]
    client = Client(loads[0])
    for load in loads[1:]:
        client.load(load)
    before = client.get("/v1/charges?limit=100", headers={"Authorization": "Bearer sk_test_12345678"}).json()
    for load in feed.batches(sold, plan, SEED):
        client.load(load)
    held = {"status": "ok", "orders": 1_470, "charges": 1_470, "accounts": customers, "contacts": customers}
    held |= {"shipments": 0, "sales_orders": 0, "visits": 0}
    assert client.get("/health").json() == held
    assert client.get("/v1/charges?limit=100", headers={"Authorization": "Bearer sk_test_12345678"}).json() == before


def test_a_batch_is_bounded() -> None:
    some = patterns.generate(2_001, 1)
    customers = len(some.signups)
    assert customers < feed.PER_REQUEST
    sizes = Counter(
        (len(load.orders), len(load.charges), len(load.accounts), len(load.contacts))
        for load in feed.batches(some, {}, SEED)
    )
    assert sizes == {
        (2_000, 0, 0, 0): 1,
        (1, 0, 0, 0): 1,
        (0, 2_000, 0, 0): 1,
        (0, 1, 0, 0): 1,
        (0, 0, customers, 0): 1,
        (0, 0, 0, customers): 1,
    }


def test_the_crm_has_each_customer_once_with_the_address_that_the_shop_has(
    sold: Book, orders: dict[str, Order]
) -> None:
    contacts = {contact.customer_id: contact for contact in feed.contacts(sold)}
    assert len(contacts) == len(list(feed.contacts(sold))) == len({sale.row.user_id for sale in sold.sales})
    assert {order.email for order in orders.values()} <= {contact.email for contact in contacts.values()}
    assert {account.customer_id for account in feed.accounts(sold)} == contacts.keys()
    assert contacts == {contact.customer_id: contact for contact in feed.contacts(sold)}


def test_a_plan_made_for_other_orders_is_refused(sold: Book, tmp_path: Path) -> None:
    path = tmp_path / "planted.json"
    path.write_text(json.dumps({faults.NOT_SOLD: ["4711-1"]}))
    with pytest.raises(feed.CannotFeed, match="made for other orders: order-not-sold names 4711-1"):
        feed.read_plan(path, sold)
    path.write_text("[1]")
    with pytest.raises(feed.CannotFeed, match="is not a plan of"):
        feed.read_plan(path, sold)
    with pytest.raises(feed.CannotFeed, match="No such file"):
        feed.read_plan(tmp_path / "none.json", sold)


def test_a_plan_is_read_as_it_was_written(sold: Book, plan: dict[str, list[str]], tmp_path: Path) -> None:
    path = tmp_path / "planted.json"
    path.write_bytes(msgspec.json.encode({**plan, faults.FORGED_RELEASE: ["1000001-1"]}))
    assert feed.read_plan(path, sold) == {**plan, faults.FORGED_RELEASE: ["1000001-1"]}


def test_a_missing_token_and_a_missing_sandbox_are_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--generate", "5", "--url", "http://127.0.0.1:9"]
    monkeypatch.delenv("SANDBOX_ADMIN_TOKEN", raising=False)
    assert feed.main(arguments) == 2
    assert "SANDBOX_ADMIN_TOKEN is not set" in capsys.readouterr().err
    monkeypatch.setenv("SANDBOX_ADMIN_TOKEN", "admin")
    assert feed.main(arguments) == 4
    assert "no sandbox answers at http://127.0.0.1:9" in capsys.readouterr().err
