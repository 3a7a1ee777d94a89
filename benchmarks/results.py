"""The results file: a run of some parts keeps what the others have measured."""

import json
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.crew import cores
from stack.site import ROOT

FILE = ROOT / ".stack" / "bench.json"
QUIX_LOCK = ROOT / "benchmarks" / "quix" / "requirements.lock"
_OURS = ("confluent-kafka", "faust-streaming", "aiokafka", "msgspec")
_QUIX = ("quixstreams", "confluent-kafka", "rocksdict")


def read(path: Path) -> dict[str, Any]:
    """Return what is there, nothing if there is no file."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return ``old`` with what ``new`` has instead; objects are merged key by key, all else is replaced."""
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        merged[name] = merge(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


def write(result: dict[str, Any], path: Path) -> None:
    """Write the file as a whole: a run that is broken off leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(result, indent=2) + "\n")
    fresh.replace(path)


def circumstances() -> dict[str, Any]:
    """Return where, when and with which versions this was measured."""
    locked = dict(line.split("==") for line in QUIX_LOCK.read_text().split() if "==" in line)
    return {
        "machine": f"{cores()} cores, {_processor()}, {platform.system()}, broker and all contenders beside each other",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in _OURS},
            "quix environment": {name: locked[name] for name in _QUIX},
        },
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.machine())
