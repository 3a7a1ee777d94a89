"""Stands between a task and the systems that it calls: lets through, answers itself, or kills who asked.

It kills the process at the other end of the connection with SIGKILL, before the request goes on or after its effect.
"""

import http.client
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import psutil

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


type Answer = tuple[int, dict[str, str]] | tuple[int, dict[str, str], bytes]


@dataclass
class Rule:
    """What happens to the next requests that match.

    Attributes:
        matches: method, path and body of a request.
        act: ``kill-before``, ``kill-after``, or an answer: status, headers, perhaps a body.
        times: how often.
        struck: how often it has struck.
    """

    matches: Callable[[str, str, bytes], bool]
    act: str | Answer
    times: int = 1
    struck: int = 0


@dataclass
class Meddler:
    """The running proxy."""

    port: int = 0
    rules: list[Rule] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def rule(self, method: str, part: str, act: str | Answer, times: int = 1) -> Rule:
        """Let something happen to requests whose path or body has this part."""

        def matches(asked: str, path: str, body: bytes) -> bool:
            return asked == method and (part in path or part.encode() in body)

        self.rules.append(Rule(matches, act, times))
        return self.rules[-1]

    def strike(self, method: str, path: str, body: bytes) -> Rule | None:
        """The rule that a request falls under, counted."""
        with self.lock:
            for rule in self.rules:
                if rule.struck < rule.times and rule.matches(method, path, body):
                    rule.struck += 1
                    return rule
        return None


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    meddler: Meddler
    target: tuple[str, int]

    def meddle(self) -> None:
        body = self._body()
        rule = self.meddler.strike(self.command, self.path, body)
        act = None if rule is None else rule.act
        if isinstance(act, tuple):
            self._reply(act[0], list(act[1].items()), act[2] if len(act) > 2 else b"{}")
            return
        if act != "kill-before":
            status, headers, content = self._upstream(body)
        if act is None:
            self._reply(status, headers, content)
        else:
            kill(self.client_address[1])
            self.close_connection = True

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        framed = b""  # goes on as it came, chunk by chunk
        while True:
            size = self.rfile.readline()
            framed += size + self.rfile.read(int(size.split(b";")[0], 16) + 2)
            if int(size.split(b";")[0], 16) == 0:
                return framed

    def _upstream(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self.target, timeout=60)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() != "expect":  # answered here already
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.getheaders(), content

    def _reply(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        length = next((value for name, value in headers if name.lower() == "content-length"), str(len(content)))
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        # To HEAD the length is that of the body which GET would give.
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = meddle


class Server(ThreadingHTTPServer):
    """Takes it calmly that a killed client hangs up."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report whatever else went wrong."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def meddling(target: str) -> Iterator[Meddler]:
    """Run a proxy to ``target`` for as long as this is open."""
    place = urlsplit(target)
    meddler = Meddler()
    handler = type("Bound", (Handler,), {"meddler": meddler, "target": (place.hostname, place.port)})
    server = Server(("127.0.0.1", 0), handler)
    meddler.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield meddler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def kill(port: int) -> None:
    """kill -9 the process whose end of a connection has this port."""
    owners = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.laddr and connection.laddr.port == port and connection.pid not in (None, os.getpid())
    }
    assert owners, f"nobody has port {port}"
    for owner in owners:
        os.kill(owner, signal.SIGKILL)
