"""What the tasks of Airflow may do on Kafka, from the registry of topics, as statements of the template's policy.

``python -m mwaa template`` writes them into ``mwaa/template.yaml``; a test fails if they differ.
"""

from collections.abc import Iterator
from pathlib import Path

from order_fraud.topics import LANDING, POLICY, RECONCILE, SETTLE, TOPICS, Topic

TEMPLATE = Path(__file__).with_name("template.yaml")
BEGIN, END = (
    "        # Kafka: from plugins/order_fraud/topics.py (`python -m mwaa template`)\n",
    "        # end of Kafka\n",
)

SERVICES = (LANDING, POLICY, RECONCILE, SETTLE)
"""Those of the registry that are tasks of Airflow."""

GROUPS = ("land_events",)
"""librdkafka wants a group's id also from who joins none."""

TRANSACTIONAL_IDS = ("policy-publisher", "reconcile-orders", "settle-fraud")


def _written(topic: Topic) -> bool:
    return any(service in SERVICES for service in (*topic.writers.values(), *topic.raw_writers))


def _read(topic: Topic) -> bool:
    return any(service in SERVICES for service in topic.readers)


def statements() -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Yield name, actions and resources of each statement; a resource is ``kind/name``, the cluster is ``cluster``."""
    yield "KafkaConnect", ("Connect", "WriteDataIdempotently"), ("cluster",)
    topics = [topic for topic in TOPICS if _read(topic) or _written(topic)]
    yield "KafkaDescribe", ("DescribeTopic",), tuple(f"topic/{topic.name}" for topic in topics)
    yield "KafkaRead", ("ReadData",), tuple(f"topic/{topic.name}" for topic in topics if _read(topic))
    yield "KafkaWrite", ("WriteData",), tuple(f"topic/{topic.name}" for topic in topics if _written(topic))
    yield "KafkaGroups", ("DescribeGroup",), tuple(f"group/{name}" for name in GROUPS)
    transactions = ("AlterTransactionalId", "DescribeTransactionalId")
    yield "KafkaTransactions", transactions, tuple(f"transactional-id/{name}" for name in TRANSACTIONAL_IDS)


def rendered() -> str:
    """Return the statements as they stand in the template."""
    lines = []
    for name, actions, resources in statements():
        lines += [f"- Sid: {name}", "  Effect: Allow", "  Action:"]
        lines += [f"    - kafka-cluster:{action}" for action in actions]
        lines += ["  Resource:", *(f"    - {_resource(resource)}" for resource in resources)]
    return "".join(f"{' ' * 10}{line}\n" for line in lines)


def _resource(resource: str) -> str:
    if resource == "cluster":
        return "!Ref KafkaCluster"
    kind, name = resource.split("/", 1)
    arn = "arn:${AWS::Partition}:kafka:${AWS::Region}:${AWS::AccountId}"
    # The ARN of the cluster ends in :cluster/<its name>/<its id>; topics and so on have the same two parts in theirs.
    return (
        f'!Sub ["{arn}:{kind}/${{Cluster}}/{name}", {{Cluster: !Select [1, !Split [":cluster/", !Ref KafkaCluster]]}}]'
    )


def within(template: str) -> str:
    """Return the template with the statements as they have to be.

    Raises:
        ValueError: the lines between which they stand are not there.
    """
    head, rest = template.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}{rendered()}{END}{tail}"
