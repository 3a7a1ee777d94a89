"""Run by the Python of an Airflow environment, never imported: what that Airflow makes of an unpacked package.

    python probe.py HOME [--everything]

HOME is laid out as ``/usr/local/airflow``. Prints one line of JSON: DAGs, import errors, plugins, and each of our
modules that came from elsewhere. ``--everything`` imports all modules of the plugins besides, as tasks will.
"""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any


def main(home: Path, everything: bool) -> dict[str, Any]:
    """Load all DAGs and plugins from below ``home``."""
    # Airflow puts dags, plugins and config there by itself; the folder of this file is Python's own doing.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
    import airflow
    from airflow import plugins_manager
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(home / "dags")
    plugins, errors = plugins_manager._get_plugins()
    failed = _import_all(home / "plugins") if everything else {}
    ours = {path.name for path in (home / "plugins").iterdir() if path.is_dir()}
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    mine = {name: file for name, file in files.items() if name.partition(".")[0] in ours and file}
    return {
        "airflow": airflow.__version__,
        "dags": sorted(bag.dags),
        "import_errors": {**bag.import_errors, **errors, **failed},
        "plugins": sorted(str(plugin.name) for plugin in plugins if str(plugin.__module__).endswith("desk_plugin")),
        "imported": len(mine),
        "elsewhere": {name: file for name, file in mine.items() if not Path(file).is_relative_to(home)},
        "path": [entry for entry in sys.path if "site-packages" not in entry and "lib/python" not in entry],
    }


def _import_all(plugins: Path) -> dict[str, str]:
    failed = {}
    for path in sorted(plugins.rglob("*.py")):
        name = ".".join(path.relative_to(plugins).with_suffix("").parts).removesuffix(".__init__")
        try:
            importlib.import_module(name)
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


if __name__ == "__main__":
    os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    print(json.dumps(main(Path(sys.argv[1]).resolve(), "--everything" in sys.argv)))
