"""The sandbox on a real socket, for clients that will not talk over ASGI."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import msgspec
import uvicorn

from sandbox.app import Settings, create_app
from sandbox.records import Load
from tests.unit.sandbox_asgi import SECRETS


class Server:
    """A running sandbox."""

    def __init__(self, url: str) -> None:
        self.url = url

    def load(self, load: Load) -> None:
        """Add records."""
        body, headers = msgspec.json.encode(load), {"Authorization": f"Bearer {SECRETS[2]}"}
        httpx.post(f"{self.url}/sandbox/records", content=body, headers=headers).raise_for_status()

    def clear(self) -> None:
        """Forget everything."""
        httpx.delete(
            f"{self.url}/sandbox/records", headers={"Authorization": f"Bearer {SECRETS[2]}"}
        ).raise_for_status()


@contextmanager
def serving() -> Iterator[Server]:
    """Run a sandbox on a free port for as long as this is open."""
    config = uvicorn.Config(create_app(Settings(*SECRETS)), host="127.0.0.1", port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive(), "the sandbox did not start"
        assert time.monotonic() < until, "the sandbox did not start"
        time.sleep(0.01)
    try:
        yield Server(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join(20)
