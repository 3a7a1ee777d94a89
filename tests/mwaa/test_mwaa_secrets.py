"""Secrets: created and checked without being shown, and found by Airflow's own backend."""

import io
import json
import os
import subprocess
import uuid
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from mwaa import package, secret_store
from mwaa.cli import main

PYTHON = package.ROOT / ".venv" / "airflow" / "bin" / "python"
PASSWORD = "p4ss/word with%20signs"


@pytest.fixture(autouse=True)
def empty(aws: str) -> None:
    """No secret is left from the test before."""
    manager = boto3.client("secretsmanager")
    for each in manager.list_secrets(IncludePlannedDeletion=True)["SecretList"]:
        manager.delete_secret(SecretId=each["Name"], ForceDeleteWithoutRecovery=True)


def filled_in() -> dict[str, Any]:
    values = secret_store.example()
    for name, fields in values["connections"].items():
        fields |= {field: f"{name}.example" for field in fields if field == "host"}
        fields |= {field: PASSWORD for field in fields if field == "password"}
        fields |= {field: "client" for field in fields if field == "login"}
    return values


def create(tmp_path: Path, values: object, *more: str) -> int:
    path = tmp_path / f"{uuid.uuid4()}.json"
    path.write_text(json.dumps(values))
    return main(["secrets", "create", str(path), *more])


def text_of(name: str) -> str:
    return str(boto3.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])


def test_created_once_and_never_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["secrets", "check"]) == 1
    assert capfd.readouterr().out.count("there is none") == len(secret_store.NAMES)
    assert create(tmp_path, filled_in()) == 0
    key = text_of(secret_store.KEY_NAME)
    assert create(tmp_path, filled_in()) == 0
    assert main(["secrets", "check"]) == 0
    shown = "".join(capfd.readouterr())
    assert shown.count("created") == shown.count("was there") == shown.count(" ok\n") == len(secret_store.NAMES)
    assert PASSWORD not in shown
    assert key not in shown
    assert text_of(secret_store.KEY_NAME) == key


def test_replace_changes_connections_but_never_the_masking_key(tmp_path: Path) -> None:
    create(tmp_path, filled_in())
    key = text_of(secret_store.KEY_NAME)
    other = filled_in() | {"variables": {"masking_key": "another key of enough length"}}
    other["connections"]["shop"]["password"] = "new"
    assert create(tmp_path, other, "--replace") == 0
    assert json.loads(text_of("airflow/connections/shop"))["password"] == "new"
    assert text_of(secret_store.KEY_NAME) == key


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"host": "https://shop.example/"}, "airflow/connections/shop: host must be a host name alone"),
        ({"password": ""}, "airflow/connections/shop: has no password"),
        ({"password": "…"}, "airflow/connections/shop: password is still the placeholder"),
        ({"pasword": PASSWORD}, "airflow/connections/shop: pasword is no field"),
    ],
)
def test_unusable_value_stops_it_before_anything_is_written(
    tmp_path: Path, change: dict[str, str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    values = filled_in()
    values["connections"]["shop"] |= change
    assert create(tmp_path, values) == 1
    shown = "".join(capsys.readouterr())
    assert says in shown
    assert PASSWORD not in shown
    assert boto3.client("secretsmanager").list_secrets()["SecretList"] == []


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([], "must be one object"),
        ({"conections": {}}, "must be one object"),
        ({"connections": []}, "connections must be an object"),
        ({"connections": {"shp": {}}}, "connections: shp is none that the DAGs know"),
        ({"connections": {"shop": PASSWORD}}, "must be a JSON object"),
        ({"variables": {"masking_key": "short"}}, "at least 16 characters"),
        ({"variables": {"masking_key": 12345678901234567}}, "at least 16 characters"),
    ],
)
def test_file_of_another_shape_is_refused(
    tmp_path: Path, values: object, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert create(tmp_path, values) == 1
    shown = "".join(capsys.readouterr())
    assert says in shown
    assert PASSWORD not in shown


def test_text_that_is_no_json_is_refused_without_citing_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f'{{"connections":\n {PASSWORD}'))
    assert main(["secrets", "create", "-"]) == 1
    shown = "".join(capsys.readouterr())
    assert "-: no JSON, at line 2" in shown
    assert PASSWORD not in shown


def test_check_says_what_is_wrong_with_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create(tmp_path, filled_in())
    manager = boto3.client("secretsmanager")
    manager.put_secret_value(SecretId="airflow/connections/shop", SecretString=f"http://:{PASSWORD}@shop.example")
    manager.put_secret_value(SecretId="airflow/connections/crm", SecretString='{"host": "crm.example"}')
    manager.delete_secret(SecretId="airflow/connections/notices")
    capsys.readouterr()
    assert main(["secrets", "check"]) == 1
    shown = "".join(capsys.readouterr())
    assert "airflow/connections/shop       must be a JSON object" in shown
    assert "airflow/connections/crm        has no conn_type; has no login; has no password" in shown
    assert "airflow/connections/notices    is being deleted" in shown
    assert PASSWORD not in shown


def test_connections_are_those_that_the_code_asks_for() -> None:
    """Every flow's connection, and every one that a task names."""
    flows = {yaml.safe_load(path.read_text())["connection"] for path in (package.ROOT / "dags/flows").glob("*.yaml")}
    code = (package.ROOT / "plugins/lake/settle/tasks.py").read_text()
    named = {line.split('endpoint("')[1].split('"')[0] for line in code.splitlines() if 'endpoint("' in line}
    assert flows | named == {each.id for each in secret_store.CONNECTIONS}
    assert f'MASKING_KEY = "{secret_store.MASKING_KEY}"' in (package.ROOT / "plugins/lake/connections.py").read_text()


RESOLVE = """
import json
from dataclasses import asdict
from airflow.providers.amazon.aws.secrets.secrets_manager import SecretsManagerBackend as Backend
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

asked, fetch = [], Backend._get_secret_value
Backend._get_secret_value = lambda self, name, path: (asked.append(path), fetch(self, name, path))[1]

from lake.connections import endpoint, masker

found = {name: asdict(endpoint(name)) for name in ("shop", "payments", "crm", "notices", "erp", "carrier", "analytics")}
masker()
try:
    Connection.get("aws_default")
    other = "found"
except AirflowNotFoundException:
    other = "not found"
print(json.dumps({"found": found, "other": other, "asked": sorted(set(asked))}))
"""


def test_airflow_finds_them_by_the_settings_of_the_template(tmp_path: Path, aws: str) -> None:
    """Airflow's own backend, set up by the template's options, hands our code its connections as in a task."""
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON.relative_to(package.ROOT)} is missing: `make setup` makes it")
    create(tmp_path, filled_in())
    kwargs = json.dumps(secret_store.backend_kwargs())
    env = {name: value for name, value in os.environ.items() if name.startswith("AWS_")} | {
        "PATH": os.environ["PATH"],
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(tmp_path / "none"),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "PYTHONPATH": str(package.ROOT / "plugins"),
        "AIRFLOW__SECRETS__BACKEND": secret_store.BACKEND,
        "AIRFLOW__SECRETS__BACKEND_KWARGS": kwargs,
        "AIRFLOW__WORKERS__SECRETS_BACKEND": secret_store.BACKEND,
        "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS": kwargs,
    }
    done = subprocess.run(
        [str(PYTHON), "-c", RESOLVE], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    outcome = json.loads(done.stdout.splitlines()[-1])
    for name, found in outcome["found"].items():
        assert found["login"] == ("client" if name in ("crm", "erp") else "")
        assert (found["base_url"], found["secret"]) == (f"https://{name}.example", PASSWORD)
    assert outcome["other"] == "not found"
    assert outcome["asked"] == sorted(secret_store.NAMES), "something else was asked for, which the role may not"
