"""Fresh Airflow processes for the integrity tests: our folders, nothing of the user's, the strict inflation check."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DAGS = ROOT / "dags"
PLUGINS = ROOT / "plugins"
FILES = sorted(DAGS.glob("*.py"))
PROBE = Path(__file__).with_name("probe.py")


def environment(home: Path, plugins: Path = PLUGINS) -> dict[str, str]:
    """What a fresh Airflow process of these tests sees."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    return kept | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__DAG_PROCESSOR__DAG_VERSION_INFLATION_CHECK_LEVEL": "error",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{PLUGINS}",
        "PYTHONHASHSEED": "random",
    }


def probe(path: Path, home: Path) -> dict[str, Any]:
    """Parse one DAG file in a process of its own, as Airflow's DAG processor does."""
    outcome = subprocess.run(
        [sys.executable, str(PROBE), str(path)],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    return json.loads(outcome.stdout.splitlines()[-1])
