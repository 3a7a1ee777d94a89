"""Real workers: what they tell under load, and that /health says 503 when the loop hangs or the broker is gone."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from order_fraud import events
from producers import book, patterns
from stack import Ports, Stack
from stack.site import ROOT
from tests.streams.witness import send, wait_for

LIMIT_S = 4
ORDERS = 3_000
NAMED = re.compile(r"customer\.events/\d: offset 0 has been the oldest unprocessed one for (\d+) s")

WITH_AN_AGENT_THAT_HANGS = """
import sys, time
from order_fraud.topics import CUSTOMER_EVENTS
from streams import fraud
from streams.__main__ import main
from streams.batch import batches

register = fraud.register

def register_also_one_that_hangs(app):
    register(app)

    @app.batch_agent(CUSTOMER_EVENTS, "hanging")
    async def hang(stream):
        async for batch in batches(stream):
            time.sleep(600)  # the whole event loop

fraud.register = register_also_one_that_hangs
sys.exit(main(["worker"]))
"""


class Watched:
    """A worker that serves its health."""

    def __init__(self, stack: Stack, folder: Path, name: str, *command: str) -> None:
        self.port = Ports.free().workers
        self.log = folder / f"{name}.log"
        environ = {
            **stack.environ,
            "COUNTERSIGN_GROUP": name,
            "COUNTERSIGN_METRICS_PORT": str(self.port),
            "COUNTERSIGN_STALLED_S": str(LIMIT_S),
        }
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *(command or ("-m", "streams", "worker"))],
                cwd=ROOT,
                env=environ,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def get(self, page: str) -> httpx.Response:
        assert self.process.poll() is None, self.log.read_text(errors="replace")[-3000:]
        return httpx.get(f"http://127.0.0.1:{self.port}{page}", timeout=5, trust_env=False)

    def wait_until(self, page: str, status: int, seconds: float) -> dict[str, object]:
        """Wait for an answer with this status, and return what it said."""
        until = time.monotonic() + seconds
        while True:
            with contextlib.suppress(httpx.ConnectError):
                answer = self.get(page)
                if answer.status_code == status:
                    return dict(answer.json())
            assert time.monotonic() < until, f"{page} is not {status}: {self.log.read_text(errors='replace')[-3000:]}"
            time.sleep(0.1)

    def metric(self, line: str) -> float:
        """Return the value of a sample by its name and labels as they are written."""
        lines = self.get("/metrics").text.splitlines()
        return sum(float(each.rpartition(" ")[2]) for each in lines if each.rpartition(" ")[0] == line)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A broker that may be killed."""
    with Stack(tmp_path_factory.mktemp("stack"), ports=Ports.free(), parts=("kafka", "topics")) as running:
        yield running


@contextlib.contextmanager
def watched(stack: Stack, folder: Path, name: str, *command: str) -> Iterator[Watched]:
    worker = Watched(stack, folder, name, *command)
    try:
        yield worker
    finally:
        worker.process.kill()
        worker.process.wait()


def test_metrics_of_a_worker_are_those_of_its_orders(own: Stack, tmp_path: Path) -> None:
    orders = patterns.generate(ORDERS, seed=11)
    records = [(customer_id.encode(), events.encode(event)) for customer_id, event in book.events(orders)]
    with watched(own, tmp_path, "counted") as worker:
        worker.wait_until("/ready", 200, 60)
        bad = (b"nobody", b"no event")
        send(own.env["COUNTERSIGN_KAFKA"], [*records, bad])
        outcomes = ("NoFraudDetected", "PossibleFraud")
        decided = [f'countersign_orders_decided_total{{outcome="{kind}"}}' for kind in outcomes]
        wait_for(lambda: sum(map(worker.metric, decided)) >= len(orders.sales), 60)
        assert sum(map(worker.metric, decided)) == len(orders.sales)
        assert worker.metric(decided[1]) > 0
        assert worker.metric("countersign_decision_latency_seconds_count") == len(orders.sales)
        assert worker.metric('countersign_records_total{topic="customer.events"}') == len(records) + 1
        assert worker.metric('countersign_dead_letters_total{topic="customer.events"}') == 1
        assert worker.metric("countersign_ready") == 1
        wait_for(lambda: worker.metric('countersign_records_total{topic="fraud.verdicts"}') == len(orders.sales), 30)
        time.sleep(LIMIT_S + 2)  # the marks of transactions at the end of each log are nothing to be done
        told = worker.get("/health")
        assert told.status_code == 200, told.text
        assert told.json()["partitions_assigned"] == worker.metric("countersign_partitions_assigned") > 0
        worker.process.terminate()
        assert worker.process.wait(30) == 0, worker.log.read_text(errors="replace")[-3000:]


def test_an_agent_that_hangs_with_the_whole_loop_is_named_with_its_partition(own: Stack, tmp_path: Path) -> None:
    with watched(own, tmp_path, "hanging", "-c", WITH_AN_AGENT_THAT_HANGS) as worker:
        # It reads the orders of the test before, and hangs at the first of them.
        worker.wait_until("/ready", 200, 60)

        def named() -> bool:
            told = worker.wait_until("/health", 503, 60)
            assert told["status"] == "stalled"
            found = NAMED.search(json.dumps(told["reasons"]))
            return found is not None and int(found[1]) >= LIMIT_S

        wait_for(named, 60)  # that the loop is silent is found out a moment before the partition's own time is up


def test_a_broker_that_is_gone_is_no_health(own: Stack, tmp_path: Path) -> None:
    with watched(own, tmp_path, "bereft") as worker:
        worker.wait_until("/ready", 200, 60)
        time.sleep(2 * LIMIT_S)
        worker.wait_until("/health", 200, 60)
        os.kill(int((own.run_dir / "pids" / "kafka.pid").read_text()), signal.SIGKILL)

        def told() -> bool:
            return "the broker has told no end" in json.dumps(worker.wait_until("/health", 503, 3 * LIMIT_S)["reasons"])

        wait_for(told, 60)  # the loop, too, may be silent about it a moment before the probe's own time is up


def test_a_port_in_use_ends_the_worker_with_its_own_code(own: Stack, tmp_path: Path) -> None:
    with watched(own, tmp_path, "first") as first:
        wait_for(lambda: "metrics, health and ready on" in first.log.read_text(errors="replace"), 30)
        second = subprocess.run(
            [sys.executable, "-m", "streams", "worker"],
            cwd=ROOT,
            env={**own.environ, "COUNTERSIGN_METRICS_PORT": str(first.port)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert second.returncode == 5
    assert f"port {first.port} for metrics and health" in second.stderr
    assert "COUNTERSIGN_METRICS_PORT" in second.stderr
