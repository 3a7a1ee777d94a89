"""What Airflow may do on Kafka, from the registry of topics, as statements of the template's policy.

``python -m mwaa template`` writes them into ``mwaa/template.yaml``; a test fails if they differ.
"""

from collections.abc import Iterator
from pathlib import Path

from order_fraud.rights import rights
from order_fraud.topics import HINTS, LANDING, POLICY, RECONCILE, SETTLE

TEMPLATE = Path(__file__).with_name("template.yaml")
BEGIN, END = (
    "        # Kafka: from plugins/order_fraud/topics.py (`python -m mwaa template`)\n",
    "        # end of Kafka\n",
)

SERVICES = (LANDING, HINTS, POLICY, RECONCILE, SETTLE)
"""Those of the registry that run in Airflow."""


def statements() -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Yield name, actions and resources of each statement; a resource is ``kind/name``, the cluster is ``cluster``."""
    found: dict[str, list[str]] = {name: [] for name in ("describe", "read", "write", "group", "transactional_id")}
    for right in rights(SERVICES):
        resource = f"{right.kind.replace('_', '-')}/{right.name}{'*' if right.prefixed else ''}"
        if right.kind == "topic":
            found["describe"].append(resource)
            for operation in right.operations:
                found[operation].append(resource)
        else:
            found[right.kind].append(resource)
    yield "KafkaConnect", ("Connect", "WriteDataIdempotently"), ("cluster",)
    yield "KafkaDescribe", ("DescribeTopic",), tuple(found["describe"])
    yield "KafkaRead", ("ReadData",), tuple(found["read"])
    yield "KafkaWrite", ("WriteData",), tuple(found["write"])
    yield "KafkaGroups", ("DescribeGroup",), tuple(found["group"])
    transactions = ("AlterTransactionalId", "DescribeTransactionalId")
    yield "KafkaTransactions", transactions, tuple(found["transactional_id"])


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
