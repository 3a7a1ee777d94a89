"""``python -m streams.admin create|check``: make the topics of the registry, or compare them with the broker's."""

import argparse
import sys
import time
from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

import kafka_access
from kafka_access import Brokers, NoAnswer, Refused, client, enter, refusal
from order_fraud.rights import topics
from order_fraud.topics import TOPICS, Topic
from streams.settings import from_environment

TIMEOUT_S = 15.0
EXIT_USAGE, EXIT_DIFFERENT, EXIT_NO_BROKER, EXIT_REFUSED = 2, 4, 5, 6
SERVERLESS_SETTINGS = frozenset({"cleanup.policy", "max.message.bytes", "retention.ms"})
"""Those of the registry's settings that MSK Serverless lets a topic have; it keeps its own defaults for the others."""


class TopicsDiffer(RuntimeError):
    """The broker's topics are not those of the registry; the message names each difference and the remedy."""


def create(brokers: Brokers, replication: int = 1, *, serverless: bool = False) -> list[str]:
    """Create the topics that are missing, check the others, and return the names of the new ones.

    Args:
        brokers: where.
        replication: replicas of a new topic.
        serverless: leave out the settings that MSK Serverless does not let anybody change.

    Raises:
        TopicsDiffer: a topic exists with another number of partitions.
        Refused: Kafka does not let us in, or create topics.
        KafkaException: the broker cannot be reached or refuses.
    """
    admin = enter(brokers, timeout_s=TIMEOUT_S)
    wanted = [
        NewTopic(topic.name, topic.partitions, replication, config=_config(topic, serverless)) for topic in TOPICS
    ]
    futures: dict[str, Future[None]] = admin.create_topics(wanted, request_timeout=TIMEOUT_S)
    created = []
    for name, future in futures.items():
        try:
            future.result()
            created.append(name)
        except KafkaException as error:
            if refused := refusal(error.args[0], brokers, name):
                raise refused from error
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    _wait_until_seen(brokers, created)
    check(brokers)
    return created


def _config(topic: Topic, serverless: bool) -> dict[str, str]:
    return {name: value for name, value in topic.config.items() if not serverless or name in SERVERLESS_SETTINGS}


def _wait_until_seen(brokers: Brokers, created: list[str]) -> None:
    """A topic that was just created appears in the broker's metadata a moment later."""
    admin = AdminClient(client(brokers))
    until = time.monotonic() + TIMEOUT_S
    while not set(created) <= admin.list_topics(timeout=TIMEOUT_S).topics.keys() and time.monotonic() < until:
        time.sleep(0.1)


def check(brokers: Brokers, services: Collection[str] | None = None) -> None:
    """Compare the broker's topics with the registry: all of them, or those that some services use.

    Raises:
        TopicsDiffer: a topic is missing or has another number of partitions.
        Refused: Kafka does not let us in, or the services lack a right; the message names topic and principal.
        NoAnswer: no broker answers.
        KafkaException: the broker refuses.
    """
    needed = None if services is None else topics(services)
    admin = enter(brokers, needed, TIMEOUT_S)
    asked = [topic for topic in TOPICS if needed is None or topic.name in needed]
    found: Any = admin.describe_topics(TopicCollection([topic.name for topic in asked]), request_timeout=TIMEOUT_S)
    differences = []
    for topic in asked:
        try:
            partitions = len(found[topic.name].result().partitions)
        except KafkaException as error:
            if refused := refusal(error.args[0], brokers, topic.name):
                raise refused from error
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
            differences.append(f"topic {topic.name} is missing: python -m streams.admin create makes it")
            continue
        if partitions != topic.partitions:
            differences.append(
                f"topic {topic.name} has {partitions} partitions, the registry says {topic.partitions}: keys would "
                "change their partitions, so make a new topic and move the records"
            )
    if differences:
        raise TopicsDiffer("; ".join(differences))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    try:
        known = from_environment().kafka
    except ValueError as error:
        print(f"streams.admin: {error}", file=sys.stderr)
        return EXIT_USAGE
    parser = argparse.ArgumentParser(
        prog="python -m streams.admin",
        description=__doc__,
        epilog=f"exit codes:\n  0  all well\n  {EXIT_USAGE}  a wrong option or setting\n  {EXIT_DIFFERENT}  the "
        f"broker's topics differ from the registry\n  {EXIT_NO_BROKER}  no broker answers\n  {EXIT_REFUSED}  Kafka "
        f"refuses user, password or rights\n\nsettings, from the environment:\n{kafka_access.settings.explain()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=["create", "check"])
    parser.add_argument("--bootstrap", default=known.brokers, help="brokers (default: COUNTERSIGN_KAFKA)")
    parser.add_argument("--replication", type=int, default=1, help="replicas of a new topic (default: 1, on AWS use 3)")
    parser.add_argument(
        "--serverless", action="store_true", help="leave out the settings that MSK Serverless lets nobody change"
    )
    options = parser.parse_args(arguments)
    brokers = replace(known, brokers=options.bootstrap)
    try:
        if options.command == "create":
            created = create(brokers, options.replication, serverless=options.serverless)
            print(f"{len(created)} topics created, {len(TOPICS) - len(created)} there already")
        else:
            check(brokers)
            print(f"all {len(TOPICS)} topics are as the registry says")
    except TopicsDiffer as error:
        print(f"streams.admin: {error}", file=sys.stderr)
        return EXIT_DIFFERENT
    except Refused as error:
        print(f"streams.admin: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except KafkaException as error:
        where = "" if isinstance(error, NoAnswer) else f"Kafka at {options.bootstrap}: "
        print(f"streams.admin: {where}{error.args[0].str()}", file=sys.stderr)
        return EXIT_NO_BROKER
    return 0


if __name__ == "__main__":
    sys.exit(main())
