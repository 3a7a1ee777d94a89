"""``backtest_scorecard`` by Airflow itself, on what ``land_events`` took from a real broker into a real store."""

import csv
import io
import json
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer

from lake.masking import Masker
from lake.report.names import BACKTEST
from lake.report.store import CSV, HTML, JSON, ReportStore
from lake.settings import from_environment
from order_fraud.policy import encode
from order_fraud.scorecard import ListEntry
from order_fraud.topics import CUSTOMER_EVENTS, FRAUD_POLICIES
from tests.lake.reconcile_world import START, World, full_traffic
from tests.lake.test_backtest import BIG
from tests.lake.test_landing_dags import Airflow
from tests.lake.test_report import check

IP = "10.0.0.1"
LISTED = msgspec.structs.replace(
    BIG,
    version="listed",
    lists=(*BIG.lists, ListEntry(code="bad-ip", effect="block", entity="ip", value=IP, reason="known", owner="ann")),
)
FORM = {
    "from_day": START.date().isoformat(),
    "to_day": None,
    "candidate_version": None,
    "candidate_document": None,
    "mature_days": 0,
}
"""Every field, because runs of one process by ``DAG.test`` keep what an earlier form has set."""


@pytest.fixture(scope="module")
def airflow(stack: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    return Airflow(stack, tmp_path_factory.mktemp("airflow"))


def play(world: World, bootstrap: str) -> None:
    """Put a world's records on the broker: the same partitions, the same order, raw ips.

    Stamped now: retention goes by the stamp, and would take records of long ago away while the test runs.
    """
    producer = Producer({"bootstrap.servers": bootstrap})
    for topic, rows in world.topics.items():
        for row in sorted(rows, key=lambda row: (row["partition"], row["offset"])):
            producer.produce(topic, row["value"], row["key"], partition=row["partition"])
    assert producer.flush(60) == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_active_version_is_reproduced_and_a_candidate_is_judged(
    airflow: Airflow, stack: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World().stream(full_traffic(customers=30))
    world.publish(LISTED)
    play(world, stack["COUNTERSIGN_KAFKA"])
    (landed,), _ = airflow.run("land_events")
    assert landed["state"] == "success"
    assert landed["tasks"]["fraud_labels"]["returned"]["rows"] == 38
    (itself, tried, pasted, unknown), log = airflow.run(
        "backtest_scorecard",
        FORM,
        {**FORM, "candidate_version": "listed"},
        {**FORM, "candidate_document": encode(LISTED).decode()},
        {**FORM, "candidate_version": "ghost"},
    )
    states = [run["state"] for run in (itself, tried, pasted, unknown)]
    assert states == ["success", "success", "success", "failed"], log[-8000:]
    assert unknown["tasks"]["judge_again"]["try"] == 1, "trying again cannot mend the form"
    assert "candidate_version 'ghost' was never published, or has not landed yet (there are 1, listed)" in log

    same: dict[str, Any] = itself["tasks"]["publish_report"]["returned"]
    assert (same["candidate"], same["active"], same["orders"], same["outcome_changes"]) == ("1", "1", 120, 0)
    assert same["live_sha256"] == same["refolded_sha256"] == same["candidate_sha256"]
    assert (same["refolded_differs"], same["candidate_differs"]) == (0, 0)

    found = tried["tasks"]["publish_report"]["returned"]
    assert (found["candidate"], found["orders"], found["refolded_differs"]) == ("listed", 120, 0)
    assert found["live_sha256"] == same["live_sha256"] == found["refolded_sha256"] != found["candidate_sha256"]
    other = pasted["tasks"]["publish_report"]["returned"]
    assert other["candidate_sha256"] == found["candidate_sha256"], "pasted or published, masked either way"

    for name, value in (stack | {"COUNTERSIGN_CATALOG": airflow.env["COUNTERSIGN_CATALOG"]}).items():
        monkeypatch.setenv(name, value)
    store = ReportStore(from_environment(), BACKTEST)
    run = found["report_html"].split("/")[-2]
    assert run in {one.run for one in store.runs()}
    page = store.get(run, HTML).decode()
    assert "120 live verdicts came out again, byte for byte" in check(page)
    assert IP not in page
    assert Masker(stack["AIRFLOW_VAR_MASKING_KEY"])(IP) in page
    document = json.loads(store.get(run, JSON))
    listed = list(csv.DictReader(io.StringIO(store.get(run, CSV).decode())))
    assert len(listed) == len(document["changes"]) == found["outcome_changes"] > 20
    (by_ip,) = (piece for piece in document["pieces"] if piece["code"] == "list.bad-ip")
    on_ip = [row for row in world.topics[CUSTOMER_EVENTS.name] if row["type"] == "NewOrder" and IP in row["value"]]
    assert by_ip["candidate"]["orders"] == len(on_ip) > 0, "masked orders meet masked lists"
    assert document["snapshots"].keys() >= {"kafka.fraud_verdicts", "kafka.fraud_policies"}
    assert FRAUD_POLICIES.name in world.topics
