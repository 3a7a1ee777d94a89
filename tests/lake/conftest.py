"""Real servers for the lake's tests: one broker, one S3 store and one sandbox per session, on free ports."""

import os
import shlex
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv" / "streams" / "bin" / "python"
PARTS = "kafka,topics,s3,sandbox"
PORTS = (
    *("KAFKA", "CONTROLLER", "SANDBOX", "AIRFLOW"),
    *("S3", "S3_GRPC", "S3_MASTER", "S3_MASTER_GRPC", "S3_VOLUME", "S3_VOLUME_GRPC", "S3_FILER", "S3_FILER_GRPC"),
)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Addresses and secrets of a stack of its own, as ``python -m stack env`` prints them."""
    with running_stack(tmp_path_factory.mktemp("stack")) as environment:
        yield environment


@contextmanager
def running_stack(folder: Path, parts: str = PARTS) -> Iterator[dict[str, str]]:
    """Broker, store and sandbox that live in a folder for as long as this is open; yields addresses and secrets."""
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON.relative_to(ROOT)} is missing, which starts broker and store: run `make setup`")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("COUNTERSIGN", "AWS", "PYTHON"))}
    env |= {f"COUNTERSIGN_PORT_{name}": str(port) for name, port in zip(PORTS, free_ports(), strict=True)}
    command = [str(PYTHON), "-m", "stack", "--run-dir", str(folder)]

    def run(*arguments: str) -> str:
        outcome = subprocess.run(
            [*command, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=400, check=False
        )
        assert outcome.returncode == 0, f"stack {' '.join(arguments)}: {outcome.stdout[-2000:]}{outcome.stderr[-2000:]}"
        return outcome.stdout

    try:
        run("up", "--parts", parts)
        yield exported(run("env"))
    finally:
        run("down")


def free_ports() -> list[int]:
    """One port per part, free at this moment."""
    sockets = [socket.socket() for _ in PORTS]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    numbers = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return numbers


def exported(lines: str) -> dict[str, str]:
    """What ``export NAME=value`` lines set."""
    words = [shlex.split(line) for line in lines.splitlines() if line.startswith("export ")]
    return dict(word.split("=", 1) for _, *words_ in words for word in words_)


@pytest.fixture
def catalog_uri(tmp_path: Path) -> str:
    """An empty catalog for one test; tables of different tests never meet, though they share the bucket."""
    return f"sqlite:///{tmp_path / 'catalog.db'}"


@pytest.fixture
def lake(stack: dict[str, str], catalog_uri: str):
    """The catalog of one test, on the real store."""
    from lake.catalog import open_catalog
    from lake.settings import from_environment

    return open_catalog(replace(from_environment(stack), catalog=catalog_uri))
