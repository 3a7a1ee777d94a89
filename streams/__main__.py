"""``python -m streams worker``: run one stream worker until it is told to stop."""

import argparse
import logging
import os
import sys

import faust
import msgspec
from confluent_kafka import KafkaException

from streams import admin
from streams.app import create_app
from streams.settings import from_environment

EXIT_USAGE, EXIT_NOT_READY = 2, 4


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m streams", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    worker = commands.add_parser(
        "worker",
        help="run one worker",
        description="Runs the fraud and the delivery service on the partitions that the group gives this worker. "
        "Settings come from the environment: COUNTERSIGN_KAFKA (brokers), COUNTERSIGN_GROUP, "
        "COUNTERSIGN_BATCH_RECORDS, COUNTERSIGN_BATCH_WAIT_MS, COUNTERSIGN_READY_FILE. Stop it with SIGTERM.",
    )
    worker.add_argument(
        "--index",
        type=int,
        default=1,
        help="which worker this is, from 1: a restarted worker with the same number gets its partitions back at once",
    )
    worker.add_argument("--log-level", default="INFO", help="DEBUG, INFO, WARNING (default: INFO)")
    options = parser.parse_args(arguments)
    try:
        settings = from_environment()
    except ValueError as error:
        print(f"streams: {error}", file=sys.stderr)
        return EXIT_USAGE
    if not os.environ.get("COUNTERSIGN_INSTANCE"):
        settings = msgspec.structs.replace(settings, instance=f"worker-{options.index}")
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        admin.check(settings.bootstrap)
    except (admin.TopicsDiffer, KafkaException) as error:
        print(f"streams: {error}", file=sys.stderr)
        return EXIT_NOT_READY
    app = create_app(settings)
    faust.Worker(app, loglevel=options.log_level.lower(), redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    sys.exit(main())
