"""``python -m benchmarks.pacer``: sends records of a file at a steady rate, from a process of its own.

The time stamp of each record is the moment at which it was handed to the producer.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Producer

from kafka_access import Brokers, client
from order_fraud.topics import CUSTOMER_EVENTS

TICK_S = 0.001


def write(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write the records that a pacer is to send."""
    path.write_bytes(msgspec.msgpack.encode([(record["key"], record["value"]) for record in records]))


def send(bootstrap: Brokers, path: Path, rate: float) -> dict[str, float]:
    """Send all, ``rate`` a second; return how many, from when to when, and how many a second that was."""
    records = msgspec.msgpack.decode(path.read_bytes(), type=list[tuple[bytes, bytes]])
    producer = Producer(
        client(bootstrap)
        | {
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "linger.ms": 1,
            "queue.buffering.max.messages": 10_000_000,
        }
    )
    producer.list_topics(timeout=10)
    started = time.time()
    sent = 0
    while sent < len(records):
        due = min(len(records), int((time.time() - started) * rate) + 1)
        for key, value in records[sent:due]:
            producer.produce(CUSTOMER_EVENTS.name, value, key, timestamp=int(time.time() * 1000))
        sent = due
        producer.poll(0)
        time.sleep(TICK_S)
    ended = time.time()
    if left := producer.flush(60):
        raise RuntimeError(f"{left} records were not acknowledged in a minute")
    return {"sent": sent, "started": started, "ended": ended, "rate": sent / max(ended - started, 1e-9)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pacer", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rate", type=float, required=True, help="records per second")
    options = parser.parse_args()
    json.dump(send(os.environ["COUNTERSIGN_KAFKA"], options.file, options.rate), sys.stdout)
