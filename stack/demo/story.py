"""The demo, step by step, on a running stack."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import boto3
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from producers.book import Book
from producers.shop import NO_BROKER
from sandbox import faults, faults_in_time
from stack.demo.airflow import Airflow
from stack.demo.place import Place
from stack.demo.planting import LATE_SECONDS, Planting, shortfalls
from stack.demo.result import Comparison, Result, compare
from stack.demo.tally import QUIET_S, Tally, follow

LAND_EVENTS, LAND_SOURCES, RECONCILE = "land_events", "land_sources", "reconcile_orders"
LAST_TASK = "publish_report"


class DemoFailed(RuntimeError):
    """A step did not come about; the message says which and why."""


@dataclass
class Demo:
    """One run of the demo.

    Attributes:
        stack: up and ready.
        book: the orders.
        orders_from: the options that name them to the producer and the sandbox.
        seed: of the faults.
        plant: whether faults are planted.
        screen: where people look.
        quiet_s: for how long nothing may come from the streams before the demo stops waiting for them.
    """

    stack: Place
    book: Book
    orders_from: list[str]
    seed: int
    plant: bool
    screen: Console
    quiet_s: float = QUIET_S
    result: Result = field(default_factory=Result)
    comparisons: list[Comparison] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.planting = Planting(self.book, self.seed, self.stack.run_dir)

    @property
    def planted(self) -> dict[str, list[str]]:
        """What was planted: order ids by kind."""
        return self.planting.planted

    def tell(self) -> None:
        """Do it all; ``result`` and ``comparisons`` hold what came of it.

        Raises:
            DemoFailed: a producer, the feed or the lake refused.
            AirflowError: Airflow refused.
            PartDied: a part of the stack ended.
        """
        self._plan_faults()
        self._feed_sandbox()
        with self._timed("stream"):
            tally = self._stream()
        if self.plant:
            tally = self._plant(tally)
        self._count(tally)
        self._ship()
        env = self.stack.env
        with Airflow(
            env["COUNTERSIGN_AIRFLOW"],
            env["COUNTERSIGN_AIRFLOW_USER"],
            env["COUNTERSIGN_AIRFLOW_PASSWORD"],
            self.stack.check,
        ) as airflow:
            first = self._land_and_reconcile(airflow, "first")
            if first is not None:
                self._judge(first)
                self._second_run(airflow)

    # --- before -------------------------------------------------------------------------------------------------------

    def _plan_faults(self) -> None:
        if self.plant:
            self.planting.plan()
        self.planting.write()

    def _feed_sandbox(self) -> None:
        plan = ["--plan", str(self.planting.plan_file)] if self.plant else []
        url = self.stack.env["COUNTERSIGN_SANDBOX"]
        self._call("sandbox.feed", *self.orders_from, "--seed", str(self.seed), "--url", url, *plan)

    # --- the stream ---------------------------------------------------------------------------------------------------

    def _stream(self) -> Tally:
        summary = self.stack.run_dir / "shop.json"
        self._call(
            "producers.shop",
            *self.orders_from,
            "--seed",
            str(self.seed),
            *self.planting.to_shop,
            "--summary",
            str(summary),
            well=(0, 3),
        )
        sent = json.loads(summary.read_text())
        self.result.customers = sent["customers"]
        self.result.orders = sent["orders"]
        self.result.rejected_rows = sent["rejected_rows"]
        return self._follow()

    def _follow(self) -> Tally:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.screen) as progress:
            task = progress.add_task("orders with a verdict", total=len(self._sent))
            return follow(
                self.stack.env["COUNTERSIGN_KAFKA"],
                self._sent,
                self.stack.check,
                lambda judged: progress.update(task, completed=judged),
                self.quiet_s,
            )

    def _plant(self, tally: Tally) -> Tally:
        sandbox = self.stack.env["COUNTERSIGN_SANDBOX"]
        with self._timed("plant"):
            self.planting.after_verdicts(tally, self._call, self.orders_from, sandbox)
        for line in shortfalls(self.planted, self.planting.count):
            self.screen.print(line)
        self.result.customers += len(self.planted[faults_in_time.WOULD_CHANGE])
        return self._follow()

    def _ship(self) -> None:
        """Let the carriers have the parcels of what is released by now, and back those that are cancelled."""
        self._call("sandbox.parcels", "--url", self.stack.env["COUNTERSIGN_SANDBOX"])

    def _count(self, tally: Tally) -> None:
        result = self.result
        result.verdicts = {name: tally.outcomes[name] for name in ("NoFraudDetected", "PossibleFraud")}
        result.orders_without_verdict = len(self._sent - tally.verdicts.keys())
        result.orders_with_several_verdicts = sum(count > 1 for count in tally.verdicts.values())
        result.deliveries = {"released": len(tally.released), "held": len(tally.held)}
        result.released_without_clearance = tally.released_without_clearance
        for order_id in sorted(self._sent - tally.verdicts.keys())[:20]:
            self.screen.print(f"order {order_id} has no verdict: see dead-letters and .stack/logs/worker-*.log")

    # --- the batch half -----------------------------------------------------------------------------------------------

    def _land_and_reconcile(self, airflow: Airflow, which: str) -> dict[str, Any] | None:
        """Run the DAGs once; return what the reconciliation returned, None if a run failed."""
        with self._timed("land"), self.screen.status(f"{which} run: landing events and sources"):
            runs = {dag_id: airflow.trigger(dag_id) for dag_id in (LAND_EVENTS, LAND_SOURCES)}
            if not all([self._ended(airflow, dag_id, run_id) for dag_id, run_id in runs.items()]):
                return None
        with self._timed("reconcile"), self.screen.status(f"{which} run: reconciling"):
            run_id = airflow.trigger(RECONCILE, {"late_seconds": LATE_SECONDS} if self.plant else None)
            if not self._ended(airflow, RECONCILE, run_id):
                return None
            returned = airflow.returned(RECONCILE, run_id, LAST_TASK)
            self.result.notes[which] = airflow.note(RECONCILE, run_id)
        self.screen.print(f"{which} run: {self.result.notes[which]}")
        return dict(returned)

    def _ended(self, airflow: Airflow, dag_id: str, run_id: str) -> bool:
        state = airflow.wait(dag_id, run_id)
        self.pages[dag_id] = airflow.page(dag_id, run_id)
        if self.result.dag_runs.get(dag_id, "success") == "success":
            self.result.dag_runs[dag_id] = state
        if state != "success":
            self.screen.print(f"DAG {dag_id} failed: {self.pages[dag_id]}, logs under .stack/airflow/logs")
        return state == "success"

    def _judge(self, returned: Mapping[str, Any]) -> None:
        report = json.loads(self._read(returned["report_json"]))
        self.result.findings = dict(report["counts"])
        self.result.not_reproducible = int(returned["not_reproducible"])
        self.result.corrections_first_run = int(returned["corrections"])
        self.comparisons = compare(self.planted, report["findings"])
        page = self.stack.run_dir / "report.html"
        page.write_bytes(self._read(returned["report_html"]))
        self.pages["report"] = page.as_uri()

    def _second_run(self, airflow: Airflow) -> None:
        """The same days again, with all that the corrections have set off: nothing new may be emitted."""
        self._follow()
        self._ship()
        second = self._land_and_reconcile(airflow, "second")
        if second is not None:
            self.result.corrections_second_run = int(second["corrections"])
            self.result.new_findings_second_run = int(second["findings_emitted"])
            self.result.not_reproducible = max(self.result.not_reproducible, int(second["not_reproducible"]))

    # --- helpers ------------------------------------------------------------------------------------------------------

    @property
    def _sent(self) -> set[str]:
        """Orders that must get a verdict."""
        silent = (faults.NOT_STREAMED, faults.VERDICT_MISSING)
        without = {order_id for kind in silent for order_id in self.planted.get(kind, ())}
        return {sale.order_id for sale in self.book.sales} - without

    def _read(self, url: str) -> bytes:
        parts = urlsplit(url)
        client = boto3.client("s3", endpoint_url=self.stack.env["COUNTERSIGN_S3_ENDPOINT"], **self._s3_keys)
        body: bytes = client.get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))["Body"].read()
        return body

    @property
    def _s3_keys(self) -> dict[str, str]:
        env = self.stack.env
        return {
            "aws_access_key_id": env["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": env["AWS_SECRET_ACCESS_KEY"],
            "region_name": env["AWS_DEFAULT_REGION"],
        }

    def _call(self, module: str, *arguments: str, well: tuple[int, ...] = (0,)) -> None:
        """Run one of the project's own commands, as a person would.

        Raises:
            DemoFailed: it ended with another code than ``well``.
        """
        command, until = [sys.executable, "-m", module, *arguments], time.monotonic() + self.quiet_s
        ended = subprocess.run(command, env=self.stack.environ, check=False)
        # Nothing was sent then, and whoever runs the broker may be starting it again.
        while ended.returncode == NO_BROKER and time.monotonic() < until:
            self.stack.check()
            time.sleep(1)
            ended = subprocess.run(command, env=self.stack.environ, check=False)
        if ended.returncode not in well:
            raise DemoFailed(f"python -m {module} ended with code {ended.returncode}; its own message stands above")

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        seconds = self.result.seconds.get(name, 0.0) + time.monotonic() - started
        self.result.seconds[name] = round(seconds, 1)
