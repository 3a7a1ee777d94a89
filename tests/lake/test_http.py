"""The client of all sources against a server that misbehaves: what is tried again, how long it waits, what it says."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic

import pytest

from lake.landing.http import Api, BadCredentials, Endpoint, SourceRefused, SourceUnavailable, retry_after

Answer = tuple[int, dict[str, str], bytes]


class Server:
    """Gives the answers it was told, one after the other, then the last one for ever; None breaks the connection."""

    def __init__(self) -> None:
        self.answers: list[Answer | None] = []
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = outer.answers[min(outer.asked, len(outer.answers) - 1)]
                outer.asked += 1
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Not on the test's output."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def ask(server: Server) -> Callable[..., dict[str, object]]:
    def call(*answers: Answer | None, attempts: int = 4) -> dict[str, object]:
        server.answers = list(answers)
        with Api(Endpoint("shop", server.url, "secret"), {}, attempts=attempts) as api:
            return api.call("GET", "/x")

    return call


GOOD: Answer = (200, {}, b'{"a":1}')
BUSY: Answer = (503, {}, b"")


@pytest.mark.parametrize("first", [BUSY, (500, {}, b"oops"), (429, {}, b""), None], ids=["503", "500", "429", "broken"])
def test_passing_failure_is_tried_again(
    server: Server, ask: Callable[..., dict[str, object]], first: Answer | None
) -> None:
    assert ask(first, first, GOOD) == {"a": 1}
    assert server.asked == 3


def test_server_says_how_long_to_wait(server: Server, ask: Callable[..., dict[str, object]]) -> None:
    began = monotonic()
    assert ask((429, {"Retry-After": "1"}, b""), GOOD) == {"a": 1}
    assert 1.0 <= monotonic() - began < 3.0


def test_patience_ends_with_the_last_reason(server: Server, ask: Callable[..., dict[str, object]]) -> None:
    with pytest.raises(SourceUnavailable, match=r"/x \(Airflow connection shop\): HTTP 503"):
        ask(BUSY, attempts=3)
    assert server.asked == 3


@pytest.mark.parametrize("status", [401, 403])
def test_refused_secret_is_not_tried_again(server: Server, ask: Callable[..., dict[str, object]], status: int) -> None:
    with pytest.raises(BadCredentials, match="password of the connection shop"):
        ask((status, {}, b"no"))
    assert server.asked == 1


@pytest.mark.parametrize(
    "answer",
    [
        (404, {}, b"not here"),
        (400, {}, b"bad"),
        (302, {"Location": "/y"}, b""),
        (200, {}, b"<html>"),
        (200, {}, b"[1]"),
    ],
    ids=["404", "400", "redirect", "html", "list"],
)
def test_wrong_request_or_answer_is_not_tried_again(
    server: Server, ask: Callable[..., dict[str, object]], answer: Answer
) -> None:
    with pytest.raises(SourceRefused, match="Airflow connection shop"):
        ask(answer)
    assert server.asked == 1


def test_retry_after_in_seconds_and_as_a_date() -> None:
    assert retry_after("2.5") == 2.5
    assert retry_after("-1") == 0.0
    assert retry_after(None) is None
    assert retry_after("soon") is None
    in_ten = retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=10), usegmt=True))
    assert in_ten == pytest.approx(9.5, abs=1.5)
    assert retry_after(format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)) == 0.0


def test_secret_is_not_shown() -> None:
    assert "hush" not in repr(Endpoint("shop", "http://x", "hush"))
