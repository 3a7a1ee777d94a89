"""What a stack tells about itself to other processes: ``state.json`` in its run directory."""

import json
import os
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stack.ports import Ports


class State:
    """The state file of one run directory, replaced as a whole at each change."""

    def __init__(self, run_dir: Path) -> None:
        """Nothing is written before ``begin``."""
        self._path = run_dir / "state.json"
        self._lock = threading.Lock()
        self._state: dict[str, Any] = {}

    @staticmethod
    def read(run_dir: Path) -> dict[str, Any]:
        """The last state written there; empty if none ever was."""
        path = run_dir / "state.json"
        state: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return state

    def begin(self, parts: list[tuple[str, str]], ports: Ports) -> None:
        """The stack starts these parts (name, address) on these ports."""
        self._state = {
            "pid": os.getpid(),
            "since": time.time(),
            "phase": "starting",
            "ports": asdict(ports),
            "parts": {name: {"state": "waiting", "address": address} for name, address in parts},
        }
        self._write()

    def part(self, name: str, **facts: object) -> None:
        """Note something about one part; from any thread."""
        known = self._state["parts"][name]
        if any(known.get(fact) != value for fact, value in facts.items()):
            known.update(facts)
            self._write()

    def phase(self, phase: str) -> None:
        """Note where the whole stack is: starting, ready, stopping."""
        if self._state:
            self._state["phase"] = phase
            self._write()

    def end(self, failure: str = "") -> None:
        """The stack is down, or failed to come up."""
        self._state |= {"phase": "failed" if failure else "down", "failure": failure, "pid": os.getpid()}
        self._state.setdefault("parts", {})
        self._write()

    def _write(self) -> None:
        with self._lock:
            scratch = self._path.with_suffix(".new")
            scratch.write_text(json.dumps(self._state, indent=2) + "\n")
            scratch.replace(self._path)
