"""Parses one DAG file in a fresh process and prints what it found as one line of JSON."""

import importlib.util
import json
import sys
from pathlib import Path
from time import process_time
from typing import Any


def warm_up() -> None:
    """Import what Airflow itself needs to parse any DAG, so that only the file's own share is measured."""
    import airflow.sdk
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import Asset, Param, dag, task

    for name in airflow.sdk.__all__:
        getattr(airflow.sdk, name, None)  # a few names stand for optional providers

    @dag(schedule=None, params={"x": Param(1, type="integer")})
    def warm() -> None:
        @task(outlets=[Asset("warm")])
        def nothing() -> None: ...

        nothing()

    warm()
    assert DagBag


def load_seconds(path: Path) -> tuple[float, list[str]]:
    """CPU seconds to execute the file (whatever else the machine does), and the modules that it brought in."""
    before = set(sys.modules)
    spec = importlib.util.spec_from_file_location(f"probed_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    began = process_time()
    spec.loader.exec_module(module)
    return process_time() - began, sorted(set(sys.modules) - before)


def described(path: Path) -> dict[str, Any]:
    """What Airflow's own DagBag makes of the file."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.utils.dag_version_inflation_checker import check_dag_file_stability

    bag = DagBag(path)
    stability = check_dag_file_stability(str(path))
    return {
        "import_errors": bag.import_errors,
        "check_level": stability.check_level.value,
        "inflation": [str(warning) for warning in stability.warnings.values()],
        "dags": {
            dag_id: {
                "hash": SerializedDagModel.hash(DagSerialization.to_dict(dag)),
                "params": {name: dag.params.get_param(name).dump() for name in dag.params},
                "doc": dag.doc_md or "",
                "tags": sorted(dag.tags),
                "catchup": dag.catchup,
                "max_active_runs": dag.max_active_runs,
                "schedule": str(dag.schedule),
                "tasks": {
                    task.task_id: {
                        "retries": task.retries,
                        "timeout": task.execution_timeout is not None,
                        "outlets": [asset.name for asset in task.outlets],
                    }
                    for task in dag.tasks
                },
            }
            for dag_id, dag in bag.dags.items()
        },
    }


if __name__ == "__main__":
    warm_up()
    file = Path(sys.argv[1])
    seconds, modules = load_seconds(file)
    print(json.dumps({"seconds": seconds, "modules": modules, **described(file)}))
