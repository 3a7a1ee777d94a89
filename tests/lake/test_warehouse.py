"""The warehouse: a real PostgreSQL, filled from tables of the lake; loaded twice, interrupted, raced, widened."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.schema import Schema
from pyiceberg.types import DoubleType, NestedField

from lake import tables
from lake.landing.columns import table_of
from lake.landing.flows import load_all
from lake.landing.merge import merge
from lake.warehouse import choose
from lake.warehouse.change import between
from lake.warehouse.load import Loaded, load, loaded, prepare
from lake.warehouse.shape import CannotLoad, Shape
from order_fraud.topics import FRAUD_VERDICTS
from tests.lake.conftest import ROOT, free_ports

FLOWS = ROOT / "dags" / "flows"
PROGRAMS = ROOT / "build" / "postgres"
NOBODY = 65534
ORDERS = "shop.orders"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a PostgreSQL of its own, which refuses to run as root: as root it gets another user."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("PostgreSQL's programs are for Linux on x86-64 only")
    if not (PROGRAMS / "bin" / "postgres").exists():
        pytest.fail("build/postgres is missing: run `make setup`")
    folder = Path(tempfile.mkdtemp(prefix="warehouse-"))
    data, programs, as_user = folder / "data", PROGRAMS, []
    if os.geteuid() == 0:
        # That other user may have no way into the folder of the project.
        programs = Path(shutil.copytree(PROGRAMS, folder / "programs", ignore=shutil.ignore_patterns("jars")))
        os.chown(folder, NOBODY, NOBODY)
        as_user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(folder)}
    port = free_ports()[0]
    password = folder / "password"
    password.write_text("hush")
    password.chmod(0o644)

    def run(program: str, *arguments: str) -> list[str]:
        return [*as_user, str(programs / "bin" / program), *arguments]

    made = run("initdb", "-D", str(data), "-U", "loader", "-A", "scram-sha-256", f"--pwfile={password}", "--no-sync")
    subprocess.run([*made, "-E", "UTF8"], env=env, check=True, capture_output=True, cwd=folder, timeout=60)
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    process = subprocess.Popen(
        run("postgres", "-D", str(data), *options), env=env, cwd=folder, stderr=subprocess.DEVNULL
    )
    address = f"host=127.0.0.1 port={port} user=loader password=hush dbname=postgres connect_timeout=5"
    try:
        until = monotonic() + 30
        while True:
            try:
                psycopg.connect(address).close()
                break
            except psycopg.OperationalError:
                assert process.poll() is None, "PostgreSQL has ended"
                assert monotonic() < until, "PostgreSQL does not answer"
                sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder)


@pytest.fixture
def warehouse(server: str, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection[Any]]:
    """A database of its own."""
    name = f"w_{abs(hash(request.node.name))}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"create database {name}")
    with psycopg.connect(server, dbname=name, autocommit=True) as connection:
        prepare(connection)
        yield connection


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = load_catalog("t", type="sql", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}/w")
    yield opened
    opened.close()


def order(number: int, **changed: Any) -> dict[str, Any]:
    """An order as it has landed; four months, an order a day."""
    moment = datetime(2015, 1 + number // 28, 1 + number % 28, 6, tzinfo=UTC)
    return {
        "order_id": f"{number}-1",
        "customer_id": str(number),
        "created_at": moment,
        "day": moment.date(),
        "amount": 1000 + number,
        "currency": "USD",
        "email_token": "tok_\t\\N\n",  # what copy must not take for its own signs
        "ip_token": None,
        "financial_status": "AUTHORIZED",
        "updated_at": moment,
    } | changed


def put(catalog: Catalog, rows: list[dict[str, Any]]) -> None:
    table = tables.ensure(catalog, table_of(load_all(FLOWS)[ORDERS]))
    merge(table, pa.Table.from_pylist(rows, schema=table.schema().as_arrow()), "order_id", {})


def bring(warehouse: psycopg.Connection[Any], catalog: Catalog) -> Loaded | None:
    """Load the orders, as the task does."""
    table = catalog.load_table(ORDERS)
    shape = Shape.of(ORDERS, table.schema(), ("order_id",))
    before = loaded(warehouse, ORDERS)
    change = between(table, before, shape.key)
    return None if change is None else load(warehouse, shape, change, before, "run")


def held(warehouse: psycopg.Connection[Any], columns: str = "*") -> list[Any]:
    return warehouse.execute(f"select {columns} from {ORDERS} order by order_id").fetchall()  # noqa: S608


def as_lake(catalog: Catalog) -> list[Any]:
    found = catalog.load_table(ORDERS).scan().to_arrow().to_pylist()
    return sorted(tuple(row.values()) for row in found)


def test_rows_arrive_as_they_are_and_loading_twice_changes_nothing(
    warehouse: psycopg.Connection[Any], catalog: Catalog
) -> None:
    put(catalog, [order(number) for number in range(100)])
    snapshot = catalog.load_table(ORDERS).current_snapshot()
    assert snapshot is not None
    assert bring(warehouse, catalog) == Loaded(ORDERS, snapshot.snapshot_id, 0, 100, 100)
    assert sorted(held(warehouse)) == as_lake(catalog)
    assert bring(warehouse, catalog) is None
    noted = warehouse.execute("select table_name, snapshot_id, rows_total, run_id from countersign.loads").fetchall()
    assert noted == [(ORDERS, snapshot.snapshot_id, 100, "run")]


def test_only_files_that_differ_are_read(warehouse: psycopg.Connection[Any], catalog: Catalog) -> None:
    """Of four months one changes: what the others hold is neither deleted nor written."""
    put(catalog, [order(number) for number in range(100)])
    bring(warehouse, catalog)
    put(catalog, [order(30, amount=7), order(31, amount=8)])
    done = bring(warehouse, catalog)
    assert done is not None
    assert (done.deleted, done.inserted, done.total) == (28, 28, 100)
    put(catalog, [order(111)])
    done = bring(warehouse, catalog)
    assert done is not None
    assert (done.deleted, done.inserted, done.total) == (0, 1, 101)
    assert sorted(held(warehouse)) == as_lake(catalog)


def test_rows_that_left_the_lake_leave_the_warehouse(warehouse: psycopg.Connection[Any], catalog: Catalog) -> None:
    put(catalog, [order(number) for number in range(60)])
    bring(warehouse, catalog)
    catalog.load_table(ORDERS).delete("day >= '2015-02-10'")
    assert bring(warehouse, catalog) is not None
    assert sorted(held(warehouse)) == as_lake(catalog)
    assert len(held(warehouse)) == 37


def test_snapshot_that_was_expired_means_a_whole_load(warehouse: psycopg.Connection[Any], catalog: Catalog) -> None:
    put(catalog, [order(number) for number in range(60)])
    bring(warehouse, catalog)
    warehouse.execute("update countersign.loads set snapshot_id = 1")
    done = bring(warehouse, catalog)
    assert done is not None
    assert (done.deleted, done.inserted, done.total) == (60, 60, 60)


def test_load_that_dies_leaves_nothing_half(warehouse: psycopg.Connection[Any], catalog: Catalog, server: str) -> None:
    """The connection is cut after rows were deleted and inserted, before the commit."""
    put(catalog, [order(number) for number in range(60)])
    bring(warehouse, catalog)
    before = sorted(held(warehouse))
    put(catalog, [order(5, amount=1)])
    warehouse.execute(
        "create function cut() returns trigger language plpgsql as "
        "$$ begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$"
    )
    warehouse.execute("create trigger cut before insert on countersign.loads for each row execute function cut()")
    name = warehouse.info.dbname
    with psycopg.connect(server, dbname=name, autocommit=True) as doomed, pytest.raises(psycopg.OperationalError):
        bring(doomed, catalog)
    assert sorted(held(warehouse)) == before
    warehouse.execute("drop trigger cut on countersign.loads")
    assert bring(warehouse, catalog) is not None
    assert sorted(held(warehouse)) == as_lake(catalog)


def test_load_that_comes_second_does_nothing(warehouse: psycopg.Connection[Any], catalog: Catalog) -> None:
    put(catalog, [order(number) for number in range(30)])
    table = catalog.load_table(ORDERS)
    shape = Shape.of(ORDERS, table.schema(), ("order_id",))
    change = between(table, None, shape.key)
    assert change is not None
    assert bring(warehouse, catalog) is not None
    assert load(warehouse, shape, change, None, "slower") is None
    assert len(held(warehouse)) == 30


def test_columns_that_differ(warehouse: psycopg.Connection[Any], catalog: Catalog) -> None:
    put(catalog, [order(1)])
    bring(warehouse, catalog)
    with catalog.load_table(ORDERS).update_schema() as update:
        update.add_column("note", tables.TEXT)
    put_one = catalog.load_table(ORDERS)
    put_one.append(pa.Table.from_pylist([order(2) | {"note": "new"}], schema=put_one.schema().as_arrow()))
    bring(warehouse, catalog)
    assert held(warehouse, "order_id, note") == [("1-1", None), ("2-1", "new")]
    warehouse.execute(f"alter table {ORDERS} add column strange text")
    put_one.append(pa.Table.from_pylist([order(3) | {"note": None}], schema=put_one.schema().as_arrow()))
    with pytest.raises(CannotLoad, match="has the column strange and the lake has not"):
        bring(warehouse, catalog)
    with pytest.raises(CannotLoad, match="share is of type double"):
        Shape.of("a.b", Schema(NestedField(1, "share", DoubleType())), ("share",))


def test_what_is_chosen_is_masked_sources_findings_and_verdicts_by_day(
    warehouse: psycopg.Connection[Any], catalog: Catalog
) -> None:
    put(catalog, [order(1)])
    tables.ensure(catalog, tables.FINDINGS)
    found = {shape.name: shape.key for _, shape in choose.copied(catalog, FLOWS)}
    assert found == {ORDERS: ("order_id",), "reconciliation.findings": ("kind", "order_id")}
    assert choose.verdict_summary(catalog, None) is None
    archive = tables.ensure(catalog, tables.records(FRAUD_VERDICTS))
    at = datetime(2015, 1, 1, tzinfo=UTC)
    about = {"partition": 0, "timestamp": at, "key": None, "time": at, "day": date(2015, 1, 1), "value": "{}"}
    said = [
        ("NoFraudDetected", "1-1"),
        ("NoFraudDetected", "1-1"),
        ("NoFraudDetected", "2-1"),
        ("PossibleFraud", "3-1"),
    ]
    rows = [
        about | {"offset": place, "type": kind, "event_id": f"verdict/{of}", "subject": of}
        for place, (kind, of) in enumerate(said)
    ]
    archive.append(pa.Table.from_pylist(rows, schema=archive.schema().as_arrow()))
    change = choose.verdict_summary(catalog, None)
    assert change is not None
    load(warehouse, choose.SUMMARY, change, None, "run")
    assert warehouse.execute("select * from fraud.verdict_summary order by verdict").fetchall() == [
        (date(2015, 1, 1), "NoFraudDetected", 2),
        (date(2015, 1, 1), "PossibleFraud", 1),
    ]
    assert choose.verdict_summary(catalog, change.snapshot_id) is None
