"""Airflow runs only the plugin itself as a top-level module; our packages are left alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.dags.process import PLUGINS, environment

PLUGIN_FILE = "desk/desk_plugin.py"
LOAD = """
import json, logging, sys
from pathlib import Path
logging.disable(logging.CRITICAL)
import airflow.plugins_manager as manager
before = dict(sys.modules)
plugins, errors = manager._get_plugins()
folder = Path(sys.argv[1]).resolve()
executed = {}
for name, module in sys.modules.items():
    file = getattr(module, "__file__", None)
    if file and Path(file).resolve().is_relative_to(folder) and "." not in name and module is not before.get(name):
        executed[name] = str(Path(file).resolve().relative_to(folder))
import http
print(json.dumps({"executed": executed, "errors": sorted(errors), "plugins": [p.name for p in plugins],
                  "http": http.__file__}))
"""


def load(plugins: Path, home: Path) -> dict[str, Any]:
    """Let Airflow's plugin manager load a folder in a fresh process; say which files it executed at top level."""
    outcome = subprocess.run(
        [sys.executable, "-c", LOAD, str(plugins)],
        env=environment(home, plugins) | {"PYTHONPATH": str(plugins)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    return json.loads(outcome.stdout.splitlines()[-1])


def test_only_the_plugin_is_executed(airflow_home: Path) -> None:
    loaded = load(PLUGINS, airflow_home)
    top_level = {file for file in loaded["executed"].values() if not file.endswith("__init__.py")}
    expected = {PLUGIN_FILE} if (PLUGINS / PLUGIN_FILE).exists() else set()
    assert top_level == expected
    assert not Path(loaded["http"]).is_relative_to(PLUGINS)
    assert loaded["errors"] == []


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A plugins folder like ours with harmless files, for what a missing rule would do."""
    folder = tmp_path / "plugins"
    for file in ("order_fraud/events.py", "lake/landing/http.py", "desk/desk_plugin.py", "desk/pages.py"):
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"NAME = {file!r}\n")
    shutil.copy(PLUGINS / ".airflowignore", folder)
    return folder


def test_rules_leave_only_the_plugin_in_a_small_folder(small: Path, airflow_home: Path) -> None:
    assert load(small, airflow_home)["executed"] == {"desk_plugin": "desk/desk_plugin.py"}


def test_without_the_rules_our_modules_would_replace_others(small: Path, airflow_home: Path) -> None:
    (small / ".airflowignore").unlink()
    loaded = load(small, airflow_home)
    assert loaded["executed"] == {
        "events": "order_fraud/events.py",
        "http": "lake/landing/http.py",
        "desk_plugin": "desk/desk_plugin.py",
        "pages": "desk/pages.py",
    }
    assert loaded["http"] == str(small / "lake/landing/http.py"), "Python's own http module would have survived"
