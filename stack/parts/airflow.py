"""Airflow: what ``airflow standalone`` starts, as processes of our own.

``standalone`` cannot be told to leave out the two log servers, which listen on all interfaces (ports 8793 and 8794);
its four commands can. See ``docs/decisions/0011-airflow-in-four-processes.md``.
"""

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from stack.errors import StackError
from stack.keys import write_private
from stack.part import Part, loopback, waiting_for_http
from stack.ports import HOST
from stack.site import ROOT, Site

BIN = ROOT / ".venv" / "airflow" / "bin"
START_SECONDS = 300.0
"""Generous: importing Airflow in four processes on two slow cores."""
_EMPTY = ROOT / "build" / "airflow" / "airflow.db"
"""A database without a row, made by the set-up: half a minute of migrations that each fresh start would repeat."""


def airflow(site: Site) -> list[Part]:
    """The metadata database where needed, then API server, scheduler, DAG processor and triggerer."""
    home = site.run_dir / "airflow"
    database = home / "airflow.db"
    home.mkdir(parents=True, exist_ok=True)
    if not database.exists():
        if not _EMPTY.exists():
            raise StackError(f"{_EMPTY.relative_to(ROOT)} is missing: `make setup` makes it")
        shutil.copy(_EMPTY, database)
    _write_passwords(site, home)
    env = _settings(site, home)
    health = f"{site.airflow}/api/v2/monitor/health"
    # The routes of the execution API are built on its first request, which holds up the whole server for seconds, on a
    # busy machine for the better part of a minute. Asked here, that happens while other parts start, not under a task.
    execution = f"{site.airflow}/execution/health"

    def part(name: str, *command: str, **more: Any) -> Part:
        settings: dict[str, Any] = {"env": env, "timeout": START_SECONDS, "after": ("airflow-db",)} | more
        return Part(name=f"airflow-{name}", group="airflow", command=(str(BIN / "airflow"), *command), **settings)

    migrated = _schema(database) == _schema(_EMPTY)
    return [
        *([] if migrated else [part("db", "db", "migrate", once=True, after=())]),
        part("api", "api-server", address=site.airflow, waiting_for=partial(waiting_for_http, execution)),
        part("scheduler", "scheduler", "--skip-serve-logs", waiting_for=_heartbeat(health, "scheduler")),
        part("dag-processor", "dag-processor", waiting_for=_heartbeat(health, "dag_processor")),
        part("triggerer", "triggerer", "--skip-serve-logs", waiting_for=_heartbeat(health, "triggerer")),
    ]


def _settings(site: Site, home: Path) -> dict[str, str]:
    keys = site.keys
    sections: dict[str, dict[str, object]] = {
        "CORE": {
            "EXECUTOR": "LocalExecutor",
            "AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
            "SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": home / "passwords.json",
            "DAGS_FOLDER": ROOT / "dags",
            "PLUGINS_FOLDER": ROOT / "plugins",
            "DAGS_ARE_PAUSED_AT_CREATION": False,
            "LOAD_EXAMPLES": False,
            "FERNET_KEY": keys.airflow_fernet_key,
            "PARALLELISM": 4,
        },
        "DATABASE": {"SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}", "LOAD_DEFAULT_CONNECTIONS": False},
        "API": {
            "HOST": HOST,
            "PORT": site.ports.airflow,
            "BASE_URL": site.airflow,
            "SECRET_KEY": keys.airflow_secret_key,
            "WORKERS": 1,
            "INSTANCE_NAME": "Countersign",
        },
        "API_AUTH": {"JWT_SECRET": keys.airflow_jwt_secret},
        "DAG_PROCESSOR": {"REFRESH_INTERVAL": 10, "PARSING_PROCESSES": 1},
        "LOGGING": {"BASE_LOG_FOLDER": site.logs / "airflow"},
    }
    settings = {f"AIRFLOW__{s}__{name}": str(value) for s, names in sections.items() for name, value in names.items()}
    return settings | {
        "AIRFLOW_HOME": str(home),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "plugins"),
        # Airflow renames its processes, which would overwrite the environment by which `down` recognises them.
        "SPT_NOENV": "1",
    }


def _schema(database: Path) -> list[tuple[str]]:
    """The last migration that the database has seen."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchall()


def _write_passwords(site: Site, home: Path) -> None:
    """Airflow makes up a password for each user that this file does not know; ours it knows."""
    write_private(home / "passwords.json", json.dumps({"admin": site.keys.airflow_password}))


def _heartbeat(health: str, component: str) -> Callable[[], str]:
    """Readiness of a component that listens nowhere: the API has seen its heart beat since we started it.

    The status alone is not enough: on a database of an earlier run it stays "healthy" for half a minute.
    """
    since = ""

    def waiting_for() -> str:
        nonlocal since
        since = since or datetime.now(UTC).isoformat()
        try:
            report = loopback().get(health).raise_for_status().json()[component]
        except httpx.HTTPError as error:
            return f"{health} ({type(error).__name__})"
        beat = report[f"latest_{component}_heartbeat"]
        if report["status"] == "healthy" and beat and datetime.fromisoformat(beat) >= datetime.fromisoformat(since):
            return ""
        return f"the heartbeat of {component} (status {report['status']}, last beat {beat})"

    return waiting_for
