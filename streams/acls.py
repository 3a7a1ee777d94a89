"""Gives each service the rights of its row in the registry of topics, and no others: ``python -m streams.acls``.

Each role is a name on Kafka (--prefix and the role, or what --principal says). Only the single writer of a topic gets
the right to write to it; consumer groups and transactional ids are granted in the same way.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

import kafka_access
from kafka_access import NoAnswer, Refused, enter, refusal
from order_fraud.rights import GROUP, RARE_ROLES, ROLES, Right, rights
from streams import iam
from streams.settings import from_environment

EXIT_USAGE, EXIT_NO_BROKER, EXIT_REFUSED = 2, 5, 6
TIMEOUT_S = 15.0
ALL_ROLES: Mapping[str, tuple[str, ...]] = {**ROLES, **RARE_ROLES}
ANY_HOST = "*"

_EPILOG = f"""\
roles: {", ".join(ROLES)}; and for workers that run one service each: {", ".join(RARE_ROLES)}

examples:
  what would be allowed, as a table:
    python -m streams.acls show
  the same as commands for Kafka's own tool:
    python -m streams.acls commands --prefix countersign-
  make the cluster's ACLs for these names what they should be, and no more:
    python -m streams.acls apply --prefix countersign-
  a policy for the IAM role of the landing DAG's tasks:
    python -m streams.acls iam --role landing --cluster arn:aws:kafka:eu-west-1:123456789012:cluster/orders/1b2c3d4e-5

exit codes:
  0  all well
  {EXIT_USAGE}  a wrong option or setting
  {EXIT_NO_BROKER}  no broker answers, or it has no authorizer
  {EXIT_REFUSED}  Kafka refuses user, password or rights

settings, from the environment:
{kafka_access.settings.explain()}
"""


def bindings(principal: str, allowed: list[Right]) -> list[AclBinding]:
    """Return the ACLs that say what a principal (``User:name``) may do."""
    return [
        AclBinding(
            ResourceType["TRANSACTIONAL_ID" if right.kind == "transactional_id" else right.kind.upper()],
            right.name,
            ResourcePatternType.PREFIXED if right.prefixed else ResourcePatternType.LITERAL,
            principal,
            ANY_HOST,
            AclOperation[operation.upper()],
            AclPermissionType.ALLOW,
        )
        for right in allowed
        for operation in right.operations
    ]


def apply(admin: AdminClient, wanted: Mapping[str, list[Right]]) -> tuple[int, int]:
    """Make the ACLs of principals what they should be; return how many were added and removed.

    New ones first: at no moment does a running service lack what it is to keep.

    Raises:
        KafkaException: the broker refuses.
    """
    added = removed = 0
    for principal, allowed in wanted.items():
        target = {_key(each): each for each in bindings(principal, allowed)}
        there = {_key(each): each for each in _present(admin, principal)}
        if new := [target[key] for key in target.keys() - there.keys()]:
            _results(admin.create_acls(new, request_timeout=TIMEOUT_S))
            added += len(new)
        if gone := [_only(there[key]) for key in there.keys() - target.keys()]:
            _results(admin.delete_acls(gone, request_timeout=TIMEOUT_S))
            removed += len(gone)
    return added, removed


def _present(admin: AdminClient, principal: str) -> list[AclBinding]:
    whatever: tuple[Any, ...] = (principal, None, AclOperation.ANY, AclPermissionType.ANY)  # None: any host
    every = AclBindingFilter(ResourceType.ANY, *(None, ResourcePatternType.ANY, *whatever))
    found: Future[list[AclBinding]] = admin.describe_acls(every, request_timeout=TIMEOUT_S)
    return found.result()


def _key(each: AclBinding) -> tuple[Any, ...]:
    return (
        each.restype,
        each.name,
        each.resource_pattern_type,
        each.principal,
        each.host,
        each.operation,
        each.permission_type,
    )


def _only(each: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(*_key(each))


def _results(futures: Mapping[Any, Future[Any]]) -> None:
    for future in futures.values():
        future.result()


def commands(principal: str, allowed: list[Right]) -> Iterator[str]:
    """Yield one line of Kafka's own tool for each thing that a principal may do something with."""
    for right in allowed:
        operations = " ".join(f"--operation {_CAMEL[operation]}" for operation in right.operations)
        pattern = " --resource-pattern-type prefixed" if right.prefixed else ""
        yield (
            f'kafka-acls.sh --bootstrap-server "$COUNTERSIGN_KAFKA" --command-config admin.properties --add '
            f"--allow-principal {principal} {operations} --{right.kind.replace('_', '-')} '{right.name}'{pattern}"
        )


_CAMEL = {"read": "Read", "write": "Write", "describe": "Describe", "describe_configs": "DescribeConfigs"}


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m streams.acls",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    chosen = parser.add_subparsers(dest="command", required=True)
    for name, meaning in (
        ("show", "print what each role may do, as a table"),
        ("commands", "print it as kafka-acls.sh lines"),
        ("apply", "make the cluster's ACLs of these principals so: add what is missing, remove what is too much"),
        ("iam", "print the policy of one role for MSK IAM, as JSON"),
    ):
        command = chosen.add_parser(name, help=meaning, description=meaning)
        command.add_argument(
            "--role",
            action="append",
            choices=ALL_ROLES,
            required=name == "iam",
            help="only this one; may be repeated (default: all but those of separate workers)",
        )
        command.add_argument(
            "--group", default=GROUP, help="consumer group of the workers (COUNTERSIGN_GROUP; default: %(default)s)"
        )
        if name in ("commands", "apply"):
            command.add_argument(
                "--prefix", default="countersign-", help="principals are User:<prefix><role> (default: %(default)s)"
            )
            command.add_argument(
                "--principal",
                action="append",
                type=_named,
                default=[],
                metavar="ROLE=NAME",
                help="another name for a role, e.g. 'shop=User:CN=shop,O=Example' for a certificate; may be repeated",
            )
        if name == "iam":
            command.add_argument("--cluster", required=True, type=iam.cluster, metavar="ARN", help="of the MSK cluster")
    return parser.parse_args(arguments)


def _named(text: str) -> tuple[str, str]:
    role, _, principal = text.partition("=")
    if role not in ALL_ROLES or not re.fullmatch(r"User:.+", principal):
        raise argparse.ArgumentTypeError(f"{text!r}: write ROLE=User:NAME; roles are {', '.join(ALL_ROLES)}")
    return role, principal


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    options = parse_arguments(arguments)
    roles = options.role or list(ROLES)
    allowed = {role: rights(ALL_ROLES[role], options.group) for role in roles}
    if options.command == "show":
        print(table(allowed))
        return 0
    if options.command == "iam":
        together = rights([service for role in roles for service in ALL_ROLES[role]], options.group)
        print(json.dumps(iam.policy(options.cluster, together), indent=2))
        return 0
    named = dict(options.principal)
    wanted = {named.get(role, f"User:{options.prefix}{role}"): allowed[role] for role in roles}
    if options.command == "commands":
        for principal, its in wanted.items():
            print("\n".join(commands(principal, its)))
        return 0
    return _apply(wanted)


def _apply(wanted: Mapping[str, list[Right]]) -> int:
    try:
        brokers = from_environment().kafka
    except ValueError as error:
        print(f"streams.acls: {error}", file=sys.stderr)
        return EXIT_USAGE
    try:
        added, removed = apply(enter(brokers, timeout_s=TIMEOUT_S), wanted)
    except Refused as error:
        print(f"streams.acls: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except KafkaException as error:
        if refused := refusal(error.args[0], brokers, action="change ACLs (it needs Alter on the cluster)"):
            print(f"streams.acls: {refused}", file=sys.stderr)
            return EXIT_REFUSED
        where = "" if isinstance(error, NoAnswer) else f"Kafka at {brokers}: "
        print(f"streams.acls: {where}{error.args[0].str()}", file=sys.stderr)
        return EXIT_NO_BROKER
    print(f"{len(wanted)} principals: {added} ACLs added, {removed} removed")
    return 0


def table(allowed: Mapping[str, list[Right]]) -> str:
    """Return what each role may do, as a table in Markdown."""
    lines = ["| role | what | may |", "|---|---|---|"]
    for role, its in allowed.items():
        for right in its:
            star = "*" if right.prefixed else ""
            what = f"{right.kind.replace('_', ' ')} `{right.name}{star}`"
            lines.append(f"| {role} | {what} | {', '.join(one.replace('_', ' ') for one in right.operations)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
