"""What the task of ``load_warehouse`` does."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
from airflow.sdk import Connection, get_current_context
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowSkipException

from lake.catalog import open_catalog
from lake.settings import BadSetting
from lake.warehouse import choose
from lake.warehouse.change import between
from lake.warehouse.load import Loaded, load, loaded, prepare

log = logging.getLogger(__name__)

WAREHOUSE = "warehouse"
CONNECT_S = 10


def load_tables(flows: Path) -> list[dict[str, Any]]:
    """Bring the warehouse up to what has landed and was found; return what each table got that was behind.

    Raises:
        AirflowSkipException: no warehouse is connected.
    """
    run_id = str(get_current_context()["run_id"])
    catalog = open_catalog()
    with psycopg.connect(**_address(), connect_timeout=CONNECT_S, autocommit=True) as warehouse:
        prepare(warehouse)
        done: list[Loaded | None] = []
        for table, shape in choose.copied(catalog, flows):
            before = loaded(warehouse, shape.name)
            if change := between(table, before, shape.key):
                done.append(load(warehouse, shape, change, before, run_id))
        before = loaded(warehouse, choose.SUMMARY.name)
        if change := choose.verdict_summary(catalog, before):
            done.append(load(warehouse, choose.SUMMARY, change, before, run_id))
    for one in done:
        log.info("%s", one or "another load was faster")
    return [asdict(one) for one in done if one is not None]


def _address() -> dict[str, Any]:
    """What psycopg wants to know, from the Airflow connection."""
    try:
        found = Connection.get(WAREHOUSE)
    except AirflowNotFoundException as error:
        raise AirflowSkipException(
            f"no warehouse is connected: add the Airflow connection {WAREHOUSE} (type postgres, with host, port, "
            f"database, login and password), or set AIRFLOW_CONN_{WAREHOUSE.upper()}"
        ) from error
    if not (found.host and found.login and found.password and found.schema):
        raise BadSetting(f"the Airflow connection {WAREHOUSE} lacks host, database (schema), login or password")
    return {
        "host": found.host,
        "port": found.port or 5432,
        "dbname": found.schema,
        "user": found.login,
        "password": found.password,
    }
