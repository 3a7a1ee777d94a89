"""``python -m stack.demo.attached``: the demo on a stack that is up, as the environment describes it."""

import argparse
import os
import sys
from pathlib import Path

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition
from rich.console import Console

from kafka_access import client
from order_fraud.topics import FRAUD_VERDICTS
from producers import source
from producers.orders_csv import BadFile
from stack.demo.__main__ import GENERATED, USAGE, play
from stack.demo.place import Elsewhere
from stack.demo.result import NOT_WELL
from stack.demo.story import Demo
from stack.site import ROOT

NEEDED = (
    "COUNTERSIGN_KAFKA",
    "COUNTERSIGN_S3_ENDPOINT",
    "COUNTERSIGN_SANDBOX",
    "COUNTERSIGN_AIRFLOW",
    "COUNTERSIGN_AIRFLOW_USER",
    "COUNTERSIGN_AIRFLOW_PASSWORD",
    "SANDBOX_ADMIN_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_DEFAULT_REGION",
)
ANSWER_S = 15.0
QUIET_S = 90.0
"""Whoever runs the stack starts a broker or worker again that has died, which takes a container half a minute."""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m stack.demo.attached",
        description=__doc__,
        epilog=f"Reads {', '.join(NEEDED)}. Needs a stack without orders of an earlier run. Writes demo.json, "
        "planted.json and report.html into --run-dir. Exit codes as those of python -m stack.demo.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--orders", type=Path, metavar="FILE", help="a CSV in the public e-commerce format")
    which.add_argument(
        "--generate", type=source.positive, metavar="N", help=f"invent N orders (without --orders: {GENERATED})"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of invented orders and planted faults (1)")
    parser.add_argument("--faults", type=int, choices=[0, 1], default=0, help="1: plant faults; they must all be found")
    parser.add_argument("--run-dir", type=Path, default=ROOT / ".stack", help="where its files go (default: .stack)")
    options = parser.parse_args(arguments)
    if options.orders is None and options.generate is None:
        options.generate = GENERATED
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; return its exit code."""
    options = parse(arguments)
    # Wide enough for the tables where there is no terminal.
    screen = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 120)
    if missing := [name for name in NEEDED if not os.environ.get(name)]:
        screen.print(f"not set: {', '.join(missing)}; `docker compose run --rm demo` sets them", markup=False)
        return USAGE
    try:
        book = source.load(options)
    except BadFile as error:
        screen.print(str(error), markup=False)
        return USAGE
    if not book.sales:
        screen.print(f"there is not one usable order in {options.orders}", markup=False)
        return USAGE
    try:
        judged = verdicts(os.environ["COUNTERSIGN_KAFKA"])
    except KafkaException as error:
        screen.print(f"no answer from Kafka at {os.environ['COUNTERSIGN_KAFKA']}: {error.args[0]}", markup=False)
        return NOT_WELL
    if judged:
        screen.print(
            f"{FRAUD_VERDICTS.name} has records of an earlier run, which the counts would take for this one's; "
            "start empty: docker compose down --volumes",
            markup=False,
        )
        return USAGE
    orders_from = (
        ["--orders", str(options.orders.resolve())] if options.orders else ["--generate", str(options.generate)]
    )
    options.run_dir.mkdir(parents=True, exist_ok=True)
    place = Elsewhere(options.run_dir, dict(os.environ))
    return play(Demo(place, book, orders_from, options.seed, bool(options.faults), screen, QUIET_S), screen)


def verdicts(bootstrap: str) -> int:
    """Return how many offsets the topic of verdicts has used up.

    Raises:
        KafkaException: the broker does not answer, or has no such topic.
    """
    consumer = Consumer(client(bootstrap) | {"group.id": "countersign-demo"})  # a group it never joins
    try:
        places = [TopicPartition(FRAUD_VERDICTS.name, part, OFFSET_END) for part in range(FRAUD_VERDICTS.partitions)]
        return sum(consumer.get_watermark_offsets(place, timeout=ANSWER_S)[1] for place in places)
    finally:
        consumer.close()


if __name__ == "__main__":
    sys.exit(main())
