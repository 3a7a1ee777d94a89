"""Worker processes for tasks that split into parts: a part goes out as a pickle, its answer comes back as one.

``multiprocessing`` would import the parent's main module again, which in a task is Airflow's, and lets no child of a
daemon have children; its pools leave their workers behind when the parent is killed. These workers are plain
``python -m lake.reconcile.worker`` on one end of a socket: it closes when the parent goes, however that happens, and they
go too.
"""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

Part = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function that can be imported, and its arguments."""


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

    def map(self, parts: Iterable[Part]) -> Iterator[tuple[int, Any]]:
        """Yield each part's place and answer, as they come.

        Raises:
            WorkerFailed: a part raised an error.
            WorkerDied: a worker is gone.
        """
        waiting = deque(enumerate(parts))
        busy: dict[Connection, int] = {}
        for connection in self._processes:
            if waiting:
                busy[connection] = self._send(connection, *waiting.popleft())
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)  # noqa: S101 - for the type checker: nothing else was given
                place = busy.pop(connection)
                answer = self._receive(connection)
                if waiting:
                    busy[connection] = self._send(connection, *waiting.popleft())
                yield place, answer

    def _send(self, connection: Connection, place: int, part: Part) -> int:
        try:
            connection.send(part)
        except OSError as error:
            raise self._death(connection) from error
        return place

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
