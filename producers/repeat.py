"""Sends records of a topic a second time, under their key and with their time stamp.

For tests and demonstrations only. It is what a topic has when a worker goes on that does not know that its group has
given it up, or a service without transactions tries again: the reconciliation must find exactly these.
"""

import argparse
import sys
from pathlib import Path

from confluent_kafka import KafkaException

from order_fraud.events import EVENT_TYPES, BadEvent, decode
from order_fraud.topics import DELIVERY_EVENTS, FRAUD_VERDICTS, Topic
from producers.outbox import BrokerUnusable, Outbox, bootstrap_from_environment
from producers.replay_source import NothingThere, Reading, Selection
from producers.shop import read_ids

TOPICS: dict[str, Topic] = {topic.name: topic for topic in (FRAUD_VERDICTS, DELIVERY_EVENTS)}
ALL_WELL, BAD_INPUT, SOME_MISSING, NO_BROKER, NOT_DELIVERED = 0, 2, 3, 4, 5


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m producers.repeat",
        description=__doc__,
        epilog="Exit codes: 0 all sent, 2 wrong usage or unreadable file, 3 of some subjects there is no such record, "
        "4 no broker or topic, 5 some records were not acknowledged.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--topic", choices=list(TOPICS), required=True, help="where they stand and go")
    parser.add_argument("--subjects", type=Path, required=True, metavar="FILE", help="order ids, one a line")
    parser.add_argument("--type", choices=list(EVENT_TYPES), required=True, metavar="EVENT", help="type of the events")
    parser.add_argument("--bootstrap", default=bootstrap_from_environment(), metavar="HOST:PORT", help="the broker")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = parse_arguments(arguments)
    try:
        missing = set(read_ids(options.subjects))
        outbox = Outbox(TOPICS[options.topic], options.bootstrap, "repeat")
        for record in Reading(options.bootstrap, Selection(topic=options.topic)).records():
            try:
                event = decode(record.value)
            except BadEvent:
                continue
            if event.subject in missing and type(event).__name__ == options.type and record.key is not None:
                missing.discard(event.subject)
                outbox.send(record.key.decode(), event, record.timestamp)
    except (OSError, UnicodeDecodeError) as error:
        print(f"error: {options.subjects}: {error}", file=sys.stderr)
        return BAD_INPUT
    except (BrokerUnusable, NothingThere, KafkaException) as error:
        print(f"error: {error}", file=sys.stderr)
        return NO_BROKER
    outbox.close()
    for reason, times in outbox.failures.most_common():
        print(f"not delivered: {times} x {reason}", file=sys.stderr)
    for order_id in sorted(missing):
        print(f"no {options.type} of {order_id} is on {options.topic}", file=sys.stderr)
    print(f"sent {outbox.acknowledged.total()} records of {options.topic} at {options.bootstrap} a second time")
    if outbox.failed:
        return NOT_DELIVERED
    return SOME_MISSING if missing else ALL_WELL


if __name__ == "__main__":
    sys.exit(main())
