"""Disputes at the sandbox's payment provider: the official Stripe client works against it unchanged."""

from collections.abc import Iterator

import pytest
import stripe

from sandbox.records import Charge, Dispute, Load, Refund
from tests.unit.sandbox_asgi import SECRETS
from tests.unit.sandbox_server import Server, serving

START = 1_425_168_000


def charge(number: int) -> Charge:
    return Charge(
        charge_id=f"ch_{number}",
        order_id=f"{number}-1",
        customer_id=str(number),
        created=START + number,
        amount=3400,
        currency="USD",
        captured=True,
    )


def dispute(number: int, **changed: object) -> Dispute:
    fields = {
        "dispute_id": f"dp_{number}",
        "charge_id": f"ch_{number}",
        "amount": 3400,
        "created": START + 1000 + number,
    }
    return Dispute(**(fields | changed))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def client(server: Server) -> stripe.StripeClient:
    server.clear()
    disputes = [dispute(number) for number in range(1, 8)]
    disputes[2] = dispute(3, status="warning_needs_response", reason="general")
    disputes[3] = dispute(4, status="lost", reason="product_not_received")
    server.load(Load(charges=[charge(number) for number in range(1, 9)], disputes=disputes))
    return stripe.StripeClient(SECRETS[1], base_addresses={"api": server.url}, max_network_retries=0)


def test_a_dispute_in_stripes_words(client: stripe.StripeClient) -> None:
    one = client.v1.disputes.retrieve("dp_1")
    assert (one.object, one.amount, one.currency, one.charge, one.payment_intent) == (
        *("dispute", 3400, "usd", "ch_1"),
        "pi_1",
    )
    assert (one.reason, one.status, one.is_charge_refundable) == ("fraudulent", "needs_response", False)
    assert (one.created, one.evidence_details.due_by) == (START + 1001, START + 1001 + 7 * 86_400)
    assert (one.evidence_details.has_evidence, one.evidence_details.submission_count) == (False, 0)
    assert one.evidence.receipt is None
    assert client.v1.disputes.retrieve("dp_4").evidence_details.submission_count == 1


def test_all_are_listed_newest_first_page_by_page(client: stripe.StripeClient) -> None:
    listed = client.v1.disputes.list({"limit": 3})
    assert (listed.has_more, listed.url, [one.id for one in listed.data]) == (
        True,
        "/v1/disputes",
        ["dp_7", "dp_6", "dp_5"],
    )
    assert [one.id for one in listed.auto_paging_iter()] == [f"dp_{number}" for number in range(7, 0, -1)]
    since = client.v1.disputes.list({"created": {"gte": START + 1006}})
    assert [one.id for one in since] == ["dp_7", "dp_6"]


def test_lists_are_filtered_by_charge_and_by_intent(client: stripe.StripeClient) -> None:
    assert [one.id for one in client.v1.disputes.list({"charge": "ch_2"})] == ["dp_2"]
    assert [one.id for one in client.v1.disputes.list({"payment_intent": "pi_5"})] == ["dp_5"]
    assert client.v1.disputes.list({"charge": "ch_8"}).data == []
    with pytest.raises(stripe.InvalidRequestError, match="No such dispute: 'dp_9'") as caught:
        client.v1.disputes.list({"starting_after": "dp_9"})
    assert caught.value.code == "resource_missing"
    with pytest.raises(stripe.InvalidRequestError, match="Received unknown parameter: colour"):
        client.v1.disputes.list({"colour": "red"})  # type: ignore[typeddict-unknown-key]


def test_a_charge_shows_its_dispute_and_refuses_refunds_but_not_for_an_inquiry(client: stripe.StripeClient) -> None:
    assert client.v1.charges.retrieve("ch_1").disputed is True
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.refunds.create({"charge": "ch_1"})
    assert caught.value.code == "charge_disputed"
    assert client.v1.charges.retrieve("ch_3").disputed is False
    assert client.v1.refunds.create({"charge": "ch_3"}).status == "succeeded"


def test_refunds_are_listed_by_their_time_and_a_failed_one_gives_nothing_back(
    client: stripe.StripeClient, server: Server
) -> None:
    given = {"charge_id": "ch_8", "amount": 100}
    server.load(
        Load(
            refunds=[
                Refund(refund_id="re_b", created=START + 20, **given),
                Refund(refund_id="re_a", created=START + 30, status="failed", **given),
                Refund(refund_id="re_c", created=START + 10, **given),
            ]
        )
    )
    assert [one.id for one in client.v1.refunds.list()] == ["re_a", "re_b", "re_c"]
    assert [one.id for one in client.v1.refunds.list({"created": {"lt": START + 20}})] == ["re_c"]
    assert client.v1.charges.retrieve("ch_8").amount_refunded == 200
