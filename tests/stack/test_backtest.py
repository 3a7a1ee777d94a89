"""Back-testing the scorecard that judges gives the live verdicts hash for hash; on the public orders, streamed."""

import subprocess
import sys
from pathlib import Path

import pytest

from producers.orders_csv import read
from stack import Ports, Stack
from stack.demo.airflow import Airflow
from stack.demo.tally import follow
from stack.site import ROOT

ORDERS = ROOT.parent / "shared" / "data" / "orders.csv"


@pytest.mark.e2e
@pytest.mark.timeout(900)
@pytest.mark.skipif(not ORDERS.exists(), reason=f"the public orders are not at {ORDERS.name} under ../shared/data")
def test_public_orders_come_out_again_hash_for_hash(tmp_path: Path) -> None:
    with Stack(tmp_path / "stack", ports=Ports.free(), fresh=True) as stack:
        env = stack.env
        subprocess.run(
            [sys.executable, "-m", "producers.shop", "--orders", str(ORDERS)],
            env=stack.environ,
            check=True,
            timeout=300,
        )
        sent = {sale.order_id for sale in read(ORDERS).sales}
        tally = follow(env["COUNTERSIGN_KAFKA"], sent, stack.check, lambda judged: None)
        assert tally.verdicts.keys() == sent
        with Airflow(
            env["COUNTERSIGN_AIRFLOW"],
            env["COUNTERSIGN_AIRFLOW_USER"],
            env["COUNTERSIGN_AIRFLOW_PASSWORD"],
            stack.check,
        ) as airflow:
            assert airflow.wait("land_events", airflow.trigger("land_events")) == "success"
            run_id = airflow.trigger("backtest_scorecard")
            assert airflow.wait("backtest_scorecard", run_id) == "success"
            found = airflow.returned("backtest_scorecard", run_id, "publish_report")
    assert found["orders"] == len(sent)
    assert found["outcome_changes"] == found["refolded_differs"] == found["candidate_differs"] == 0
    assert found["live_sha256"] == found["refolded_sha256"] == found["candidate_sha256"]
