"""Every file in dags/: parses without error, fast, light, always the same, and its form accepts its own defaults."""

import json
import runpy
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.dags.process import DAGS, FILES, ROOT, probe

PARSE_SECONDS = 0.5
NAMES = [path.name for path in FILES]
LIGHT = {"lake", "lake.errors", "lake.report", "lake.report.names"}
"""Standard library only, for a retry rule and the link to the report; the rest of `lake` stays inside tasks."""

Probed = dict[str, dict[str, Any]]


def every_dag(probed: Probed) -> dict[str, dict[str, Any]]:
    return {dag_id: dag for found in probed.values() for dag_id, dag in found["dags"].items()}


def test_both_landing_dags_are_there(probed: Probed) -> None:
    assert {"land_events", "land_sources"} <= every_dag(probed).keys()


@pytest.mark.parametrize("name", NAMES)
def test_file_has_no_import_error_and_one_dag_of_its_name(probed: Probed, name: str) -> None:
    """And, of the landing of sources, one for each flow file."""
    assert probed[name]["import_errors"] == {}
    flows = [f"land_{path.stem}" for path in (DAGS / "flows").glob("*.yaml")] if name == "land_sources.py" else []
    assert sorted(probed[name]["dags"]) == sorted([name.removesuffix(".py"), *flows])


@pytest.mark.parametrize("name", NAMES)
def test_file_parses_within_half_a_second_net_of_airflow(probed: Probed, name: str) -> None:
    assert probed[name]["seconds"] < PARSE_SECONDS, f"{name} took {probed[name]['seconds']:.2f} s to parse"


@pytest.mark.parametrize("name", NAMES)
def test_file_brings_in_no_heavy_module(probed: Probed, name: str) -> None:
    banned = tomllib.loads((DAGS / "ruff.toml").read_text())["lint"]["flake8-tidy-imports"][
        "banned-module-level-imports"
    ]
    brought = {module for module in probed[name]["modules"] if module.partition(".")[0] in banned}
    assert brought <= LIGHT, (
        "imported at parse time. A RetryRule imports the exceptions that it names: name lake.errors.Hopeless alone "
        "and derive the others from it"
    )


@pytest.mark.parametrize("name", NAMES)
def test_file_has_no_run_time_value_in_its_dag(probed: Probed, name: str) -> None:
    assert probed[name]["check_level"] == "error", "the strict check was not in force"
    assert probed[name]["inflation"] == []


def test_inflation_check_would_catch_a_clock(tmp_path: Path, airflow_home: Path) -> None:
    bad = tmp_path / "inflating.py"
    bad.write_text(
        "from datetime import datetime\nfrom airflow.sdk import DAG\n"
        "with DAG('inflating', schedule=None, start_date=datetime.now()):\n    pass\n"
    )
    assert probe(bad, airflow_home)["inflation"]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_dag_is_the_same_in_every_process(probed: Probed, airflow_home: Path, path: Path) -> None:
    again = probe(path, airflow_home)["dags"]
    assert {dag_id: dag["hash"] for dag_id, dag in again.items()} == {
        dag_id: dag["hash"] for dag_id, dag in probed[path.name]["dags"].items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_form_accepts_its_own_defaults(probed: Probed, name: str) -> None:
    """As the API does it: the body of the request is JSON, laid over the DAG's params, which then must be valid."""
    from airflow.sdk.definitions.param import Param, ParamsDict

    for dag in probed[name]["dags"].values():
        form = {
            key: Param(param["value"], description=param["description"], **param["schema"])
            for key, param in dag["params"].items()
        }
        submitted = json.loads(json.dumps({key: param["value"] for key, param in dag["params"].items()}))
        params = ParamsDict(form)
        params.update(submitted)
        assert params.validate() == submitted


@pytest.mark.parametrize("name", NAMES)
def test_form_fields_are_flat_and_explained(probed: Probed, name: str) -> None:
    for dag in probed[name]["dags"].values():
        for key, param in dag["params"].items():
            kinds = param["schema"].get("type")
            assert kinds, f"{name}: param {key} has no type, so the form cannot check it"
            assert set([kinds] if isinstance(kinds, str) else kinds) <= {
                "null",
                "string",
                "boolean",
                "integer",
                "number",
            }
            assert param["description"], f"{name}: param {key} does not say what it is for"


@pytest.mark.parametrize("name", NAMES)
def test_dag_tells_its_reader_what_it_does_and_runs_alone(probed: Probed, name: str) -> None:
    for dag_id, dag in probed[name]["dags"].items():
        assert len(dag["doc"]) > 200, f"{dag_id} has no doc_md that explains it"
        assert dag["tags"], f"{dag_id} has no tags"
        assert dag["catchup"] is False
        assert dag["max_active_runs"] == 1


def test_landing_dags_have_one_task_per_source_with_its_asset(probed: Probed) -> None:
    from lake import tables
    from lake.landing.flows import load_all

    flows = load_all(DAGS / "flows")
    dags = every_dag(probed)
    topics = {spec.name for spec in tables.TOPICS}
    assert {name for task in dags["land_events"]["tasks"].values() for name in task["outlets"]} == topics | {
        "kafka/day",
        "fraud.labels/new",
    }
    assert {name for task in dags["land_sources"]["tasks"].values() for name in task["outlets"]} == {
        f"{table}{what}" for table in flows for what in ("", "/day")
    }
    for task_id in dags["land_sources"]["tasks"]:
        assert (DAGS / "flows" / f"{task_id}.yaml").exists()
        assert dags[f"land_{task_id}"]["tasks"] == {task_id: dags["land_sources"]["tasks"][task_id]}
    for dag_id in ("land_events", "land_sources"):
        for task in dags[dag_id]["tasks"].values():
            assert task["retries"] >= 2
            assert task["timeout"]


@pytest.fixture(scope="module")
def other_flows(airflow_home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The landing of other flow files: on an hour, on an asset, without a table, no YAML, at an hour there is not."""
    folder = tmp_path_factory.mktemp("dags")
    (folder / "flows").mkdir()
    written = {
        "nightly": "table: a.nightly\nschedule: 15 2 * * *\n",
        "daily": "table: a.daily\nschedule: '@daily'\n",
        "after": "table: a.after\nschedule: {asset: kafka.customer_events}\n",
        "nameless": "schedule: null\n",
        "broken": "table: [\n",
        "never": "table: a.never\nschedule: 99 2 * * *\n",
    }
    for name, text in written.items():
        (folder / "flows" / f"{name}.yaml").write_text(text)
    (folder / "land_sources.py").write_text((DAGS / "land_sources.py").read_text())
    return probe(folder / "land_sources.py", airflow_home)


def test_schedule_of_a_flow_is_that_of_its_dag(other_flows: dict[str, Any]) -> None:
    schedules = {dag_id: dag["schedule"] for dag_id, dag in other_flows["dags"].items()}
    assert schedules["land_nightly"] == "15 2 * * *"
    assert schedules["land_daily"] == "@daily"
    assert "Asset(name='kafka.customer_events'" in schedules["land_after"]
    assert schedules["land_sources"] == schedules["land_nameless"] == "None"


def test_bad_flow_file_takes_no_other_away(other_flows: dict[str, Any]) -> None:
    """Its own task is there to say what is wrong with it."""
    assert {"land_nightly", "land_after", "land_sources", "land_broken"} <= other_flows["dags"].keys()
    tasks = other_flows["dags"]["land_sources"]["tasks"]
    assert tasks.keys() == {"after", "broken", "daily", "nameless", "never", "nightly"}
    assert (tasks["after"]["outlets"], tasks["broken"]["outlets"]) == (["a.after", "a.after/day"], [])
    assert "land_never" not in other_flows["dags"]
    assert "99 2 * * *" in str(other_flows["import_errors"]) or "[99]" in str(other_flows["import_errors"])


def ruff(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    executable = ROOT / ".venv" / "streams" / "bin" / "ruff"
    if not executable.exists():
        pytest.skip(f"{executable.relative_to(ROOT)} is missing: `make setup` makes it")
    return subprocess.run(
        [str(executable), *arguments], input=text, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_no_dag_file_imports_what_is_heavy() -> None:
    outcome = ruff("check", "--no-cache", "--select", "TID251,TID253", "dags")
    assert outcome.returncode == 0, outcome.stdout


@pytest.mark.parametrize("module", ["great_expectations", "pandas", "boto3", "confluent_kafka", "pyiceberg", "lake"])
def test_ban_on_heavy_imports_holds(module: str) -> None:
    outcome = ruff(
        "check", "--no-cache", "--select", "TID253", "--stdin-filename", "dags/new.py", "-", text=f"import {module}\n"
    )
    assert "TID253" in outcome.stdout
    assert outcome.returncode == 1


def test_backtest_form_names_a_candidate_in_either_of_two_ways(probed: Probed) -> None:
    dag = every_dag(probed)["backtest_scorecard"]
    assert list(dag["tasks"]) == ["judge_again", "publish_report"]
    form = {name: (param["value"], param["schema"].get("format")) for name, param in dag["params"].items()}
    assert form == {
        "candidate_version": (None, None),
        "candidate_document": (None, "multiline"),
        "from_day": (None, "date"),
        "to_day": (None, "date"),
        "mature_days": (60, None),
    }
    assert all(task["retries"] >= 2 and task["timeout"] for task in dag["tasks"].values())


def test_a_landed_day_waits_for_all_that_a_reconciliation_reads() -> None:
    from lake import tables

    needed = runpy.run_path(str(DAGS / "reconcile_landed_day.py"))["NEEDED"]
    assert sorted(needed) == sorted(["kafka/day", *(f"{one}/day" for one in (*tables.RECONCILED, *tables.WITNESSES))])


def test_a_day_waits_for_no_table_that_nobody_lands() -> None:
    from desk.flow_files import days_of

    assert days_of(["shop.orders", "crm.contacts"], {"mine": {"table": "shop.orders"}, "broken": {}}) == [
        "shop.orders/day"
    ]
