"""The whole relay: all orders wait in Kafka, then the workers start; time runs from the first verdict to the last."""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from order_fraud.events import NewCustomer, NewOrder
from order_fraud.topics import CUSTOMER_EVENTS, FRAUD_VERDICTS
from producers.outbox import Outbox
from stack import Ports, Stack
from stack.site import ROOT

QUIET_S = 60.0


@dataclass(frozen=True)
class Decided:
    """One round."""

    orders_per_second: float
    peak_mb: int


def decide_all(sent: Sequence[tuple[str, NewCustomer | NewOrder]], orders: int, workers: int, folder: Path) -> Decided:
    """Fill a fresh broker, let the workers decide everything, and read the verdicts read_committed.

    The clock starts when the first worker is ready to poll, not when it is started, and stops at the last verdict's
    own broker time stamp. Sign-ups, which need the same hops but get no verdict, are work that is not counted.

    Raises:
        RuntimeError: verdicts are missing or repeated, or a worker ended.
    """
    with Stack(folder, ports=Ports.free(), parts=("kafka", "topics")) as stack:
        outbox = Outbox(CUSTOMER_EVENTS, stack.env["COUNTERSIGN_KAFKA"], "bench")
        for customer_id, event in sent:
            outbox.send(customer_id, event)
        outbox.close()
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "streams", "worker", "--index", str(index)],
                cwd=ROOT,
                env={**stack.environ, "COUNTERSIGN_READY_FILE": str(folder / f"ready-{index}")},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for index in range(1, workers + 1)
        ]
        try:
            return _watch(stack.env["COUNTERSIGN_KAFKA"], orders, running, folder)
        finally:
            for worker in running:
                worker.kill()
                worker.wait()


def _watch(bootstrap: str, orders: int, running: Sequence["subprocess.Popen[bytes]"], folder: Path) -> Decided:
    peak = _Peak(running)
    started = _first_ready(running, folder)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench", "isolation.level": "read_committed"})
    places = [TopicPartition(FRAUD_VERDICTS.name, n, OFFSET_BEGINNING) for n in range(FRAUD_VERDICTS.partitions)]
    consumer.assign(places)
    seen, ended, last = 0, 0.0, time.monotonic()
    while seen < orders and time.monotonic() - last < QUIET_S:
        for message in consumer.consume(10_000, 0.5):
            if (error := message.error()) is not None:
                raise KafkaException(error)
            seen += 1
            ended = max(ended, message.timestamp()[1] / 1000)
            last = time.monotonic()
    consumer.close()
    if seen != orders:
        raise RuntimeError(f"{orders} orders were sent, {seen} verdicts are there: this round is void")
    return Decided(orders / (ended - started), peak.stop())


def _first_ready(running: Sequence["subprocess.Popen[bytes]"], folder: Path) -> float:
    """Wait for the first worker, and return when its ready file was written."""
    while True:
        ready = [path.stat().st_mtime for path in folder.glob("ready-*")]
        if ready:
            return min(ready)
        if any(worker.poll() is not None for worker in running):
            raise RuntimeError("a worker ended before it was ready: run python -m streams worker by hand to see why")
        time.sleep(0.01)


class _Peak(threading.Thread):
    """Samples the resident memory of processes, added up."""

    def __init__(self, running: Sequence["subprocess.Popen[bytes]"]) -> None:
        super().__init__(daemon=True)
        self._processes = [psutil.Process(worker.pid) for worker in running]
        self._done = threading.Event()
        self._bytes = 0
        self.start()

    def run(self) -> None:
        while not self._done.wait(0.2):
            self._bytes = max(self._bytes, sum(process.memory_info().rss for process in self._processes))

    def stop(self) -> int:
        self._done.set()
        self.join()
        return round(self._bytes / 1e6)
