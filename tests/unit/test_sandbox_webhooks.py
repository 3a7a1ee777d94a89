"""What the sandbox's payment provider tells by webhook: signed so that the official Stripe library takes it."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import stripe

from sandbox.records import Load
from tests.unit.sandbox_asgi import SECRETS
from tests.unit.sandbox_server import Server, serving
from tests.unit.test_sandbox_disputes import charge, dispute

WAIT_S = 10.0


@dataclass
class Receiver:
    """A merchant's webhook: what came in, and with which codes it answers, 200 when there are no more."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    taken: list[tuple[bytes, str]] = field(default_factory=list)

    def wait(self, count: int) -> list[tuple[bytes, str]]:
        until = time.monotonic() + WAIT_S
        while len(self.taken) < count and time.monotonic() < until:
            time.sleep(0.02)
        assert len(self.taken) == count
        return self.taken


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.taken.append((body, self.headers["Stripe-Signature"]))
            self.send_response(made.answers.pop(0) if made.answers else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}/stripe"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def client(server: Server) -> stripe.StripeClient:
    server.clear()
    server.load(Load(charges=[charge(1), charge(2)]))
    return stripe.StripeClient(SECRETS[1], base_addresses={"api": server.url}, max_network_retries=0)


def listening(client: stripe.StripeClient, receiver: Receiver, *kinds: str) -> str:
    made = client.v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": list(kinds)})  # type: ignore[typeddict-item]
    assert made.secret is not None
    return made.secret


def test_a_new_dispute_is_told_once_and_the_official_library_trusts_it(
    client: stripe.StripeClient, server: Server, receiver: Receiver
) -> None:
    secret = listening(client, receiver, "charge.dispute.created")
    server.load(Load(disputes=[dispute(1)]))
    server.load(Load(disputes=[dispute(1, status="lost")]))
    client.v1.refunds.create({"charge": "ch_2"})
    ((body, header),) = receiver.wait(1)
    event = stripe.Webhook.construct_event(body, header, secret)
    assert (event.type, event.data.object["id"], event.data.object["charge"]) == (
        *("charge.dispute.created", "dp_1"),
        "ch_1",
    )
    assert event.id == next(iter(client.v1.events.list({"type": "charge.dispute.created"}))).id
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, header, "whsec_other")
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body.replace(b"dp_1", b"dp_2"), header, secret)


def test_what_is_not_taken_is_sent_again_as_the_same_event(client: stripe.StripeClient, receiver: Receiver) -> None:
    secret = listening(client, receiver, "*")
    receiver.answers = [500, 404]
    client.v1.refunds.create({"charge": "ch_1", "amount": 100})
    events = [stripe.Webhook.construct_event(body, header, secret) for body, header in receiver.wait(3)]
    assert {event.id for event in events} == {client.v1.events.list().data[0].id}
    assert {event.data.object["amount"] for event in events} == {100}


def test_only_this_machine_and_known_events_are_taken(client: stripe.StripeClient, receiver: Receiver) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="to this machine only"):
        client.v1.webhook_endpoints.create({"url": "http://example.org/", "enabled_events": ["*"]})
    with pytest.raises(stripe.InvalidRequestError, match="enabled_events"):
        client.v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": []})
    with pytest.raises(stripe.InvalidRequestError, match="never happens here"):
        client.v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["charge.succeeded"]})
    listening(client, receiver, "*")
    (listed,) = client.v1.webhook_endpoints.list().data
    assert (listed.url, "secret" in listed) == (receiver.url, False)
