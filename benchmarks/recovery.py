"""What a million remembered customers cost: time to restore them after a crash, and memory."""

import time
from collections.abc import Callable
from typing import Any

import psutil

from benchmarks import load as loads
from benchmarks.crew import resident
from benchmarks.ground import Ground, ground
from benchmarks.load import Shop
from benchmarks.prefill import fill
from benchmarks.registry import OURS

ENTITIES = 1_000_000


def measure(tell: Callable[[str], None], entities: int = ENTITIES) -> dict[str, Any]:
    """Start a worker on empty changelogs, then one on ``entities`` histories, and take the difference.

    Raises:
        ContenderDied: a worker ended.
        TimeoutError: a worker did not get ready.
    """
    with ground(OURS) as found:
        shop = Shop(found.bootstrap)
        empty_s, empty_bytes = _start(found)
        fill(shop, loads.make(20_000), entities)
        full_s, full_bytes = _start(found)
    seconds = (full_s - empty_s) / entities * 1e6
    each = (full_bytes - empty_bytes) / entities
    tell(f"recovery: {seconds:.1f} s per million customers, {each:.0f} bytes each")
    return {"recovery_seconds_per_million_entities": round(seconds, 2), "bytes_per_entity": round(each)}


def _start(found: Ground) -> tuple[float, int]:
    """Return how long a worker took from its start until it was ready, and its memory then; kill it."""
    started = time.monotonic()
    found.crew.launch(1)
    found.crew.wait_for_files()
    seconds = time.monotonic() - started
    memory = resident([psutil.Process(found.crew.running[1].pid)])
    found.crew.kill(1)
    return seconds, memory
