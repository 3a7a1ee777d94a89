"""The whole way once, through the real stack, by the command that people type."""

import csv
import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from order_fraud.events import FindingKind
from producers import generate
from sandbox import faults, faults_in_time
from stack import Ports
from stack.demo.result import ROWS_REJECTED, Comparison, Result, compare, complaints
from stack.site import ROOT

ORDERS = 400
SEED = 11
LATER = (
    *(faults.FORGED_RELEASE, faults.HELD_OVERDUE, faults.CHARGED_REJECTED, faults.FRAUD_MISSED),
    *(faults.REFUND_MISSING, faults.CUSTOMER_DIFFERS),
    *(faults.VERDICT_MISSING, faults.VERDICT_REPEATED, faults.VERDICT_FORGED, faults.RELEASED_TWICE),
)
IN_TIME = (faults_in_time.CUSTOMER_UNKNOWN, faults_in_time.WOULD_CHANGE, faults_in_time.POLICY_SKEW)


def write_orders_without_ip(path: Path) -> None:
    """A set of the public format whose ip column is empty throughout, with one row that is not usable."""
    assert generate.main([str(ORDERS), "--seed", str(SEED), "--write-csv", str(path)]) == 0
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["ip_address"] = ""
    rows.insert(100, {**rows[0], "purchase_value": "a lot"})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def customers(orders: Path) -> set[str]:
    with orders.open(newline="") as file:
        return {row["user_id"] for row in csv.DictReader(file)}


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_demo_on_unseen_orders_without_ip_finds_exactly_what_was_planted(tmp_path: Path) -> None:
    orders = tmp_path / "orders.csv"
    write_orders_without_ip(orders)
    run_dir = tmp_path / "stack"
    ports = {f"COUNTERSIGN_PORT_{name.upper()}": str(port) for name, port, _ in Ports.free().items()}
    command = [sys.executable, "-m", "stack.demo", "--orders", str(orders), "--faults", "1", "--keep", "0"]
    ended = subprocess.run(
        [*command, "--seed", str(SEED), "--run-dir", str(run_dir)],
        cwd=ROOT,
        env={**os.environ, **ports, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ended.returncode == ROWS_REJECTED, ended.stdout[-6000:]

    result = json.loads((run_dir / "demo.json").read_text())
    planted = json.loads((run_dir / "planted.json").read_text())
    assert set(result) == {field.name for field in fields(Result)}
    assert result["rejected_rows"] == 1
    assert result["orders"] == ORDERS - len(planted[faults.NOT_STREAMED])
    more = len(planted[faults.VERDICT_REPEATED]) + len(planted[faults.VERDICT_FORGED])
    assert sum(result["verdicts"].values()) == result["orders"] - len(planted[faults.VERDICT_MISSING]) + more
    assert result["orders_without_verdict"] == 0
    assert result["orders_with_several_verdicts"] == len(planted[faults.VERDICT_REPEATED])
    assert result["dag_runs"] == dict.fromkeys(("land_events", "land_sources", "reconcile_orders"), "success")
    assert result["findings"] == {kind: len(ids) for kind, ids in planted.items() if ids}
    assert planted.keys() == {*faults.KINDS, *LATER, *IN_TIME} == set(get_args(FindingKind))
    assert all(planted.values())
    assert result["released_without_clearance"] == len(planted[faults.FORGED_RELEASE])
    assert result["corrections_first_run"] > 0
    assert result["corrections_second_run"] == result["new_findings_second_run"] == 0
    assert result["not_reproducible"] == len(planted[faults.VERDICT_FORGED])
    wrong, found = result["not_reproducible"], sum(result["findings"].values())
    words = f"{wrong} verdicts not reproducible; {found} findings "
    assert re.fullmatch(rf"Reconciled [\d,]+ orders: {words}\(.*; {found} new ones sent, .*", result["notes"]["first"])
    assert "0 new ones sent, 0 corrections" in result["notes"]["second"]
    assert result["customers"] == len(customers(orders)) - len(planted[faults_in_time.CUSTOMER_UNKNOWN])
    assert set(result["seconds"]) == {"setup", "stream", "plant", "land", "reconcile"}
    report = (run_dir / "report.html").read_text()
    assert "<html" in report.lower()
    assert "a carrier has got the parcel" in report


def test_comparison_is_order_by_order() -> None:
    found = [{"kind": "a", "order_id": "1"}, {"kind": "a", "order_id": "1"}, {"kind": "b", "order_id": "2"}]
    assert compare({"a": ["1", "3"], "c": []}, found) == [
        Comparison("a", 2, 2, ("3",), ("1",)),
        Comparison("b", 0, 1, (), ("2",)),
        Comparison("c", 0, 0, (), ()),
    ]


def test_everything_that_is_not_well_is_complained_of() -> None:
    assert complaints(Result(dag_runs={"d": "success"}), [Comparison("a", 1, 1, (), ())], {}) == []
    bad = Result(
        orders_without_verdict=1,
        orders_with_several_verdicts=2,
        not_reproducible=3,
        corrections_second_run=4,
        new_findings_second_run=6,
        released_without_clearance=5,
        dag_runs={"d": "failed"},
    )
    lines = complaints(bad, [Comparison("a", 1, 1, ("x",), ("y",))], {})
    assert len(lines) == 9
