"""The broker and the workers as processes that can be killed, frozen and started again."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from stack import PartDied, Stack
from stack.part import Run, tail
from stack.parts.kafka import kafka
from stack.site import MARK, ROOT

RESTART_S = 0.5
"""After this a supervisor starts a worker that has ended by itself."""

LOOK_S = 0.5
QUICK_RETURN = "broker.session.timeout.ms=2000\nbroker.heartbeat.interval.ms=500\n"
"""After a kill -9 the controller refuses the same broker until its old session is over (DuplicateBrokerRegistration):
with Kafka's default every outage would last longer than nine seconds, and half of the run would be outages."""


class Broker:
    """The one broker of a stack: killed, and started again on the same data and ports."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._pid = int((stack.site.pids / "kafka.pid").read_text())
        self._run: Run | None = None
        self._down = False
        self._starts = 1
        self._looked = 0.0

    def kill(self) -> None:
        """kill -9; nothing if it is down already."""
        if self._down:
            return
        self._down = True
        os.kill(self._pid, signal.SIGKILL)
        if self._run is not None:
            self._run.process.wait()
        log = self._stack.site.logs / "kafka.log"
        log.rename(log.with_name(f"kafka-{self._starts}.log"))

    def start(self) -> None:
        """Start it again; clients find it when it is ready."""
        if not self._down:
            return
        self._starts += 1
        site = self._stack.site
        (part,) = kafka(site)  # its data folder is formatted, so that the broker is all there is to start
        before, settings = part.before, site.run_dir / "kafka" / "server.properties"

        def write_settings() -> None:
            if before is not None:
                before()
            with settings.open("a") as file:
                file.write(QUICK_RETURN)

        self._run = Run(replace(part, before=write_settings), site)
        self._pid = self._run.process.pid
        self._looked = time.monotonic()
        self._down = False

    def check(self) -> None:
        """Look whether it runs, unless it was killed.

        Raises:
            PartDied: it ended by itself, or does not get ready.
        """
        if self._down:
            return
        if self._run is None:
            self._stack.check()
        elif self._run.ready:
            if self._run.died:
                raise PartDied(self._run.obituary())
        elif time.monotonic() - self._looked > LOOK_S:
            self._run.look()
            self._looked = time.monotonic()


class Crew:
    """The workers of one group under a supervisor: whoever ends by himself is started again.

    Attributes:
        ended: how often a worker ended by itself, by index.
        left: exit codes of workers that were asked to leave; other than 0 where the broker was down, or a defect.
    """

    def __init__(self, stack: Stack, settings: Mapping[str, str]) -> None:
        self.ended: dict[int, int] = {}
        self.left: Counter[int] = Counter()
        self.folder = stack.site.logs
        self._environ = {**stack.environ, **settings, MARK: str(stack.run_dir)}
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._frozen: dict[int, subprocess.Popen[bytes]] = {}
        self._leaving: list[subprocess.Popen[bytes]] = []
        self._again: dict[int, float] = {}
        self._starts: dict[int, int] = {}

    def start(self, index: int) -> None:
        """Start a worker; nothing if it runs."""
        self._again.pop(index, None)
        if index in self._running:
            return
        self._starts[index] = self._starts.get(index, 0) + 1
        with self.log(index).open("wb") as output:
            self._running[index] = subprocess.Popen(
                [sys.executable, "-m", "streams", "worker", "--index", str(index)],
                cwd=ROOT,
                env={**self._environ, "COUNTERSIGN_READY_FILE": str(self._ready_file(index))},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _ready_file(self, index: int) -> Path:
        return self.log(index).with_suffix(".ready")

    def ready(self, index: int) -> bool:
        """Whether a worker has said, since its latest start, that it has partitions and their histories."""
        return self._ready_file(index).exists()

    def log(self, index: int) -> Path:
        """The log of a worker's latest start."""
        return self.folder / f"worker-{index}-{self._starts[index]}.log"

    def kill(self, index: int) -> None:
        """kill -9, frozen or not; nobody starts it again until :meth:`start`."""
        self._again.pop(index, None)
        self._frozen.pop(index, None)
        if worker := self._running.pop(index, None):
            worker.kill()
            worker.wait()

    def freeze(self, index: int) -> None:
        """SIGSTOP: it neither works nor says that it lives."""
        if worker := self._running.get(index):
            worker.send_signal(signal.SIGSTOP)
            self._frozen[index] = worker

    def thaw(self, index: int) -> None:
        """SIGCONT, unless it was killed meanwhile."""
        if worker := self._frozen.pop(index, None):
            worker.send_signal(signal.SIGCONT)

    def leave(self, index: int) -> None:
        """SIGTERM; nobody starts it again until :meth:`start`."""
        self._again.pop(index, None)
        if worker := self._running.pop(index, None):
            worker.terminate()
            self._leaving.append(worker)

    def supervise(self) -> list[int]:
        """Start again who has ended by himself; return who has ended since the last look."""
        self.left.update(code for worker in self._leaving if (code := worker.poll()) is not None)
        self._leaving = [worker for worker in self._leaving if worker.returncode is None]
        now = time.monotonic()
        for index in [index for index, at in self._again.items() if at <= now]:
            self.start(index)
        ended = [index for index, worker in self._running.items() if worker.poll() is not None]
        for index in ended:
            del self._running[index]
            self.ended[index] = self.ended.get(index, 0) + 1
            self._again[index] = now + RESTART_S
        return ended

    def stop(self) -> dict[int, int]:
        """SIGTERM to all who run; return their exit codes. Who does not end in half a minute is killed."""
        for worker in self._running.values():
            worker.send_signal(signal.SIGCONT)
            worker.terminate()
        codes = {}
        for index, worker in self._running.items():
            try:
                codes[index] = worker.wait(30)
            except subprocess.TimeoutExpired:
                worker.kill()
                codes[index] = worker.wait()
        self._running.clear()
        return codes

    def kill_all(self) -> None:
        """Leave no process behind."""
        for index in list(self._running):
            self.kill(index)
        for worker in self._leaving:
            worker.kill()
            worker.wait()

    def last_words(self, index: int) -> str:
        """The end of a worker's log."""
        return tail(self.log(index))
