"""Runs one contender and watches what all its processes use."""

import json
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from stack.site import ROOT

LOOK_S = 0.1


class ContenderFailed(RuntimeError):
    """It ended with an error; the message shows the end of its output."""


def run(command: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
    """Run ``command OUT`` and return the JSON document that it left in OUT, with ``peak_mb`` and ``cpu_seconds``.

    Raises:
        ContenderFailed: see there.
    """
    with tempfile.TemporaryDirectory(prefix="countersign-bench-") as name:
        out, log = Path(name) / "out.json", Path(name) / "log"
        with log.open("wb") as stream:
            process = psutil.Popen([*command, str(out)], cwd=ROOT, env=dict(environ), stdout=stream, stderr=stream)
            seen, ended = _Seen(), threading.Event()
            watch = threading.Thread(target=seen.watch, args=(process, ended), daemon=True)
            watch.start()
            code = process.wait()
            ended.set()
            watch.join()
        if code or not out.exists():
            end = log.read_text(errors="replace")[-3000:]
            raise ContenderFailed(f"{' '.join(command)} ended with code {code}:\n{end}")
        found: dict[str, Any] = json.loads(out.read_text())
        keep = ROOT / "build" / "bench-batch" / "last.log"
        keep.write_bytes(log.read_bytes())
    return found | {"peak_mb": round(seen.peak / 2**20), "cpu_seconds": round(sum(seen.used.values()), 2)}


class _Seen:
    """What a process and its descendants have used.

    Attributes:
        peak: the largest sum of their resident memory, bytes.
        used: the processor time of each, seconds, by process id.
    """

    def __init__(self) -> None:
        self.peak = 0
        self.used: dict[int, float] = {}

    def watch(self, process: psutil.Process, ended: threading.Event) -> None:
        """Look again and again until it has ended."""
        while not ended.wait(LOOK_S):
            self.peak = max(self.peak, self._look(process))

    def _look(self, process: psutil.Process) -> int:
        total = 0
        try:
            family = [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return 0
        for one in family:
            try:
                with one.oneshot():
                    total += one.memory_info().rss
                    times = one.cpu_times()
                    self.used[one.pid] = times.user + times.system
            except psutil.NoSuchProcess:
                continue
        return total
