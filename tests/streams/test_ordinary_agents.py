"""Agents as Faust has them, record by record, on the batch transport: exactly once as well."""

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from order_fraud.topics import Topic
from stack import Stack
from stack.site import ROOT
from tests.streams.witness import read, send, wait_for

RECORDS = 3_000


def _topic(name: str) -> Topic:
    return Topic(name=name, key="-", writers={}, readers=(), description="-", partitions=2)


NAMES, GREETINGS = _topic("test.names"), _topic("test.greetings")


def _worker(stack: Stack, log: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, str(Path(__file__).with_name("ordinary_worker.py")), NAMES.name, GREETINGS.name]
    environment = {**stack.environ, "COUNTERSIGN_GROUP": "greeters", "COUNTERSIGN_BATCH_RECORDS": "100"}
    with log.open("ab") as output:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)


@pytest.mark.timeout(180)
def test_an_ordinary_agent_answers_each_record_once_though_it_is_killed(
    stack: Stack, bootstrap: str, tmp_path: Path
) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic(one.name, one.partitions) for one in (NAMES, GREETINGS)]).values():
        future.result()
    names = [f"name-{number}".encode() for number in range(RECORDS)]
    log = tmp_path / "worker.log"

    def greetings() -> Counter[bytes | None]:
        return Counter(message.value() for message in read(bootstrap, GREETINGS))

    worker = _worker(stack, log)
    try:
        send(bootstrap, [(name, name) for name in names], NAMES)
        wait_for(lambda: len(greetings()) > 0)
        worker.kill()
        worker.wait()
        worker = _worker(stack, log)
        wait_for(lambda: len(greetings()) == RECORDS)
        assert greetings() == Counter(b"hello " + name for name in names)
        assert all(message.headers() == [("from", NAMES.name.encode())] for message in read(bootstrap, GREETINGS))

        send(bootstrap, [(b"k", b"fail")], NAMES)  # faust-streaming/faust#315: Faust would go on with the next record
        assert worker.wait(timeout=30) != 0
        assert "no greeting for that" in log.read_text()
        time.sleep(1)
        assert greetings() == Counter(b"hello " + name for name in names)
    finally:
        worker.kill()
        worker.wait()
