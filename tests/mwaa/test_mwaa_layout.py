"""Laid out as MWAA does it, with those paths and no others, Airflow loads all of it."""

from pathlib import Path
from typing import Any

import pytest

from mwaa import package, trial

PYTHON = package.ROOT / ".venv" / "airflow" / "bin" / "python"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("mwaa")
    package.build(target=made / "package")
    package.unpack(made / "package", made / "airflow")
    return made / "airflow"


@pytest.fixture(scope="module")
def found(home: Path) -> dict[str, Any]:
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON.relative_to(package.ROOT)} is missing: `make setup` makes it")
    return trial.probe(PYTHON, home, trial.startup(home))


def test_every_dag_and_plugin_loads(found: dict[str, Any]) -> None:
    files = {path.stem for path in (package.ROOT / "dags").glob("*.py")}
    flows = {f"land_{path.stem}" for path in (package.ROOT / "dags" / "flows").glob("*.yaml")}
    assert found["import_errors"] == {}
    assert set(found["dags"]) == files | flows
    assert found["plugins"] == ["countersign_desk"]


def test_nothing_comes_from_the_checkout(found: dict[str, Any], home: Path) -> None:
    assert found["imported"] > 5
    assert found["elsewhere"] == {}
    assert [path for path in found["path"] if path.startswith(str(package.ROOT))] == []
    assert str(home / "plugins") in found["path"]
