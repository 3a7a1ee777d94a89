"""Rights on Kafka as policies of AWS IAM, for clusters whose clients are let in by MSK IAM.

What is one right to Kafka are several actions to MSK: to read takes DescribeTopic and ReadData, to be a member of a
group AlterGroup and DescribeGroup. Kafka takes an idempotent producer from whom it lets write at all; MSK wants
WriteDataIdempotently besides.
"""

import argparse
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from order_fraud.rights import Kind, Operation, Right

_ACTIONS: dict[tuple[Kind, Operation], tuple[str, ...]] = {
    ("topic", "read"): ("DescribeTopic", "ReadData"),
    ("topic", "write"): ("DescribeTopic", "WriteData"),
    ("topic", "describe"): ("DescribeTopic",),
    ("topic", "describe_configs"): ("DescribeTopic", "DescribeTopicDynamicConfiguration"),
    ("group", "read"): ("AlterGroup", "DescribeGroup"),
    ("group", "describe"): ("DescribeGroup",),
    ("transactional_id", "write"): ("AlterTransactionalId", "DescribeTransactionalId"),
}
_CLUSTER = re.compile(r"arn:(aws[a-z-]*):kafka:([a-z0-9-]+):(\d{12}):cluster/([^/*]+)/([^/*]+)")


def cluster(text: str) -> str:
    """An argument that is the ARN of an MSK cluster.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if _CLUSTER.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no ARN of a cluster: write arn:aws:kafka:REGION:ACCOUNT:cluster/NAME/UUID"
        )
    return text


def policy(cluster_arn: str, allowed: Iterable[Right]) -> dict[str, Any]:
    """Return the policy document that allows these rights on a cluster, and to connect to it."""
    together = list(allowed)
    connecting = ["kafka-cluster:Connect"]
    if any("write" in right.operations for right in together if right.kind == "topic"):
        connecting.append("kafka-cluster:WriteDataIdempotently")
    if any("describe_configs" in right.operations for right in together):
        connecting.append("kafka-cluster:DescribeCluster")  # state files belong to the cluster whose id they bear
    statements = [{"Sid": "Connect", "Effect": "Allow", "Action": connecting, "Resource": [cluster_arn]}]
    resources: dict[tuple[Kind, tuple[str, ...]], list[str]] = defaultdict(list)
    for right in together:
        actions = {action for operation in right.operations for action in _ACTIONS[right.kind, operation]}
        resources[right.kind, tuple(sorted(actions))].append(_arn(cluster_arn, right))
    for (kind, names), arns in sorted(resources.items()):
        statements.append(
            {
                "Sid": f"{kind.title().replace('_', '')}{''.join(names)}",
                "Effect": "Allow",
                "Action": [f"kafka-cluster:{action}" for action in names],
                "Resource": sorted(arns),
            }
        )
    return {"Version": "2012-10-17", "Statement": statements}


def _arn(cluster_arn: str, right: Right) -> str:
    kind = right.kind.replace("_", "-")
    return f"{cluster_arn.replace(':cluster/', f':{kind}/')}/{right.name}{'*' if right.prefixed else ''}"
