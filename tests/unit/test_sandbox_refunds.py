"""What moves money back at the sandbox's payment provider: the official Stripe client works against it unchanged."""

import time
from collections.abc import Iterator

import pytest
import stripe

from lake.settle.signature import signature
from sandbox.records import Charge, Load
from tests.unit.sandbox_asgi import SECRETS
from tests.unit.sandbox_server import Server, serving


def charge(number: int, **changed: object) -> Charge:
    fields = {
        "charge_id": f"ch_{number}",
        "order_id": f"{number}-1",
        "customer_id": str(number),
        "created": 1_425_168_000 + number,
        "amount": 3400,
        "currency": "USD",
        "captured": True,
    } | changed
    return Charge(**fields)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def client(server: Server) -> stripe.StripeClient:
    server.clear()
    server.load(
        Load(
            charges=[
                charge(1),
                charge(2),
                charge(3, captured=False),
                charge(4, disputed=True),
                charge(5, order_id="it's 5"),
            ]
        )
    )
    return stripe.StripeClient(SECRETS[1], base_addresses={"api": server.url}, max_network_retries=0)


def once(key: str) -> stripe.RequestOptions:
    return {"idempotency_key": key}


def test_a_refund_gives_all_back_and_shows_on_the_charge(client: stripe.StripeClient) -> None:
    refund = client.v1.refunds.create({"charge": "ch_1", "reason": "fraudulent", "metadata": {"settlement": "s/1"}})
    assert (refund.amount, refund.currency, refund.status, refund.charge) == (3400, "usd", "succeeded", "ch_1")
    assert (refund.reason, (refund.metadata or {})["settlement"]) == ("fraudulent", "s/1")
    seen = client.v1.charges.retrieve("ch_1")
    assert (seen.refunded, seen.amount_refunded, seen.payment_intent) == (True, 3400, "pi_1")
    assert client.v1.refunds.retrieve(refund.id).id == refund.id
    assert [one.id for one in client.v1.refunds.list({"charge": "ch_1"})] == [refund.id]
    assert client.v1.refunds.list({"charge": "ch_2"}).data == []


def test_parts_add_up_and_no_more_than_all_goes_back(client: stripe.StripeClient) -> None:
    client.v1.refunds.create({"charge": "ch_1", "amount": 400})
    assert client.v1.charges.retrieve("ch_1").refunded is False
    with pytest.raises(
        stripe.InvalidRequestError, match=r"\(3001\) is greater than unrefunded amount on charge \(3000\)"
    ):
        client.v1.refunds.create({"charge": "ch_1", "amount": 3001})
    assert client.v1.refunds.create({"payment_intent": "pi_1"}).amount == 3000
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.refunds.create({"charge": "ch_1"})
    assert (caught.value.code, caught.value.http_status) == ("charge_already_refunded", 400)
    listed = client.v1.refunds.list({"charge": "ch_1", "limit": 1})
    assert [one.amount for one in listed.auto_paging_iter()] == [3000, 400]


def test_same_key_and_same_parameters_give_the_same_answer(client: stripe.StripeClient) -> None:
    first = client.v1.refunds.create({"charge": "ch_1"}, once("settle/1-1/return-money"))
    again = client.v1.refunds.create({"charge": "ch_1"}, once("settle/1-1/return-money"))
    assert again.id == first.id
    assert first.last_response.headers.get("idempotent-replayed") is None
    assert again.last_response.headers["idempotent-replayed"] == "true"
    assert len(client.v1.refunds.list({"charge": "ch_1"}).data) == 1


def test_same_key_and_other_parameters_are_an_idempotency_error(client: stripe.StripeClient) -> None:
    client.v1.refunds.create({"charge": "ch_1", "amount": 5}, once("one"))
    for other in ({"charge": "ch_1", "amount": 6}, {"charge": "ch_2", "amount": 5}):
        with pytest.raises(stripe.IdempotencyError) as caught:
            client.v1.refunds.create(other, once("one"))
        assert caught.value.http_status == 400
        assert caught.value.json_body["error"]["type"] == "idempotency_error"
    with pytest.raises(stripe.IdempotencyError):
        client.v1.payment_intents.cancel("pi_3", options=once("one"))
    with pytest.raises(stripe.IdempotencyError):
        client.v1.refunds.create({"charge": "ch_2"}, once("k" * 256))


def test_an_error_is_kept_under_its_key_and_a_malformed_request_is_not(client: stripe.StripeClient) -> None:
    client.v1.refunds.create({"charge": "ch_1"})
    for _ in range(2):
        with pytest.raises(stripe.InvalidRequestError, match="has already been refunded") as caught:
            client.v1.refunds.create({"charge": "ch_1"}, once("kept"))
    assert caught.value.headers["Idempotent-Replayed"] == "true"
    with pytest.raises(stripe.InvalidRequestError, match="Received unknown parameter: sum"):
        client.v1.refunds.create({"charge": "ch_2", "sum": 5}, once("free"))  # type: ignore[typeddict-unknown-key]
    assert client.v1.refunds.create({"charge": "ch_2"}, once("free")).amount == 3400


def test_what_was_only_authorised_is_released_by_cancelling_its_intent(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge to refund"):
        client.v1.refunds.create({"charge": "ch_3"})
    intent = client.v1.payment_intents.cancel("pi_3", {"cancellation_reason": "fraudulent"}, once("c"))
    assert (intent.status, intent.cancellation_reason, intent.amount_capturable) == ("canceled", "fraudulent", 0)
    assert client.v1.payment_intents.retrieve("pi_3").status == "canceled"
    released = client.v1.charges.retrieve("ch_3")
    assert (released.captured, released.refunded, released.amount_refunded) == (False, True, 3400)
    assert [one.amount for one in client.v1.refunds.list({"charge": "ch_3"})] == [3400]
    for intent_id in ("pi_3", "pi_1"):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            client.v1.payment_intents.cancel(intent_id)
        assert caught.value.code == "payment_intent_unexpected_state"


def test_a_disputed_charge_is_not_refunded(client: stripe.StripeClient) -> None:
    assert client.v1.charges.retrieve("ch_4").disputed is True
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.refunds.create({"charge": "ch_4"})
    assert caught.value.code == "charge_disputed"


def test_charges_are_found_by_their_order(client: stripe.StripeClient) -> None:
    assert [one.id for one in client.v1.charges.search({"query": "metadata['order_id']:'2-1'"})] == ["ch_2"]
    assert [one.id for one in client.v1.charges.search({"query": "metadata['order_id']:'it\\'s 5'"})] == ["ch_5"]
    assert client.v1.charges.search({"query": "metadata['order_id']:'9-1'"}).data == []
    with pytest.raises(stripe.InvalidRequestError, match="parse your search query"):
        client.v1.charges.search({"query": "amount>5"})


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({}, "One of the following params"),
        ({"charge": "ch_1", "payment_intent": "pi_1"}, "One of the following params"),
        ({"charge": "ch_9"}, "No such charge: 'ch_9'"),
        ({"payment_intent": "pi_9"}, "No such payment_intent: 'pi_9'"),
        ({"charge": "ch_1", "amount": 0}, "Invalid positive integer"),
        ({"charge": "ch_1", "reason": "because"}, "Invalid reason"),
    ],
)
def test_malformed_requests_are_refused_with_the_parameter(
    client: stripe.StripeClient, form: dict[str, object], said: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError, match=said):
        client.v1.refunds.create(form)  # type: ignore[arg-type]


def test_another_key_is_refused(server: Server) -> None:
    stranger = stripe.StripeClient("sk_test_other_one", base_addresses={"api": server.url}, max_network_retries=0)
    with pytest.raises(stripe.AuthenticationError, match=r"Invalid API Key provided: \*+_one"):
        stranger.v1.refunds.create({"charge": "ch_1"})
    with pytest.raises(stripe.AuthenticationError):
        stranger.v1.refunds.list()


def test_our_notices_are_signed_as_stripe_signs_its_own() -> None:
    body = b'{"id":"settle/7-1/tell-customer"}'
    now = int(time.time())
    assert stripe.WebhookSignature.verify_header(body.decode(), signature(body, "whsec", now), "whsec", tolerance=300)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(body.decode(), signature(body, "other", now), "whsec", tolerance=300)
