"""A stack in the background: a supervisor process of its own holds it, so that the terminal is free.

The supervisor is nothing but the foreground command in a session of its own; who owns a run directory is told by a file
lock that the system lets go of when the owner ends, however it ends.
"""

import contextlib
import fcntl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from stack.errors import AlreadyUp, StackError
from stack.part import tail
from stack.processes import stop_all
from stack.site import ROOT
from stack.state import State

_DOWN_SECONDS = 60.0
_LOOK_SECONDS = 0.1


def owner(run_dir: Path) -> int | None:
    """The process that holds the stack of ``run_dir``; ``None`` when there is none."""
    lock = run_dir / "lock"
    if not lock.exists():
        return None
    with lock.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return int(lock.read_text() or 0) or None
    return None


def bring_up(run_dir: Path, parts: Sequence[str], workers: int, fresh: bool, tell: Callable[[str], None]) -> None:
    """Start a supervisor and wait until its stack is ready; Ctrl-C meanwhile stops it again.

    Raises:
        AlreadyUp: there is one.
        StackError: it did not get ready; with the reason.
    """
    if pid := owner(run_dir):
        raise AlreadyUp(f"the stack is up already (pid {pid}); see it with `make status`, stop it with `make down`")
    (run_dir / "logs").mkdir(parents=True, exist_ok=True)
    log = run_dir / "supervisor.log"
    command = [sys.executable, "-m", "stack", "--run-dir", str(run_dir), "up", "--foreground"]
    command += ["--parts", ",".join(parts), "--workers", str(workers), *(["--fresh"] if fresh else [])]
    with log.open("wb") as output:
        supervisor = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait_until_ready(run_dir, supervisor, tell)
    except BaseException:
        if supervisor.poll() is None:
            tell("stopping …")
            supervisor.terminate()
            supervisor.wait(_DOWN_SECONDS)
        raise


def _end(pid: int) -> None:
    """Ask the owner to stop its stack and itself; kill it when it does not listen."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.terminate()
        try:
            process.wait(_DOWN_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(_DOWN_SECONDS)


def _wait_until_ready(run_dir: Path, supervisor: subprocess.Popen[bytes], tell: Callable[[str], None]) -> None:
    told: set[str] = set()
    while True:
        ended = supervisor.poll() is not None
        state = State.read(run_dir)
        if state.get("pid") == supervisor.pid:
            for name, part in state["parts"].items():
                if part["state"] in ("ready", "done") and name not in told:
                    told.add(name)
                    tell(f"{name:<22} {part['state']:<6} {part['seconds']:5.1f} s  {part['address']}")
            if state["phase"] == "ready":
                return
            if state["phase"] == "failed" and ended:
                raise StackError(state["failure"])
        if ended:
            raise StackError(
                f"the supervisor ended with exit code {supervisor.returncode}{tail(run_dir / 'supervisor.log')}"
            )
        time.sleep(_LOOK_SECONDS)


def take_down(run_dir: Path, tell: Callable[[str], None]) -> str:
    """Stop the stack of ``run_dir``, whoever holds it, and whatever a killed one has left.

    Returns:
        One line that says what was stopped.
    """
    run_dir = run_dir.resolve()
    pid = owner(run_dir)
    if pid:
        tell(f"stopping the stack (pid {pid}) …")
        _end(pid)
    left = stop_all(run_dir, [])
    for pid_file in (run_dir / "pids").glob("*.pid"):
        pid_file.unlink()
    if left:
        return f"The stack is down; {left} processes that had lost their supervisor were killed."
    return "The stack is down." if pid else "The stack was not up."
