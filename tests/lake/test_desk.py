"""The desk in Airflow's web server: registered, closed to strangers, and open to users."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROBE = """
import json
from airflow import plugins_manager
apps, _ = plugins_manager.get_fastapi_plugins()
views, _ = plugins_manager._get_ui_plugins()
plugins, errors = plugins_manager._get_plugins()
_, links = plugins_manager._get_extra_operators_links_plugins()
from airflow.api_fastapi.app import cached_app
web = cached_app(apps="core")
from fastapi.testclient import TestClient
client = TestClient(web, raise_server_exceptions=False)
paths = ["/", "/of?run_id=x", "/orders/1-1", "/runs/reconcile_orders/r1/report.html",
         "/runs/reconcile_orders/../r1/report.json"]
strangers = {path: client.get(f"/countersign{path}").status_code for path in paths}
bad = client.get("/countersign/", headers={"Authorization": "Bearer not-a-token"}).status_code
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="ann", role="viewer"))
import boto3
users = {}
for how in ("header", "cookie"):
    login = {"headers": {"Authorization": f"Bearer {token}"}} if how == "header" else {"cookies": {"_token": token}}
    users[how] = TestClient(web, raise_server_exceptions=False, **login).get("/countersign/of?dag_id=other").status_code
print("RESULT" + json.dumps({
    "apps": [(app["name"], app["url_prefix"]) for app in apps],
    "views": [(view["name"], view["href"], view["destination"]) for view in views],
    "plugins": [plugin.name for plugin in plugins],
    "errors": errors,
    "links": [link.name for link in links],
    "strangers": strangers, "bad": bad, "users": users,
}))
"""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow's own web server says, in a process and a home of its own."""
    home = tmp_path_factory.mktemp("airflow")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "COUNTERSIGN"))}
    environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "ann:viewer",
        "AIRFLOW__API_AUTH__JWT_SECRET": "made up for this one test, long enough to be taken",
        "PYTHONPATH": str(ROOT / "plugins"),
    }
    empty = ROOT / "build" / "airflow" / "airflow.db"  # the set-up makes it, because making one takes half a minute
    if empty.exists():
        shutil.copy(empty, home / "airflow.db")
    for arguments in ([] if empty.exists() else ["-m", "airflow", "db", "migrate"], ["-c", PROBE]):
        if not arguments:
            continue
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environ,
            cwd=home,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    return json.loads(line.removeprefix("RESULT"))


def test_app_views_and_link_are_registered(web: dict[str, Any]) -> None:
    assert "countersign_desk" in web["plugins"]
    assert web["errors"] == {}
    assert ["Countersign reports", "/countersign"] in web["apps"]
    assert ["Reports", "/countersign/", "nav"] in web["views"]
    assert ["Report", "/countersign/of?dag_id={DAG_ID}&run_id={RUN_ID}", "dag_run"] in web["views"]
    assert web["links"] == ["Report"]


def test_strangers_see_nothing(web: dict[str, Any]) -> None:
    assert set(web["strangers"].values()) <= {401, 404}
    assert [
        web["strangers"][path] for path in ("/", "/of?run_id=x", "/orders/1-1", "/runs/reconcile_orders/r1/report.html")
    ] == [
        401,
        401,
        401,
        401,
    ]
    assert web["bad"] == 403


def test_users_of_airflow_get_in(web: dict[str, Any]) -> None:
    assert web["users"] == {"header": 200, "cookie": 200}


class Shelf:
    """Holds reports in memory, under the same rules as the store."""

    def __init__(self, dag: str = "reconcile_orders") -> None:
        self.dag = dag
        self.documents = {("r1", "report.html"): b"<p>one</p>", ("r1", "report.json"): b"{}"}

    def runs(self) -> list[Any]:
        from lake.report.store import Stored

        return [
            Stored(self.dag, run, datetime(2026, 1, 1, tzinfo=UTC), 2048)
            for run, name in self.documents
            if name == "report.html"
        ]

    def has(self, run: str, name: str = "report.html") -> bool:
        return (run, name) in self.documents

    def get(self, run: str, name: str) -> bytes:
        from lake.report.store import NoSuchReport

        try:
            return self.documents[run, name]
        except KeyError:
            raise NoSuchReport(f"run {run!r} has no {name}") from None


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def trials() -> Shelf:
    return Shelf("backtest_scorecard")


@pytest.fixture
def lessons() -> Shelf:
    return Shelf("train_scorecard")


@pytest.fixture
def client(shelf: Shelf, trials: Shelf, lessons: Shelf) -> Iterator[Any]:
    from fastapi.testclient import TestClient

    from desk.app import create_app
    from lake.report.store import NoSuchReport

    stories = Shelf("tell_order")
    stories.documents.clear()

    def open_store(dag_id: str) -> Shelf:
        for one in (shelf, trials, lessons, stories):
            if one.dag == dag_id:
                return one
        raise NoSuchReport(f"runs of {dag_id!r} have no report")

    with TestClient(create_app(lambda: "ann", open_store), follow_redirects=False) as opened:
        yield opened


def test_list_leads_to_each_report(client: Any, shelf: Shelf, trials: Shelf, lessons: Shelf) -> None:
    trials.documents = {("r1", "report.html"): b"<p>two</p>", ("r1", "changes.csv"): b"order_id\r\n"}
    page = client.get("/")
    assert page.status_code == 200
    assert 'href="runs/reconcile_orders/r1/report.html"' in page.text
    assert 'href="runs/backtest_scorecard/r1/report.html"' in page.text
    assert 'href="runs/train_scorecard/r1/report.html"' in page.text
    assert client.get("/runs/reconcile_orders/r1/report.html").text == "<p>one</p>"
    assert client.get("/runs/reconcile_orders/r1/report.json").headers["content-type"] == "application/json"
    assert client.get("/runs/backtest_scorecard/r1/report.html").text == "<p>two</p>"
    listed = client.get("/runs/backtest_scorecard/r1/changes.csv")
    assert (listed.text, listed.headers["content-type"]) == ("order_id\r\n", "text/csv; charset=utf-8")
    shelf.documents.clear()
    trials.documents.clear()
    lessons.documents.clear()
    assert "There is none yet" in client.get("/").text


def test_pages_may_neither_run_nor_load_anything(client: Any) -> None:
    for path in ("/", "/of", "/runs/reconcile_orders/r1/report.html"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "frame-ancestors 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "private, no-store"


def test_tab_of_a_run_leads_to_its_report(client: Any, shelf: Shelf) -> None:
    from lake.report.names import safe_run_id

    run_id = "manual__2026-01-01T00:00:00+00:00"
    shelf.documents[safe_run_id(run_id), "report.html"] = b"two"
    there = client.get("/of", params={"dag_id": "reconcile_orders", "run_id": run_id})
    assert there.headers["location"] == f"runs/reconcile_orders/{safe_run_id(run_id)}/report.html"
    assert client.get(f"/{there.headers['location']}").text == "two"
    shelf.documents["stopped", "quality.html"] = b"why"
    there = client.get("/of", params={"dag_id": "reconcile_orders", "run_id": "stopped"})
    assert there.headers["location"] == "runs/reconcile_orders/stopped/quality.html"
    assert client.get(f"/{there.headers['location']}").text == "why"
    assert "has not published its report" in client.get("/of?dag_id=reconcile_orders&run_id=other").text
    assert "this is a run of <code>&lt;b&gt;</code>" in client.get("/of", params={"dag_id": "<b>", "run_id": "x"}).text


@pytest.mark.parametrize(
    "path",
    [
        "/runs/reconcile_orders/r1/outcome.json",
        "/runs/reconcile_orders/r1/secrets.json",
        "/runs/reconcile_orders/r2/report.html",
        "/runs/other_dag/r1/report.html",
        "/runs/..%2Freconcile_orders/r1/report.html",
        "/runs/reconcile_orders/..%2Fr1/report.html",
        "/runs/reconcile_orders/%2e%2e/report.html",
        "/runs/reconcile_orders/r1%2F..%2F..%2Fwarehouse/report.html",
        "/runs/reconcile_orders/r1/..%2F..%2Freport.html",
    ],
)
def test_nothing_else_can_be_reached(client: Any, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("run", ["..", ".", "", "a/b", "a\\b", "../r1", "r1/../../x", "a\n", ".hidden", "a" * 201, "ä"])
def test_store_refuses_names_that_are_no_run(run: str) -> None:
    from lake.report.store import NoSuchReport, _key

    with pytest.raises(NoSuchReport):
        _key("reconcile_orders", run, "report.html")
    with pytest.raises(NoSuchReport):
        _key("reconcile_orders", "r1", "../report.html")


def test_safe_run_id_is_one_safe_segment_and_keeps_runs_apart() -> None:
    from lake.report.names import SAFE, safe_run_id

    ids = [
        "manual__2026-01-01T00:00:00+00:00",
        "manual__2026-01-01T00:00:00-00:00",
        "../..",
        "a/b",
        "a_b",
        "ä",
        "",
        "x" * 900,
    ]
    made = [safe_run_id(run_id) for run_id in ids]
    assert len(set(made)) == len(ids)
    assert all(SAFE.match(name) for name in made)
    assert safe_run_id("plain-run_1.2") == "plain-run_1.2"


def test_settings_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi.testclient import TestClient

    from desk.app import create_app

    monkeypatch.delenv("COUNTERSIGN_CATALOG", raising=False)
    answer = TestClient(create_app(lambda: "ann")).get("/")
    assert answer.status_code == 503
    assert "COUNTERSIGN_CATALOG is not set" in answer.json()["detail"]


def test_link_of_the_task_leads_to_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from desk.links import ReportLink
    from desk.operators import PublishReport

    run = SimpleNamespace(dag_id="reconcile_orders", run_id="manual__2026-01-01T00:00:00+00:00")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.test/airflow/")
    operator = PublishReport(task_id="publish_report", emitted={})
    (link,) = operator.operator_extra_links
    assert isinstance(link, ReportLink)
    href = link.get_link(operator, ti_key=run)
    assert href.startswith("/airflow/countersign/runs/reconcile_orders/manual__2026-01-01T00_00_00_00_00-")
    assert href.endswith("/report.html")
