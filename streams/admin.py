"""``python -m streams.admin create|check``: make the topics of the registry, or compare them with the broker's."""

import argparse
import sys
import time
from concurrent.futures import Future

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from order_fraud.topics import TOPICS
from streams.settings import from_environment

TIMEOUT_S = 15.0


class TopicsDiffer(RuntimeError):
    """The broker's topics are not those of the registry; the message names each difference and the remedy."""


def create(bootstrap: str, replication: int = 1) -> list[str]:
    """Create the topics that are missing, check the others, and return the names of the new ones.

    Raises:
        TopicsDiffer: a topic exists with another number of partitions.
        KafkaException: the broker cannot be reached or refuses.
    """
    admin = _client(bootstrap)
    futures: dict[str, Future[None]] = admin.create_topics(
        [NewTopic(topic.name, topic.partitions, replication, config=topic.config) for topic in TOPICS],
        request_timeout=TIMEOUT_S,
    )
    created = []
    for name, future in futures.items():
        try:
            future.result()
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    _wait_until_seen(bootstrap, created)
    check(bootstrap)
    return created


def _wait_until_seen(bootstrap: str, created: list[str]) -> None:
    """A topic that was just created appears in the broker's metadata a moment later."""
    admin = _client(bootstrap)
    until = time.monotonic() + TIMEOUT_S
    while not set(created) <= admin.list_topics(timeout=TIMEOUT_S).topics.keys() and time.monotonic() < until:
        time.sleep(0.1)


def check(bootstrap: str) -> None:
    """Compare the broker's topics with the registry.

    Raises:
        TopicsDiffer: a topic is missing or has another number of partitions.
        KafkaException: the broker cannot be reached.
    """
    found = _client(bootstrap).list_topics(timeout=TIMEOUT_S).topics
    differences = []
    for topic in TOPICS:
        if topic.name not in found:
            differences.append(f"topic {topic.name} is missing: python -m streams.admin create makes it")
        elif len(found[topic.name].partitions) != topic.partitions:
            differences.append(
                f"topic {topic.name} has {len(found[topic.name].partitions)} partitions, the registry says "
                f"{topic.partitions}: keys would change their partitions, so make a new topic and move the records"
            )
    if differences:
        raise TopicsDiffer("; ".join(differences))


def _client(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "socket.timeout.ms": int(TIMEOUT_S * 1000)})


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code: 0 all well, 4 the broker's topics differ, 5 no broker."""
    parser = argparse.ArgumentParser(prog="python -m streams.admin", description=__doc__)
    parser.add_argument("command", choices=["create", "check"])
    parser.add_argument(
        "--bootstrap", default=from_environment().bootstrap, help="brokers (default: COUNTERSIGN_KAFKA)"
    )
    parser.add_argument("--replication", type=int, default=1, help="replicas of a new topic (default: 1, on AWS use 3)")
    options = parser.parse_args(arguments)
    try:
        if options.command == "create":
            created = create(options.bootstrap, options.replication)
            print(f"{len(created)} topics created, {len(TOPICS) - len(created)} there already")
        else:
            check(options.bootstrap)
            print(f"all {len(TOPICS)} topics are as the registry says")
    except TopicsDiffer as error:
        print(f"streams.admin: {error}", file=sys.stderr)
        return 4
    except KafkaException as error:
        print(f"streams.admin: no answer from Kafka at {options.bootstrap}: {error.args[0]}", file=sys.stderr)
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main())
