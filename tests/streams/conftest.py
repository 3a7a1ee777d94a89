"""One real broker for all stream tests; workers are real processes of the project's own command."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack import Ports, Stack
from stack.site import ROOT

READY_S = 60


class Workers:
    """Starts stream workers, kills them, and leaves none behind."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._starts = 0

    def start(self, index: int, *, wait: bool = True) -> None:
        """Start worker ``index`` and wait until it has its partitions."""
        self._starts += 1
        ready = self._folder / f"ready-{self._starts}"
        log = self._folder / f"worker-{index}-{self._starts}.log"
        with log.open("wb") as output:
            worker = subprocess.Popen(
                [sys.executable, "-m", "streams", "worker", "--index", str(index)],
                cwd=ROOT,
                env={**self._stack.environ, "COUNTERSIGN_READY_FILE": str(ready)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._running[index] = worker
        until = time.monotonic() + READY_S
        while wait and not ready.exists():
            assert worker.poll() is None, f"worker {index} ended: {log.read_text(errors='replace')[-3000:]}"
            assert time.monotonic() < until, f"worker {index} is not ready: {log.read_text(errors='replace')[-3000:]}"
            time.sleep(0.1)

    def kill(self, index: int) -> None:
        """kill -9."""
        worker = self._running.pop(index)
        worker.send_signal(signal.SIGKILL)
        worker.wait()

    def freeze(self, index: int) -> None:
        """SIGSTOP: it neither works nor says that it lives."""
        self._running[index].send_signal(signal.SIGSTOP)

    def thaw(self, index: int) -> None:
        """SIGCONT: it goes on with whatever it had in hand."""
        self._running[index].send_signal(signal.SIGCONT)

    def stop(self, index: int) -> int:
        """SIGTERM; return the exit code."""
        worker = self._running.pop(index)
        worker.terminate()
        return worker.wait(timeout=30)

    def ended(self, index: int) -> int:
        """Wait until a worker ends by itself; return the exit code."""
        return self._running.pop(index).wait(timeout=60)

    def kill_all(self) -> None:
        """Leave no process behind."""
        for index in list(self._running):
            with contextlib.suppress(ProcessLookupError):
                self.kill(index)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka with the topics of the registry, on free ports."""
    os.environ.pop("COUNTERSIGN_KAFKA", None)
    with Stack(tmp_path_factory.mktemp("stack"), ports=Ports.free(), parts=("kafka", "topics")) as running:
        yield running


@pytest.fixture(scope="session")
def bootstrap(stack: Stack) -> str:
    """The broker's address."""
    return stack.env["COUNTERSIGN_KAFKA"]


@pytest.fixture
def workers(stack: Stack, tmp_path: Path) -> Iterator[Workers]:
    """A way to start and kill workers of the one group."""
    crew = Workers(stack, tmp_path)
    yield crew
    crew.kill_all()
