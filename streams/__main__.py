"""``python -m streams worker``: run one stream worker until it is told to stop."""

import argparse
import logging
import os
import sys

import faust
import msgspec
from confluent_kafka import KafkaException

from kafka_access import Refused
from order_fraud.topics import FRAUD_POLICIES
from streams import admin
from streams.app import create_app
from streams.health import PortTaken, watched
from streams.policies import PoliciesUnusable, following
from streams.settings import explain, from_environment
from streams.state.spec import StateError

EXIT_USAGE, EXIT_NOT_READY, EXIT_PORT_TAKEN, EXIT_REFUSED = 2, 4, 5, 6

_EPILOG = f"""\
settings, from the environment:
{explain()}

exit codes:
  0  told to stop
  1  failed while it ran: the log says how. Nothing of the poll in hand was committed; start it again
  {EXIT_USAGE}  a wrong option or setting
  {EXIT_NOT_READY}  the broker cannot be reached, its topics differ from the registry, the state folder is no use, or
     {FRAUD_POLICIES.name} does not say which scorecard judges
  {EXIT_PORT_TAKEN}  the port for metrics and health cannot be had
  {EXIT_REFUSED}  Kafka does not let the worker in (wrong user or password, no AWS credentials), or not do its work (a
     right is missing): the line says who was refused what. Refused while it runs, for half a minute, it ends with 1,
     and its successor with this code

batch settings, latency against throughput:
  Every poll is a transaction, and its cost is about the same for one record as for thousands. While little arrives, an
  order waits up to COUNTERSIGN_BATCH_WAIT_MS at each hop: raise it for fewer transactions. Under load batches fill
  by themselves up to COUNTERSIGN_BATCH_RECORDS: raise it for more orders per second, lower it if orders may not wait
  for that many others. docs/operations.md has a table.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m streams", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    worker = commands.add_parser(
        "worker",
        help="run one worker",
        description="Run the fraud and the delivery service on the partitions that the group gives this worker. Stop "
        "it with SIGTERM: it finishes the batch in hand and leaves.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
        with watched(settings) as observer:
            admin.check(settings.kafka, settings.registered)
            with following(settings, observer) as judging:
                app = create_app(settings, observer, judging)
                faust.Worker(app, loglevel=options.log_level.lower(), redirect_stdouts=False).execute_from_commandline()
    except Refused as error:
        print(f"streams: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except (admin.TopicsDiffer, KafkaException, StateError, PoliciesUnusable) as error:
        print(f"streams: {error}", file=sys.stderr)
        return EXIT_NOT_READY
    except PortTaken as error:
        print(f"streams: {error}", file=sys.stderr)
        return EXIT_PORT_TAKEN


if __name__ == "__main__":
    sys.exit(main())
