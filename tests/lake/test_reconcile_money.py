"""Refunds, disputes and contacts: what is planted between shop, provider, settlement and CRM is found exactly."""

import random
from datetime import timedelta
from typing import Any

import msgspec
import polars as pl
import pytest

from lake import disputes, labels
from lake.reconcile import facts
from lake.reconcile.allowances import Allowances
from lake.reconcile.match import match
from lake.reconcile.scope import Scope
from lake.settle.choose import last_words
from order_fraud import topics
from order_fraud.events import ChargebackOpened, NewCustomer, NoFraudDetected, PossibleFraud
from tests.lake.reconcile_world import ARRIVED, START, Incoming, World, calm, traffic
from tests.lake.test_reconcile_kinds import capture, say
from tests.lake.test_reconcile_match import by_type, found, the_one


@pytest.fixture
def world() -> World:
    return calm()


def shop_row(world: World, order_id: str) -> dict[str, Any]:
    return next(row for row in world.shop if row["order_id"] == order_id)


def captured(world: World) -> tuple[str, int]:
    """A released order that was paid."""
    order_id = by_type(world, NoFraudDetected)[0]
    return order_id, int(str(capture(world, order_id)["amount"]))


# --- refund-missing ---------------------------------------------------------------------------------------------------


def test_refund_of_the_shop_that_the_provider_does_not_have(world: World) -> None:
    order_id, amount = captured(world)
    world.give_back(order_id, amount)
    finding = the_one(world).finding
    assert (finding.kind, finding.order_id, finding.remedy) == ("refund-missing", order_id, "refund-payment")
    assert (finding.amount, finding.currency) == (amount, "USD")
    assert finding.cause.startswith(
        f"The shop gave back {amount / 100:,.2f} USD of order {order_id}, but 3 d later the "
    )
    assert finding.cause.endswith(f"the payment provider has no such refund: {amount / 100:,.2f} USD is missing.")
    assert finding.evidence["refunds in the shop"] == "80"
    assert finding.evidence["snapshot of payments.refunds"] == "33"
    world.refund(order_id, amount)
    assert found(world) == []


def test_refund_over_another_amount_names_both_and_the_difference(world: World) -> None:
    order_id, amount = captured(world)
    world.give_back(order_id, amount)
    world.refund(order_id, amount - 150)
    finding = the_one(world).finding
    assert finding.amount == 150
    assert f"gave back {(amount - 150) / 100:,.2f} USD: 1.50 USD is missing" in finding.cause
    assert finding.evidence["refunds of the provider"] == "re_0"
    world.refund(order_id, 150)
    assert found(world) == []


def test_provider_that_gave_back_more_than_the_shop_says(world: World) -> None:
    order_id, amount = captured(world)
    world.give_back(order_id, amount // 2)
    world.refund(order_id, amount // 2 + 7)
    finding = the_one(world).finding
    assert (finding.kind, finding.amount) == ("refund-missing", 7)
    assert "0.07 USD is too much" in finding.cause


def test_refund_of_which_the_shop_says_nothing_is_nobody_s_promise(world: World) -> None:
    order_id, amount = captured(world)
    world.refund(order_id, amount)
    assert found(world) == []


@pytest.mark.parametrize("status", ["REFUNDED", "VOIDED"])
def test_word_of_the_shop_without_a_sum_means_all_of_it(world: World, status: str) -> None:
    order_id, amount = captured(world)
    shop_row(world, order_id)["financial_status"] = status
    assert the_one(world).finding.amount == amount
    world.refund(order_id, amount - 1)
    assert the_one(world).finding.amount == 1
    world.refund(order_id, 1)
    assert found(world) == []


def test_settled_fraud_whose_money_did_not_go_back(world: World) -> None:
    order_id, amount = captured(world)
    world.returned = [order_id]
    finding = the_one(world).finding
    assert (finding.kind, finding.amount) == ("refund-missing", amount)
    assert finding.cause.startswith(f"The settlement of order {order_id} as fraud says that its money went back, but")
    world.refund(order_id, amount)
    assert found(world) == []


def test_what_was_only_authorised_cannot_go_back(world: World) -> None:
    for order_id in by_type(world, NoFraudDetected):
        world.give_back(order_id, shop_row(world, order_id)["amount"])
    assert found(world) == []


def test_refund_is_waited_for_and_counted_from_its_booking(world: World) -> None:
    order_id, amount = captured(world)
    world.give_back(order_id, amount, ARRIVED)
    assert found(world, settled=ARRIVED + timedelta(hours=71)) == []
    held = Allowances(held_hours=1e4)
    assert found(world, settled=ARRIVED + timedelta(hours=72), allowances=held) == [("refund-missing", order_id)]
    patient = Allowances(held_hours=1e4, refund_hours=100)
    assert found(world, settled=ARRIVED + timedelta(hours=72), allowances=patient) == []


def test_fresh_refund_of_the_provider_is_not_too_much_before_the_shop_had_time_to_book_it(world: World) -> None:
    order_id, amount = captured(world)
    world.give_back(order_id, amount // 2)
    world.refund(order_id, amount // 2)
    world.refund(order_id, 3, ARRIVED)
    assert found(world, settled=ARRIVED + timedelta(hours=71)) == []


def test_bank_that_takes_the_money_back_leaves_nothing_to_refund(world: World) -> None:
    order_id, amount = captured(world)
    world.give_back(order_id, amount)
    world.dispute(order_id, reason="product_not_received")
    assert found(world) == []
    world.disputes[0]["status"] = "won"
    assert found(world) == [("refund-missing", order_id)]


def test_held_order_that_was_partly_refunded_is_one_finding(world: World) -> None:
    held = by_type(world, PossibleFraud)[0]
    amount = int(str(capture(world, held)["amount"]))
    world.give_back(held, amount // 2)
    assert found(world) == [("charged-but-rejected", held)]


def test_wrong_charge_that_was_refunded_whole_is_that_only(world: World) -> None:
    order_id, amount = captured(world)
    next(row for row in world.charges if row["order_id"] == order_id)["amount"] = amount - 100
    world.give_back(order_id, amount)
    world.refund(order_id, amount - 100)
    assert found(world) == [("amount-differs", order_id)]


def test_sums_are_never_added_across_currencies(world: World) -> None:
    order_id, amount = captured(world)
    world.pay(order_id, START, 500, currency="EUR", captured=True)
    shop_row(world, order_id)["financial_status"] = "VOIDED"
    one = next(one.finding for one in match(world.scope()) if one.finding.kind == "refund-missing")
    assert (one.amount, one.currency) in ((amount, "USD"), (500, "EUR"))
    assert f"5.00 EUR and {amount / 100:,.2f} USD is missing" in one.cause


def test_rows_in_quarantine_are_no_witness(world: World) -> None:
    order_id, amount = captured(world)
    world.give_back(order_id, amount)
    world.refunds_aside = [order_id]
    assert found(world) == []


def test_without_the_provider_s_refunds_nothing_is_known_to_be_missing(world: World) -> None:
    order_id, amount = captured(world)
    world.give_back(order_id, amount)
    scope = world.scope()
    blind = Scope(scope.facts, scope.parity, scope.first, scope.last, scope.settled, {}, scope.allowances)
    assert match(blind) == []


def test_failed_refund_brings_nothing_back_and_a_refund_finds_its_order_by_the_charge() -> None:
    charges = pl.DataFrame({"charge_id": ["ch_1", "ch_2"], "order_id": ["o-1", "o-2"]})
    common = {"amount": 5, "currency": "USD", "created_at": START}
    rows = [
        common | {"refund_id": "re_1", "charge_id": "ch_1", "status": "failed"},
        common | {"refund_id": "re_2", "charge_id": "ch_2", "status": "pending"},
        common | {"refund_id": "re_3", "charge_id": "ch_9", "status": "succeeded"},
    ]
    assert facts.refunds(pl.DataFrame(rows), charges)["order_id"].to_list() == ["o-2"]


def test_settlement_s_last_word_on_the_money_counts() -> None:
    def step(order_id: str, number: int, word: str, step: str | None = "return-money", undo: bool = False) -> dict:
        return {"order_id": order_id, "number": number, "word": word, "step": step, "undo": undo}

    steps = [
        step("done", 1, "begun"),
        step("done", 2, "done"),
        step("done", 3, "begun", "cancel-order"),
        step("begun", 1, "begun"),
        step("refused", 2, "refused"),
        step("refused", 1, "begun"),
        step("again", 1, "done"),
        step("again", 2, "reopened", None),
        step("again", 3, "begun"),
    ]
    assert facts.returned(pl.DataFrame(steps))["order_id"].to_list() == ["done"]


# --- disputes ---------------------------------------------------------------------------------------------------------


def test_dispute_of_which_no_event_told_is_a_missed_fraud(world: World) -> None:
    cleared = by_type(world, NoFraudDetected)[0]
    world.dispute(cleared, START + timedelta(days=40))
    finding = the_one(world).finding
    assert (finding.kind, finding.order_id) == ("fraud-missed", cleared)
    assert "was charged back by dp_0 on 2015-04-10, of which no ChargebackOpened event told." in finding.cause
    assert finding.evidence["told to the stream"] == "no"
    assert (finding.evidence["word"], finding.evidence["word stands at"]) == ("dispute/dp_0", "payments.disputes")
    say(world, ChargebackOpened, cleared, START + timedelta(days=41), "dp_0")
    assert the_one(world).finding.evidence["told to the stream"] == "yes"


@pytest.mark.parametrize(
    "other", [{"reason": "product_not_received"}, {"status": "won"}, {"status": "warning_needs_response"}]
)
def test_dispute_that_is_no_word_of_fraud(world: World, other: dict[str, str]) -> None:
    world.dispute(by_type(world, NoFraudDetected)[0], **other)
    assert found(world) == []


def test_disputed_money_of_a_held_order_is_not_refunded_on_top(world: World) -> None:
    held = by_type(world, PossibleFraud)[0]
    capture(world, held)
    assert found(world) == [("charged-but-rejected", held)]
    world.dispute(held, reason="general")
    assert found(world) == []


def test_dispute_is_a_word_on_its_order_and_is_settled_like_any_other(world: World) -> None:
    cleared = by_type(world, NoFraudDetected)[0]
    world.dispute(cleared, START + timedelta(days=40))
    rows = world.scope().facts.words
    label, case = last_words(rows)[cleared]
    assert (label, case.known_at) == ("fraud", START + timedelta(days=40))
    assert case.cause == "the cardholder's bank disputes the charge (dp_0)"
    plain = labels.words(world.archive(topics.CUSTOMER_EVENTS.name, labels.COLUMNS))
    assert rows.schema == plain.schema
    assert disputes.added(plain, world.scope().facts.disputes.clear()).equals(plain)


# --- customer-differs -------------------------------------------------------------------------------------------------


def with_contacts(world: World) -> World:
    for customer in dict.fromkeys(row["customer_id"] for row in world.shop):
        world.in_crm(customer)
    return world


def first_order(world: World, customer: str) -> dict[str, Any]:
    theirs = [row for row in world.shop if row["customer_id"] == customer]
    return min(theirs, key=lambda row: (row["created_at"], row["order_id"]))


def contact_of(world: World, customer: str) -> dict[str, Any]:
    return next(row for row in world.contacts if row["customer_id"] == customer)


def test_contacts_that_say_the_same_are_no_finding(world: World) -> None:
    assert found(with_contacts(world)) == []


def test_another_address_in_the_crm(world: World) -> None:
    contact_of(with_contacts(world), "c3")["email_token"] = "tok_x"
    one = the_one(world)
    theirs = [row for row in world.shop if row["customer_id"] == "c3"]
    assert (one.finding.kind, one.finding.order_id) == ("customer-differs", first_order(world, "c3")["order_id"])
    assert (one.finding.customer_id, one.finding.remedy) == ("c3", "correct-contact")
    assert one.finding.amount == sum(row["amount"] for row in theirs)
    assert one.time == first_order(world, "c3")["created_at"]
    assert one.finding.cause == (
        "The CRM's contact 003c3 of customer c3 has another e-mail address than the shop: "
        "e-mail address tok_x instead of tok_c3."
    )
    assert one.finding.evidence["e-mail address in the CRM"] == "tok_x"
    assert one.finding.evidence["e-mail address in the shop"] == "tok_c3"
    assert one.finding.evidence["contact"] == "003c3"


def test_address_that_the_crm_lacks_and_one_that_the_shop_lacks(world: World) -> None:
    contact_of(with_contacts(world), "c3")["email_token"] = None
    for row in world.shop:
        row["email_token"] = None if row["customer_id"] == "c4" else row["email_token"]
    assert found(world) == [("customer-differs", first_order(world, "c3")["order_id"])]


def test_the_latest_address_counts_since_its_first_order(world: World) -> None:
    with_contacts(world)
    theirs = sorted((row for row in world.shop if row["customer_id"] == "c3"), key=lambda row: row["created_at"])
    theirs[0]["email_token"] = "tok_old"
    assert found(world) == [], "the CRM knows the address of today"
    theirs[2]["email_token"] = theirs[3]["email_token"] = "tok_new"
    assert found(world) == [("customer-differs", theirs[2]["order_id"])]
    contact_of(world, "c3")["email_token"] = "tok_new"
    assert found(world) == []


def channelled(channel: str | None) -> World:
    """A world whose customers all came by one channel."""

    def by(event: Incoming) -> Incoming:
        if not isinstance(event, NewCustomer):
            return event
        return msgspec.structs.replace(event, data=msgspec.structs.replace(event.data, channel=channel))

    made = traffic(4)
    return with_contacts(World().stream([by(event) for event in made]).sell(made))


def test_channels_are_compared_whatever_their_case() -> None:
    world = channelled("Ads")
    for contact, channel in zip(world.contacts, ("ads", " ADS", "SEO", None), strict=True):
        contact["lead_source"] = channel
    unlike = [contact["customer_id"] for contact in world.contacts[2:]]
    assert sorted(found(world)) == sorted(
        ("customer-differs", first_order(world, customer)["order_id"]) for customer in unlike
    )
    causes = {one.finding.customer_id: one.finding.cause for one in match(world.scope())}
    assert causes[unlike[0]].endswith("has another channel than the sign-up: channel SEO instead of Ads.")
    assert causes[unlike[1]].endswith("channel none instead of Ads.")


def test_channel_that_the_sign_up_does_not_name_is_none_to_compare() -> None:
    world = channelled(None)
    world.contacts[0]["lead_source"] = "SEO"
    assert found(world) == []


def test_two_fields_of_one_customer_are_one_finding() -> None:
    world = channelled("Ads")
    for contact in world.contacts:
        contact["lead_source"] = "Ads"
    contact_of(world, "c2").update(lead_source="SEO", email_token="tok_x")
    finding = the_one(world).finding
    assert "has another channel and e-mail address than the sign-up and the shop" in finding.cause
    assert finding.evidence["channel of event customer/c2 on customer.events"] == "Ads"


def test_order_is_given_time_to_reach_the_crm(world: World) -> None:
    contact_of(with_contacts(world), "c3")["email_token"] = "tok_x"
    moment = first_order(world, "c3")["created_at"]
    assert ("customer-differs", first_order(world, "c3")["order_id"]) not in found(
        world, settled=moment + timedelta(hours=23)
    )
    assert ("customer-differs", first_order(world, "c3")["order_id"]) in found(
        world, settled=moment + timedelta(hours=24)
    )


def test_difference_belongs_to_the_day_of_its_order(world: World) -> None:
    contact_of(with_contacts(world), "c3")["email_token"] = "tok_x"
    day = first_order(world, "c3")["day"]
    assert len(found(world, first=day, last=day)) == 1
    assert found(world, first=day + timedelta(days=1)) == []


def test_contact_of_somebody_who_never_ordered_concerns_no_order(world: World) -> None:
    with_contacts(world)
    world.in_crm("stranger", email_token="tok_x")
    assert found(world) == []


@pytest.mark.parametrize("seed", range(4))
def test_planted_differences_of_contacts_are_found_exactly(seed: int) -> None:
    draw = random.Random(seed)
    world = with_contacts(calm(seed, customers=40, orders=3))
    chosen = draw.sample(world.contacts, 15)
    for contact in chosen:
        contact["email_token"] = draw.choice(("tok_x", None))
    expected = sorted(("customer-differs", first_order(world, row["customer_id"])["order_id"]) for row in chosen)
    assert sorted(found(world)) == expected
