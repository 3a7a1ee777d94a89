"""``/metrics``, ``/health`` and ``/ready`` of a worker, on loopback, served by threads of its own.

Own threads, so that a worker whose loop or Kafka thread hangs is still there to say so. Faust's web server is not used:
it binds all interfaces whatever it is told, and lives on the loop that may hang.
"""

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

import msgspec
from prometheus_client import CollectorRegistry, make_wsgi_app

from streams.metrics import Metrics
from streams.observer import Nobody, Observer
from streams.probe import probing
from streams.progress import Health, Progress
from streams.settings import Settings, variable

log = logging.getLogger(__name__)

_CLIENT_TIMEOUT_S = 10.0


class PortTaken(RuntimeError):
    """The port for metrics cannot be had; the message names the variable to change."""


@contextlib.contextmanager
def watched(settings: Settings) -> Iterator[Observer]:
    """Give the observer of a worker, and serve what it hears of until the end of the ``with`` block.

    Raises:
        PortTaken: the port cannot be bound.
    """
    if settings.metrics_port == 0:
        yield Nobody()
        return
    metrics = Metrics()
    with served(settings, metrics.registry, metrics.progress), probing(settings, metrics.progress):
        yield metrics


class _Server(ThreadingMixIn, WSGIServer):
    """A client that dawdles holds up neither the others nor the worker's end."""

    daemon_threads = True
    block_on_close = False


class _Handler(WSGIRequestHandler):
    timeout = _CLIENT_TIMEOUT_S

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: a probe every few seconds would fill the log."""


@contextlib.contextmanager
def served(settings: Settings, registry: CollectorRegistry, progress: Progress) -> Iterator[str]:
    """Serve until the end of the ``with`` block; gives the address.

    Raises:
        PortTaken: the port cannot be bound.
    """
    application = _routes(registry, progress, settings.stalled_s)
    try:
        server = make_server(settings.metrics_host, settings.metrics_port, application, _Server, _Handler)
    except OSError as error:
        raise PortTaken(
            f"cannot listen on {settings.metrics_host} port {settings.metrics_port} for metrics and health: "
            f"{error.strerror}; free it, choose another with {variable('metrics_port')}, or switch it off with 0"
        ) from error
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    address = f"http://{settings.metrics_host}:{server.server_port}"
    log.info("metrics, health and ready on %s", address)
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()


def _routes(
    registry: CollectorRegistry, progress: Progress, limit_s: float
) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    metrics = make_wsgi_app(registry)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"].rstrip("/")
        if path == "/metrics":
            pages: Iterable[bytes] = metrics(environ, start_response)
            return pages
        if path == "/health":
            return _answer(start_response, *answer_health(progress.health(limit_s), limit_s))
        if path == "/ready":
            health = progress.health(limit_s)
            return _answer(start_response, health.ready, {"ready": health.ready, "waiting_for": _waiting_for(health)})
        return _answer(start_response, None, {"error": "there is /metrics, /health and /ready"})

    return application


def answer_health(health: Health, limit_s: float) -> tuple[bool, dict[str, Any]]:
    """Return whether the worker is well, and what ``/health`` says."""
    well = not health.reasons
    return well, {
        "status": "ok" if well else "stalled",
        "reasons": health.reasons,
        "limit_s": limit_s,
        "ready": health.ready,
        "partitions_assigned": health.assigned,
        "oldest_unprocessed": _rounded(health.oldest),
        "restoring": _rounded(health.restoring),
    }


def _waiting_for(health: Health) -> str:
    if health.ready:
        return ""
    if health.restoring is not None:
        return f"histories: {health.restoring.partitions_to_go} changelog partitions to go"
    return "partitions from the group" if health.assigned is None else "histories"


def _rounded(facts: Any) -> dict[str, Any] | None:
    if facts is None:
        return None
    found: dict[str, Any] = msgspec.to_builtins(facts)
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in found.items()}


def _answer(start_response: StartResponse, good: bool | None, body: dict[str, Any]) -> list[bytes]:
    status = {True: HTTPStatus.OK, False: HTTPStatus.SERVICE_UNAVAILABLE, None: HTTPStatus.NOT_FOUND}[good]
    page = json.dumps(body, indent=2).encode() + b"\n"
    start_response(
        f"{status.value} {status.phrase}",
        [("Content-Type", "application/json"), ("Content-Length", str(len(page))), ("Cache-Control", "no-store")],
    )
    return [page]
