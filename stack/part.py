"""What every part has in common: a command, a readiness check, a log file, a pid file."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import httpx

from stack.errors import PartDied
from stack.site import MARK, ROOT, Site

TAIL_LINES = 40


def _ready_at_once() -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """How one process of the stack is started.

    Attributes:
        name: of its log and pid file.
        group: the name by which it is chosen (``--parts``); one group may need several processes.
        command: the program and its arguments, never through a shell.
        env: settings on top of the site's.
        address: where it answers, for people; empty if nowhere.
        server: it gets none of the clients' secrets, and is stopped after them, so that they do not see it go.
        after: names of parts that must be ready first; those not chosen are not waited for.
        once: it does its work and ends; it is ready when it ended with code 0.
        restart: once the stack is up, it is started again whenever it ends by itself.
        waiting_for: what is still missing, in words; empty when the part is ready.
        before: makes its files right before it starts.
        tidy: removes what it leaves outside the run directory, after it has ended.
        timeout: seconds that it may take to get ready.
        grace: seconds that it may take to end in good order, before it is killed.
    """

    name: str
    group: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    server: bool = False
    after: tuple[str, ...] = ()
    once: bool = False
    restart: bool = False
    waiting_for: Callable[[], str] = _ready_at_once
    before: Callable[[], None] | None = None
    tidy: Callable[[], None] | None = None
    timeout: float = 120.0
    grace: float = 15.0


class Run:
    """One started part."""

    def __init__(self, part: Part, site: Site, *, again: bool = False) -> None:
        """Start the part's process in a session of its own, output to its log file.

        Args:
            part: what to start.
            site: where.
            again: it has ended before; the log of its earlier lives is kept.

        Raises:
            PartDied: its program is missing or cannot be run.
        """
        self.part = part
        self.log = site.logs / f"{part.name}.log"
        self._pid_file = site.pids / f"{part.name}.pid"
        self.seconds: float | None = None
        """Seconds from the start until the part was ready; ``None`` before."""
        if part.before:
            part.before()
        self.started = time.monotonic()
        with self.log.open("ab" if again else "wb") as output:
            try:
                self.process = subprocess.Popen(
                    part.command,
                    cwd=ROOT,
                    env={**(site.bare_environ if part.server else site.environ), **part.env, MARK: str(site.run_dir)},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C in the terminal reaches only us; we stop the parts in order
                )
            except OSError as error:
                raise PartDied(
                    f"{part.name}: cannot run {part.command[0]}: {error.strerror}; try `make setup`"
                ) from error
        self._pid_file.write_text(f"{self.process.pid}\n")

    @property
    def ready(self) -> bool:
        """Whether the part has been ready."""
        return self.seconds is not None

    def look(self) -> None:
        """See whether the part has got ready.

        Raises:
            PartDied: it ended instead, or its time is over.
        """
        code, waited = self.process.poll(), time.monotonic() - self.started
        if self.part.once:
            missing = "its end" if code is None else ""
            ended = code not in (None, 0)
        else:
            ended = code is not None
            missing = "" if ended else self.part.waiting_for()
        if ended:
            raise PartDied(self.obituary())
        if not missing:
            self.seconds = waited
        elif waited > self.part.timeout:
            raise PartDied(
                f"{self.part.name}: not ready after {waited:.0f} s, still waiting for {missing}{self.tail()}"
            )

    @property
    def died(self) -> bool:
        """Whether a part that should go on running has ended."""
        return self.process.poll() is not None and not (self.part.once and self.process.returncode == 0)

    def obituary(self) -> str:
        """Which part ended how, with the end of its log."""
        return f"{self.part.name}: {self.end()}{self.tail()}"

    def end(self) -> str:
        """How it ended, in words."""
        code = self.process.returncode
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def tail(self) -> str:
        """The last lines of the log, introduced by where it is."""
        return tail(self.log)

    def terminate(self) -> None:
        """Ask the part, with all of its process group, to end."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)

    def bury(self) -> None:
        """Collect the ended process and forget its pid."""
        self.process.wait()
        self._pid_file.unlink(missing_ok=True)
        if self.part.tidy:
            self.part.tidy()


def tail(log: Path) -> str:
    """The last lines of ``log``, introduced by where it is."""
    lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if log.exists() else []
    body = "\n".join(f"  | {line}" for line in lines) or "  | (empty)"
    return f"\n  end of {log}:\n{body}"


@cache
def loopback() -> httpx.Client:
    """One client for all checks: making one costs a tenth of a second of certificates that loopback has no use for."""
    return httpx.Client(timeout=2, trust_env=False)


def waiting_for_http(url: str) -> str:
    """The missing piece of a readiness check: empty when ``url`` answers with success."""
    try:
        answer = loopback().get(url)
    except httpx.HTTPError as error:
        return f"{url} ({type(error).__name__})"
    return "" if answer.is_success else f"{url} (HTTP {answer.status_code})"
