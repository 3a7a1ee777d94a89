"""The processes of one contender: started alike, watched alike, killed alike."""

import os
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from benchmarks.registry import Contender
from kafka_access import access, client
from order_fraud.relay import ROUTE
from stack.site import ROOT

READY_S = 180.0
SAMPLE_S = 0.1


class ContenderDied(RuntimeError):
    """A process ended that should not have; the message has the tail of its log."""


class Crew:
    """1 to n processes of a contender on one broker."""

    def __init__(
        self, contender: Contender, environ: Mapping[str, str], folder: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        """Plan; ``environ`` is the environment of the stack's clients, ``settings`` come on top."""
        self._contender = contender
        self.environ = {**environ, **contender.environ, **(settings or {}), "BENCH_FOLDER": str(folder)}
        self._folder = folder
        self._admin = AdminClient(client(access(environ)) | {"log_level": 0})
        self.running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, count: int) -> Self:
        """Start processes 1 to ``count`` and wait until the group has shared out all partitions among them.

        Raises:
            ContenderDied: one of them ended.
            TimeoutError: they did not get ready.
        """
        for index in range(1, count + 1):
            self.launch(index)
        until = time.monotonic() + READY_S
        while len(self.assignments()) != count:
            self.check()
            if time.monotonic() > until:
                raise TimeoutError(f"{self._contender.name}: not ready after {READY_S:.0f} s{self._tails()}")
            time.sleep(0.1)
        return self

    def launch(self, index: int) -> None:
        """Start one process and do not wait for it."""
        (self._folder / f"ready-{index}").unlink(missing_ok=True)
        own = {name: str(self._folder / text.format(index)) for name, text in self._contender.files.items()}
        with (self._folder / f"{self._contender.name}-{index}.log").open("wb") as output:
            self.running[index] = subprocess.Popen(
                [*self._contender.command, "--index", str(index)],
                cwd=ROOT,
                env={**self.environ, **own},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def assignments(self) -> dict[str, set[tuple[str, int]]]:
        """Ask the broker which partitions of the hop topics each member has, by its client id.

        Empty while the group is not settled or does not yet have all partitions.
        """
        try:
            # The newer describe_consumer_groups may never answer on a broker that is still making its group topic
            # (confluent-kafka 2.16), and then hangs the process when it ends.
            found = self._admin.list_groups(self._contender.group, timeout=5)
        except KafkaException:
            return {}
        if len(found) != 1 or str(found[0].state) != "Stable":
            return {}
        hops = {hop.reads.name: hop.reads.partitions for hop in ROUTE}
        members = {
            f"{member.client_id} {member.id}": {
                place for place in parse_assignment(member.assignment) if place[0] in hops
            }
            for member in found[0].members
        }
        return members if sum(map(len, members.values())) == sum(hops.values()) else {}

    def wait_for_files(self) -> None:
        """Wait for the file that each of our own workers writes once its histories are restored.

        Raises:
            ContenderDied: one of them ended.
            TimeoutError: it did not get ready.
        """
        until = time.monotonic() + READY_S
        while not all((self._folder / f"ready-{index}").exists() for index in self.running):
            self.check()
            if time.monotonic() > until:
                raise TimeoutError(f"{self._contender.name}: not ready after {READY_S:.0f} s{self._tails()}")
            time.sleep(0.01)

    def check(self) -> None:
        """Look whether all are alive.

        Raises:
            ContenderDied: one is not.
        """
        for index, process in self.running.items():
            if process.poll() is not None:
                raise ContenderDied(f"{self._contender.name}-{index} ended with {process.returncode}{self._tails()}")

    def cpu_seconds(self) -> float:
        """Return the processor time that the processes have used so far, all their threads added up."""
        times = [psutil.Process(process.pid).cpu_times() for process in self.running.values()]
        return sum(used.user + used.system for used in times)

    def kill(self, index: int) -> float:
        """kill -9 one of them; return the Unix time right before."""
        process = self.running.pop(index)
        now = time.time()
        process.send_signal(signal.SIGKILL)
        process.wait()
        return now

    def _tails(self) -> str:
        logs = sorted(self._folder.glob(f"{self._contender.name}-*.log"))
        return "".join(f"\n--- {log.name}\n" + log.read_text(errors="replace")[-2000:] for log in logs)

    def __enter__(self) -> Self:
        """Nothing is started yet: see :meth:`start`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave no process behind."""
        for index in list(self.running):
            self.kill(index)


def parse_assignment(packed: bytes) -> set[tuple[str, int]]:
    """Return the places of a member's assignment from the bytes of ConsumerProtocolAssignment."""
    places = set()
    (topics,) = struct.unpack_from(">i", packed, 2)  # after the version
    at = 6
    for _ in range(topics):
        (length,) = struct.unpack_from(">h", packed, at)
        topic = packed[at + 2 : at + 2 + length].decode()
        at += 2 + length
        (count,) = struct.unpack_from(">i", packed, at)
        places |= {(topic, partition) for partition in struct.unpack_from(f">{count}i", packed, at + 4)}
        at += 4 + 4 * count
    return places


class PeakMemory(threading.Thread):
    """Samples the resident memory of processes, added up."""

    def __init__(self, crew: Crew) -> None:
        """Start sampling."""
        super().__init__(daemon=True)
        self._processes = [psutil.Process(process.pid) for process in crew.running.values()]
        self._done = threading.Event()
        self._bytes = 0
        self.start()

    def run(self) -> None:
        """Sample until :meth:`stop`."""
        while not self._done.wait(SAMPLE_S):
            self._bytes = max(self._bytes, resident(self._processes))

    def stop(self) -> float:
        """Return the peak in MB (10^6 bytes)."""
        self._done.set()
        self.join()
        return round(self._bytes / 1e6, 1)


def resident(processes: list[psutil.Process]) -> int:
    """Return the resident memory of processes, added up; one that has just ended counts nothing."""
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
