"""Start the parts in order, watch them, stop them all: the stack as one object."""

import contextlib
import fcntl
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Self

from stack.errors import AlreadyUp, PartDied, StackError
from stack.keys import Keys
from stack.part import Part, Run
from stack.parts.airflow import airflow
from stack.parts.kafka import kafka, topics
from stack.parts.s3 import s3
from stack.parts.sandbox import sandbox
from stack.parts.workers import workers
from stack.ports import Ports
from stack.processes import stop_all
from stack.site import ROOT, Site
from stack.state import State
from stack.supervisor import Supervisor

PARTS = ("airflow", "kafka", "topics", "s3", "sandbox", "workers")
"""What can be chosen. Airflow takes longest, so it comes first."""

_LOOK_SECONDS = 0.25
_DATA = ("airflow", "kafka", "s3", "faust", "ready", "catalog.db", "logs")


class Stack:
    """The parts of one run directory; a context manager that starts them and leaves no process behind.

    Attributes:
        site: where it is: folders, ports, keys, addresses.
        seconds: for each ready process, the seconds from its start until it was ready.
    """

    def __init__(
        self,
        run_dir: Path = ROOT / ".stack",
        *,
        ports: Ports | None = None,
        parts: tuple[str, ...] = PARTS,
        workers: int = 1,
        fresh: bool = False,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Plan a stack; nothing is started yet.

        Args:
            run_dir: the only folder that run-time files go to; two stacks need two of them.
            ports: by default those of ``COUNTERSIGN_PORT_…``.
            parts: a choice of ``PARTS``.
            workers: how many stream workers.
            fresh: forget the data of earlier runs first (topics, bucket, Airflow's history); the keys stay.
            tell: gets one line for each thing that happens.

        Raises:
            StackError: an unknown part, or no sensible number of workers.
        """
        if unknown := set(parts) - set(PARTS):
            raise StackError(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
        if workers < 1 and "workers" in parts:
            raise StackError(f"workers={workers}: at least one; leave the part out for none")
        self.run_dir = run_dir.resolve()
        self.seconds: dict[str, float] = {}
        self._ports = ports or Ports.from_environment()
        self._groups = parts
        self._workers = workers
        self._fresh = fresh
        self._tell = tell
        self._runs: dict[str, Run] = {}
        self._state = State(self.run_dir)
        self._supervisor: Supervisor | None = None
        self._lock: IO[str] | None = None
        self._handlers: dict[int, object] = {}

    # --- what clients need -------------------------------------------------------------------------------------------

    @property
    def env(self) -> dict[str, str]:
        """Addresses and secrets for clients, as environment variables."""
        return self.site.env

    @property
    def environ(self) -> dict[str, str]:
        """A whole environment for ``subprocess``: the user's own plus ``env``."""
        return self.site.environ

    @property
    def addresses(self) -> dict[str, str]:
        """Part → where it answers."""
        return {run.part.name: run.part.address for run in self._runs.values() if run.part.address}

    def check(self) -> None:
        """Call it now and then while you wait for something.

        Raises:
            PartDied: a part has ended; the message carries the tail of its log.
        """
        if dead := self.deaths():
            raise PartDied("\n".join(dead.values()))

    def deaths(self) -> dict[str, str]:
        """Part → how it ended, with the tail of its log, for every part that should run and does not.

        A worker that is about to be started again is none of them, unless that has been given up.
        """
        dead = {}
        for name, run in self._runs.items():
            if run.died and not (self._supervisor and self._supervisor.cares_for(name)):
                why = self._supervisor.why_given_up(name) if self._supervisor else ""
                dead[name] = run.obituary() + (f"\n{why}" if why else "")
                self._state.part(name, state="died")
        return dead

    # --- life --------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start the chosen parts and wait until each is ready.

        Raises:
            AlreadyUp: a stack runs in this directory.
            PortTaken: before anything is started.
            PartDied: a part did not get ready; all others are stopped again.
        """
        self._take_lock()
        self._catch_signals()
        try:
            self._start()
        except BaseException as error:
            self._close(failure=str(error) or type(error).__name__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop everything, whatever happened."""
        self._close()

    def _start(self) -> None:
        if leftovers := stop_all(self.run_dir, []):
            self._tell(f"stopped {leftovers} processes that a killed stack had left behind")
        # The check comes before anything is touched: a taken port must not cost the data of the last run.
        self._ports.check(self._groups, self._workers)
        if self._fresh:
            _forget(self.run_dir)
        self.site = Site(self.run_dir, self._ports, Keys.load(self.run_dir / "secrets.json"))
        for folder in (self.site.logs, self.site.pids):
            folder.mkdir(parents=True, exist_ok=True)
        waiting = self._plan()
        self._state.begin([(part.name, part.address) for part in waiting], self._ports)
        known = {part.name for part in waiting}
        while waiting or not all(run.ready for run in self._runs.values()):
            self.check()
            for part in [p for p in waiting if all(self._is_ready(a) for a in p.after if a in known)]:
                waiting.remove(part)
                self._runs[part.name] = Run(part, self.site)
                self._state.part(part.name, state="starting", pid=self._runs[part.name].process.pid)
            for run in self._runs.values():
                if not run.ready:
                    self._look(run)
            time.sleep(_LOOK_SECONDS)
        self._state.phase("ready")
        self._supervisor = Supervisor(self.site, self._runs, self._state, self._tell)
        self._supervisor.start()

    def _plan(self) -> list[Part]:
        makers: dict[str, Callable[[Site], list[Part]]] = {
            "airflow": airflow,
            "kafka": kafka,
            "topics": topics,
            "s3": s3,
            "sandbox": sandbox,
            "workers": lambda site: workers(site, self._workers),
        }
        return [part for group in PARTS if group in self._groups for part in makers[group](self.site)]

    def _is_ready(self, name: str) -> bool:
        return name in self._runs and self._runs[name].ready

    def _look(self, run: Run) -> None:
        try:
            run.look()
        except PartDied:
            self._state.part(run.part.name, state="died")
            raise
        if run.seconds is not None:
            name, done = run.part.name, "done" if run.part.once else "ready"
            self.seconds[name] = run.seconds
            self._state.part(name, state=done, seconds=round(run.seconds, 1))
            self._tell(f"{name:<22} {done:<6} {run.seconds:5.1f} s  {run.part.address}")

    def _close(self, failure: str = "") -> None:
        with _deaf():
            if self._runs:
                self._tell("stopping …")
            self._state.phase("stopping")
            if self._supervisor:
                self._supervisor.stop()
            stop_all(self.run_dir, list(self._runs.values()))
            self._runs.clear()
            self._state.end(failure)
            if self._lock:
                self._lock.close()
        self._restore_signals()

    def _take_lock(self) -> None:
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self._lock = (self.run_dir / "lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise AlreadyUp(
                f"a stack is up already in {self.run_dir} (pid {(self.run_dir / 'lock').read_text()}); "
                "see it with `make status`, stop it with `make down`"
            ) from error
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def _catch_signals(self) -> None:
        """Make SIGTERM and a closed terminal end the ``with`` block as Ctrl-C does."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                self._handlers[number] = signal.signal(number, _exit)

    def _restore_signals(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._handlers.clear()


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """A second Ctrl-C while we stop the parts must not leave half of them running."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _forget(run_dir: Path) -> None:
    for name in _DATA:
        path = run_dir / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
