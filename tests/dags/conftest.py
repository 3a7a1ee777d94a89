"""What the integrity tests share."""

from pathlib import Path
from typing import Any

import pytest

from tests.dags.process import FILES, probe


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of its own, so that no setting of the user takes part."""
    return tmp_path_factory.mktemp("airflow")


@pytest.fixture(scope="session")
def probed(airflow_home: Path) -> dict[str, dict[str, Any]]:
    """What a fresh process says about each DAG file, by file name."""
    return {path.name: probe(path, airflow_home) for path in FILES}
