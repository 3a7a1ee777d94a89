"""Docker's command line, as far as the test of the compose stack needs it."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
DOCKER = shutil.which("docker") or "docker"


class NotAsPromised(RuntimeError):
    """What the stack should do and does not; the message says which."""


@dataclass(frozen=True)
class Compose:
    """One project of ``docker compose``.

    Attributes:
        project: its name: containers, networks and volumes bear it.
        env_file: the secrets and ports.
    """

    project: str
    env_file: Path

    def run(self, *words: str, well: tuple[int, ...] = (0,), timeout: float = 600) -> str:
        """Run a command to its end and return what it printed; what it says on stderr is shown.

        Raises:
            NotAsPromised: it ended with another code than ``well``.
        """
        ended = subprocess.run(self._command(*words), stdout=subprocess.PIPE, text=True, check=False, timeout=timeout)
        if ended.returncode not in well:
            raise NotAsPromised(f"docker compose {' '.join(words)}: exit code {ended.returncode}\n{ended.stdout}")
        return ended.stdout

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Run a command beside this process; its output goes where this process's goes."""
        return subprocess.Popen(self._command(*words), text=True)

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """Return what Docker knows of the project's containers, or of one service's."""
        ids = self.run("ps", "--all", "--quiet", *([service] if service else [])).split()
        found = subprocess.run([DOCKER, "inspect", *ids], stdout=subprocess.PIPE, check=True).stdout
        return list(json.loads(found))

    def _command(self, *words: str) -> list[str]:
        files = ["--project-directory", str(ROOT), "--file", str(ROOT / "docker-compose.yml")]
        return [DOCKER, "compose", *files, "--project-name", self.project, "--env-file", str(self.env_file), *words]


def crash(*containers: str) -> None:
    """Kill every process of containers at the same time, as the machine would.

    ``docker kill`` would count as a wish that they stay down; this way the restart policy is tried as well.
    """
    running = [subprocess.Popen([DOCKER, "exec", one, "sh", "-c", "kill -9 -1"]) for one in containers]
    for one in running:
        one.wait(60)


def health(container: str) -> tuple[str, int, str]:
    """Return a container's health, how often it was started again, and what its last check said."""
    found = json.loads(subprocess.run([DOCKER, "inspect", container], stdout=subprocess.PIPE, check=True).stdout)[0]
    state = found["State"]
    if not state["Running"]:
        return state["Status"], found["RestartCount"], ""
    log = state["Health"]["Log"] or [{"Output": ""}]
    return state["Health"]["Status"], found["RestartCount"], log[-1]["Output"].strip()


def page(container: str, url: str) -> str:
    """Return what a container with Python answers to itself; nothing if it does not."""
    read = f"import urllib.request; print(urllib.request.urlopen('{url}', timeout=5).read().decode())"
    command = [DOCKER, "exec", container, "python", "-c", read]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout


def wait_until(what: str, seconds: float, holds: Callable[[], object]) -> float:
    """Look twice a second until something holds; return the seconds that it took.

    Raises:
        NotAsPromised: it does not come to hold in time.
    """
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            raise NotAsPromised(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.5)
    return time.monotonic() - began
