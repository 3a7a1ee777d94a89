"""The sandbox as a process: fed over HTTP with planted faults, then read to the end as a landing client would."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from producers import patterns
from sandbox import faults, feed
from stack import Ports, Stack

ORDERS, SEED = 3_000, 5
QUERY = """query($after: String) {
  orders(first: 250, after: $after, sortKey: UPDATED_AT, query: "updated_at:>='2015-01-01T00:00:00Z'") {
    nodes { sourceIdentifier } pageInfo { hasNextPage endCursor }
  }
}"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack"), ports=Ports.free(), parts=("sandbox",)) as stack:
        yield stack


def shop_orders(client: httpx.Client, token: str) -> Iterator[str]:
    after = None
    while True:
        body = {"query": QUERY, "variables": {"after": after}}
        answer = client.post("/admin/api/2026-07/graphql.json", json=body, headers={"X-Shopify-Access-Token": token})
        orders = answer.raise_for_status().json()["data"]["orders"]
        yield from (node["sourceIdentifier"] for node in orders["nodes"])
        if not orders["pageInfo"]["hasNextPage"]:
            return
        after = orders["pageInfo"]["endCursor"]


def charged_orders(client: httpx.Client, key: str) -> Iterator[str]:
    parameters: dict[str, str | int] = {"limit": 100}
    while True:
        answer = client.get("/v1/charges", params=parameters, headers={"Authorization": f"Bearer {key}"})
        page = answer.raise_for_status().json()
        yield from (charge["metadata"]["order_id"] for charge in page["data"])
        if not page["has_more"]:
            return
        parameters["starting_after"] = page["data"][-1]["id"]


def test_both_sources_hold_what_the_plan_says(
    running: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generated = ["--generate", str(ORDERS), "--seed", str(SEED)]
    planted = tmp_path / "planted.json"
    assert faults.main([*generated, "--out", str(planted)]) == 0
    monkeypatch.setenv("SANDBOX_ADMIN_TOKEN", running.env["SANDBOX_ADMIN_TOKEN"])
    url = running.env["COUNTERSIGN_SANDBOX"]
    assert feed.main([*generated, "--url", url, "--plan", str(planted)]) == 0
    assert "2,970 orders and 2,970 charges; 150 faults are planted" in capsys.readouterr().out
    plan = json.loads(planted.read_text())
    known = {sale.order_id for sale in patterns.generate(ORDERS, SEED).sales}
    with httpx.Client(base_url=url, timeout=30) as client:
        in_shop = list(shop_orders(client, running.env["SANDBOX_SHOP_TOKEN"]))
        charged = list(charged_orders(client, running.env["SANDBOX_PAYMENTS_KEY"]))
    assert len(in_shop) == len(set(in_shop)) == 2_970
    assert known - set(in_shop) == set(plan[faults.NOT_SOLD])
    assert len(charged) == len(set(charged)) == 2_970
    assert set(in_shop) - set(charged) == set(plan[faults.PAYMENT_MISSING])
    assert set(charged) - set(in_shop) == set(plan[faults.PAYMENT_ORPHAN])


def test_a_wrong_admin_token_feeds_nothing(
    running: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SANDBOX_ADMIN_TOKEN", "wrong")
    assert feed.main(["--generate", "5", "--url", running.env["COUNTERSIGN_SANDBOX"]]) == 4
    assert "refuses (401)" in capsys.readouterr().err


def test_without_secrets_the_sandbox_does_not_start() -> None:
    root = Path(__file__).resolve().parents[2]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SANDBOX_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(root), str(root / "plugins")])
    ended = subprocess.run(
        [sys.executable, "-m", "sandbox", "--port", "0"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    names = (
        "SANDBOX_SHOP_TOKEN, SANDBOX_PAYMENTS_KEY, SANDBOX_ADMIN_TOKEN, SANDBOX_CRM_SECRET, SANDBOX_NOTICES_SECRET, "
        "SANDBOX_CARRIER_KEY, SANDBOX_ERP_PASSWORD, SANDBOX_ANALYTICS_TOKEN"
    )
    assert f"{names} not set" in ended.stderr
