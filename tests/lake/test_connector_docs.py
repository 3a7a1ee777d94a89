"""docs/connectors.md does what it says: its flow lands accounts, its connector lands shipments and stops one."""

import json
import re
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from jsonschema import Draft202012Validator
from pyiceberg.catalog import Catalog, load_catalog

from lake.landing.connector import named
from lake.landing.flows import load
from lake.landing.http import BadCredentials, Endpoint
from lake.landing.sources import land_flow
from lake.masking import Masker
from tests.lake.conftest import ROOT
from tests.lake.test_landing_sources import DAY, KEY, START, Sandbox

PAGE = (ROOT / "docs" / "connectors.md").read_text()
BLOCKS = {
    block.partition("\n")[0].removeprefix("# "): block
    for block in re.findall(r"^```(?:yaml|python)\n(# .*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
}


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The files of the page, in a project of their own."""
    for name, text in BLOCKS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path / "plugins"))
    yield tmp_path
    for module in [name for name in sys.modules if name.partition(".")[0] == "carriers"]:
        del sys.modules[module]


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = load_catalog("t", type="sql", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}/w")
    yield opened
    opened.close()


def rows(catalog: Catalog, table: str) -> dict[str, dict[str, Any]]:
    found = catalog.load_table(table).scan().to_arrow().to_pylist()
    by_id = {row[next(iter(row))]: row for row in found}
    assert len(by_id) == len(found)
    return by_id


def test_the_page_has_its_files_and_the_schema_takes_them() -> None:
    assert BLOCKS.keys() == {
        "dags/flows/crm_accounts.yaml",
        "dags/flows/courier_shipments.yaml",
        "plugins/carriers/parcels.py",
    }
    schema = Draft202012Validator(json.loads((ROOT / "docs" / "flow.schema.json").read_text()))
    for name, text in BLOCKS.items():
        if name.endswith(".yaml"):
            assert list(schema.iter_errors(yaml.safe_load(text))) == []


def test_one_file_lands_one_more_object(written: Path, catalog: Catalog, stack: dict[str, str]) -> None:
    sandbox = Sandbox(stack["COUNTERSIGN_SANDBOX"], stack)
    account = {"customer_id": "0", "created": START, "updated": START, "name": "Planted Household"}
    sandbox.put(accounts=[account | {"customer_id": str(n), "updated": START + n} for n in range(300)])
    flow = load(written / "dags/flows/crm_accounts.yaml")
    landed = land_flow(catalog, flow, sandbox.endpoint("crm"), Masker(KEY), "run")
    assert (landed.rows, landed.filtered, landed.quarantined) == (299, 1, 0)
    found = rows(catalog, "crm.accounts")
    assert {row["customer_id"] for row in found.values()} == {str(n) for n in range(1, 300)}
    assert {row["household_token"] for row in found.values()} == {Masker(KEY)("Planted Household")}
    sandbox.put(accounts=[account | {"customer_id": "7", "updated": START + DAY}])
    assert land_flow(catalog, flow, sandbox.endpoint("crm"), Masker(KEY), "run").rows == 1
    assert len(rows(catalog, "crm.accounts")) == 299


class Carrier:
    """A carrier that speaks as the page says: pages by number, newest change first; every third request fails.

    While somebody reads, before the second page, shipments of every page change.
    """

    def __init__(self) -> None:
        self.shipments: dict[str, dict[str, Any]] = {}
        self.asked = 0
        self.changing: tuple[int, ...] = ()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say(*outer.get(self.path, self.headers.get("X-Api-Key")))

            def do_PATCH(self) -> None:
                fields = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.shipments[urlsplit(self.path).path.rpartition("/")[2]] |= fields
                self._say(204, None)

            def _say(self, status: int, body: Any) -> None:
                content = b"" if body is None else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Not on the test's output."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def put(self, number: int, **changed: Any) -> None:
        at = (datetime(2015, 1, 1, tzinfo=UTC) + timedelta(hours=number)).isoformat()
        self.shipments[f"P{number}"] = {
            "number": f"P{number}",
            "reference": f"{number}-1",
            "email": f"c{number}@example.test",
            "state": "MOVING",
            "created": at,
            "changed": at,
        } | changed

    def get(self, path: str, key: str | None) -> tuple[int, Any]:
        self.asked += 1
        if key != "good":
            return 401, None
        if self.asked % 3 == 0:
            return 503, None
        parts = urlsplit(path)
        if parts.path == "/v2/schema":
            return 200, {"shipments": {"number": "string", "changed": "timestamp", "weight": "decimal"}}
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        size, page = int(query["size"]), int(query["page"])
        if page == 2 and self.changing:
            for number in self.changing:
                self.put(number, changed="2015-03-01T00:00:00+00:00")
            self.changing = ()
        assert query["order"] == "-changed"
        rows = sorted(self.shipments.values(), key=lambda one: one["changed"], reverse=True)
        rows = [one for one in rows if one["changed"] >= query.get("changed_from", "")]
        return 200, {"items": rows[(page - 1) * size : page * size], "pages": max(1, -(-len(rows) // size))}


@pytest.fixture
def carrier() -> Iterator[Carrier]:
    running = Carrier()
    yield running
    running.server.shutdown()
    running.server.server_close()


def test_one_class_speaks_one_more_api(written: Path, catalog: Catalog, carrier: Carrier) -> None:
    for number in range(250):
        carrier.put(number)
    carrier.put(250, state="LOST")
    carrier.changing = (20, 248)
    flow = load(written / "dags/flows/courier_shipments.yaml")
    endpoint = Endpoint("courier", carrier.url, "good")

    landed = land_flow(catalog, flow, endpoint, Masker(KEY), "run")
    assert (landed.rows, landed.quarantined) == (249, 1), "all but the one that moved to a page that was read already"
    assert rows(catalog, "courier.shipments")["P30"] == {
        "shipment_id": "P30",
        "order_id": "30-1",
        "recipient_token": Masker(KEY)("c30@example.test"),
        "state": "moving",
        "created_at": datetime(2015, 1, 2, 6, tzinfo=UTC),
        "day": date(2015, 1, 2),
        "updated_at": datetime(2015, 1, 2, 6, tzinfo=UTC),
    }
    (aside,) = catalog.load_table("quarantine.shipments").scan().to_arrow().to_pylist()
    assert (aside["row_id"], aside["reason"], aside["origin"]) == (
        "P250",
        "the carrier knows no such state",
        "courier:shipments",
    )
    assert "example.test" not in aside["row"]

    with named(flow.connector)(endpoint, flow.endpoint) as parcels:
        parcels.check_credentials()
        assert [entity.name for entity in parcels.describe_entities()] == ["shipments"]
        fields = {field.path: field.type for field in parcels.describe_fields("shipments")}
        assert fields == {"number": "text", "changed": "time", "weight": ""}
        stop = {"number": "P30", "state": "STOPPED", "changed": "2015-02-01T00:00:00+00:00"}
        assert parcels.write_records("shipments", "number", [stop]) == 1
    assert land_flow(catalog, flow, endpoint, Masker(KEY), "run").rows == 3, "the one stopped and the two that changed"
    found = rows(catalog, "courier.shipments")
    assert (len(found), found["P30"]["state"]) == (250, "stopped")
    assert found["P248"]["updated_at"] == datetime(2015, 3, 1, tzinfo=UTC)

    with named(flow.connector)(Endpoint("courier", carrier.url, "bad"), "/v2") as bad, pytest.raises(BadCredentials):
        bad.check_credentials()
