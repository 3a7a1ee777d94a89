"""A fresh broker with the topics of the registry, and a contender's processes beside it."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.crew import Crew
from benchmarks.registry import Contender
from stack import Ports, Stack


@dataclass(frozen=True)
class Ground:
    """Where one round is played; nothing is started yet in ``crew``."""

    bootstrap: str
    crew: Crew
    folder: Path


@contextlib.contextmanager
def ground(contender: Contender, settings: Mapping[str, str] | None = None) -> Iterator[Ground]:
    """Start a broker on free ports in a folder of its own; leave neither processes nor files behind."""
    with tempfile.TemporaryDirectory(prefix="countersign-bench-") as name:
        folder = Path(name)
        with (
            Stack(folder / "stack", ports=Ports.free(), parts=("kafka", "topics")) as stack,
            Crew(contender, stack.environ, folder, settings) as crew,
        ):
            yield Ground(stack.env["COUNTERSIGN_KAFKA"], crew, folder)
