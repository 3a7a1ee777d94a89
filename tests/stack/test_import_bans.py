"""The linter's ban-lists bite where they should and nowhere else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUFF = Path(sys.executable).with_name("ruff")


def banned(path: str, code: str) -> list[str]:
    """The rules that ``code`` would break if it stood in ``path``."""
    command = [RUFF, "check", "--select", "TID251,TID253", "--output-format", "json", "--stdin-filename", path, "-"]
    checked = subprocess.run(command, input=code, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return [finding["code"] for finding in json.loads(checked.stdout)]


@pytest.mark.parametrize("module", ["pandas", "polars", "pyiceberg.catalog", "boto3", "confluent_kafka", "matplotlib"])
def test_a_dag_file_imports_nothing_heavy_when_it_is_parsed(module: str) -> None:
    assert banned("dags/any.py", f"import {module}\n") == ["TID253"]
    assert banned("dags/any.py", f"def task():\n    import {module}\n") == []


@pytest.mark.parametrize("module", ["airflow", "faust", "confluent_kafka", "httpx", "boto3", "os", "time", "random"])
def test_the_kernel_imports_no_framework_and_does_no_io_not_even_late(module: str) -> None:
    assert banned("plugins/order_fraud/any.py", f"import {module}\n") == ["TID251"]
    assert banned("plugins/order_fraud/any.py", f"def judge():\n    import {module}\n") == ["TID251"]


def test_the_kernel_has_no_clock() -> None:
    code = "from datetime import UTC, datetime\n\nNOW = datetime.now(UTC)\n"
    assert banned("plugins/order_fraud/any.py", code) == ["TID251"]


def test_elsewhere_nothing_is_banned() -> None:
    code = "import os\nimport time\n\nimport httpx\nimport faust\n"
    for path in ("streams/any.py", "plugins/lake/any.py", "tests/any.py"):
        assert banned(path, code) == []
