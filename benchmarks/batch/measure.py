"""Runs one contender and watches its memory: the largest sum of the resident memory of all its processes."""

import json
import resource
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
            ended, peaks = threading.Event(), [0]
            watch = threading.Thread(target=_watch, args=(process, ended, peaks), daemon=True)
            watch.start()
            before = _processor_seconds()
            code = process.wait()
            ended.set()
            watch.join()
        if code or not out.exists():
            end = log.read_text(errors="replace")[-3000:]
            raise ContenderFailed(f"{' '.join(command)} ended with code {code}:\n{end}")
        found: dict[str, Any] = json.loads(out.read_text())
        keep = ROOT / "build" / "bench-batch" / "last.log"
        keep.write_bytes(log.read_bytes())
    return found | {"peak_mb": round(peaks[0] / 2**20), "cpu_seconds": round(_processor_seconds() - before, 2)}


def _processor_seconds() -> float:
    """Return what all ended children have used, theirs included."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _watch(process: psutil.Process, ended: threading.Event, peaks: list[int]) -> None:
    while not ended.wait(LOOK_S):
        peaks[0] = max(peaks[0], _resident(process))


def _resident(process: psutil.Process) -> int:
    total = 0
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for one in family:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total
