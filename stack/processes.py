"""Stop processes, their children and grandchildren, and make sure that they are gone."""

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from stack.part import Run
from stack.site import MARK


def marked(run_dir: Path) -> list[psutil.Process]:
    """Every process that was started as part of the stack in ``run_dir``, however deep and in whatever session."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(MARK) == str(run_dir):
                found.append(process)
    return found


def stop_all(run_dir: Path, runs: Sequence[Run]) -> int:
    """Stop ``runs`` in good order, then whatever else carries the mark of ``run_dir``.

    Returns:
        How many processes had to be killed in the end.
    """
    clients = [run for run in runs if not run.part.server]
    servers = [run for run in runs if run.part.server]
    for wave in (clients, servers):
        families = [(run, _family(run)) for run in wave]
        asked = time.monotonic()
        for run in wave:
            run.terminate()
        for run, family in families:
            psutil.wait_procs(family, timeout=max(0.0, asked + run.part.grace - time.monotonic()))
    rest = marked(run_dir)
    for process in rest:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(rest, timeout=10)
    for run in runs:
        run.bury()
    return len(rest)


def _family(run: Run) -> list[psutil.Process]:
    try:
        head = psutil.Process(run.process.pid)
        return [head, *head.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
