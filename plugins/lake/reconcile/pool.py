"""Worker processes for tasks that split into parts: a part goes out as a pickle, its answer comes back as one.

``multiprocessing`` would import the parent's main module again, which in a task is Airflow's, and lets no child of a
daemon have children; its pools leave their workers behind when the parent is killed. These workers are plain
``python -m lake.reconcile.worker`` on one end of a socket: it closes when the parent goes, however that happens, and
they go too.
"""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of work.

    Attributes:
        work: a function that can be imported.
        arguments: its arguments.
        gives: what is there once it is done.
        needs: what must be there before.
    """

    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    gives: str = ""
    needs: frozenset[str] = frozenset()


class WorkerDied(RuntimeError):
    """A worker process ended before it had answered; the message says how. Trying again is safe."""


class WorkerFailed(RuntimeError):
    """A part raised an error; the message holds its traceback."""


class Pool:
    """Some worker processes, for as long as this is open."""

    def __init__(self, workers: int) -> None:
        self._processes: dict[Connection, subprocess.Popen[bytes]] = {}
        self._workers = workers

    def __enter__(self) -> "Pool":
        for _ in range(self._workers):
            ours, theirs = Pipe()
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, "-m", "lake.reconcile.worker", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **ALONE},
                )
            self._processes[ours] = process
        return self

    def __exit__(self, *_: object) -> None:
        for connection, process in self._processes.items():
            connection.close()
            process.terminate()
        for process in self._processes.values():
            process.wait()

    def run(self, parts: Iterable[Part], there: set[str]) -> Iterator[tuple[Part, Any]]:
        """Yield each part with its answer, as they come; the first part that can be done is done first.

        Args:
            parts: what is to be done.
            there: what is there already. Whoever takes the answers may add to it; the workers go on meanwhile.

        Raises:
            WorkerFailed: a part raised an error.
            WorkerDied: a worker is gone.
            RuntimeError: what is left needs what nobody gives.
        """
        waiting = list(parts)
        idle = deque(self._processes)
        busy: dict[Connection, Part] = {}
        while waiting or busy:
            self._hand_out(waiting, there, idle, busy)
            if not busy:
                raise RuntimeError(f"nobody gives what is needed: {sorted({*waiting[0].needs} - there)}")
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)  # noqa: S101 - for the type checker: nothing else was given
                answer = self._receive(connection)
                part = busy.pop(connection)
                idle.append(connection)
                there.add(part.gives)
                self._hand_out(waiting, there, idle, busy)
                yield part, answer

    def _hand_out(
        self, waiting: list[Part], there: set[str], idle: deque[Connection], busy: dict[Connection, Part]
    ) -> None:
        while idle:
            part = next((one for one in waiting if one.needs <= there), None)
            if part is None:
                return
            connection = idle.popleft()
            waiting.remove(part)
            self._send(connection, part)
            busy[connection] = part

    def _send(self, connection: Connection, part: Part) -> None:
        try:
            connection.send((part.work, part.arguments))
        except OSError as error:
            raise self._death(connection) from error

    def _receive(self, connection: Connection) -> Any:
        try:
            good, answer = connection.recv()
        except (EOFError, OSError) as error:
            raise self._death(connection) from error
        if not good:
            raise WorkerFailed(answer)
        return answer

    def _death(self, connection: Connection) -> WorkerDied:
        code = self._processes[connection].wait()
        return WorkerDied(f"a worker process ended with code {code} before its answer; -9 often means out of memory")


ALONE = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Each worker is one thread: there are as many of them as processors."""
