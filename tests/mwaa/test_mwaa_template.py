"""The template: what its linter says, and that nobody gets more rights than they use."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cfnlint.decode import cfn_yaml

from mwaa import kafka_rights, package, secret_store
from order_fraud.topics import TOPICS

TEMPLATE = kafka_rights.TEMPLATE
TEXT = TEMPLATE.read_text()


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return dict(cfn_yaml.load(str(TEMPLATE)))


def statements(template: dict[str, Any], effect: str = "Allow") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement of every policy, with the name of its resource."""
    documents = ("PolicyDocument", "KeyPolicy", "AssumeRolePolicyDocument")
    for name, resource in template["Resources"].items():
        for document in documents:
            for each in resource["Properties"].get(document, {}).get("Statement", []):
                if each["Effect"] == effect:
                    yield name, each


def listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def arn(resource: object) -> str:
    """A resource as text, whatever function makes it."""
    if isinstance(resource, dict) and "Fn::Sub" in resource:
        return str(listed(resource["Fn::Sub"])[0])
    return json.dumps(resource) if isinstance(resource, dict) else str(resource)


def test_linter_has_nothing_to_say_here_and_something_elsewhere(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(TEXT.replace("VersioningConfiguration: {Status: Enabled}", "VersioningConfiguration: {Status: On}"))
    linter = str(Path(sys.executable).with_name("cfn-lint"))
    command = [linter, "--format", "json", "--non-zero-exit-code", "informational", str(TEMPLATE), str(bad)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = {(Path(each["Filename"]).name, each["Rule"]["Id"]) for each in json.loads(done.stdout)}
    assert found == {("bad.yaml", "E3030")}


def test_no_right_has_a_wildcard_for_its_action(template: dict[str, Any]) -> None:
    found = list(statements(template))
    assert len(found) > 20
    for name, each in found:
        assert "NotAction" not in each
        assert "NotResource" not in each
        assert not [action for action in listed(each["Action"]) if "*" in action], f"{name}: {each.get('Sid')}"


def test_each_resource_that_is_everything_says_why(template: dict[str, Any]) -> None:
    everything = {(name, each["Sid"]) for name, each in statements(template) if "*" in listed(each.get("Resource"))}
    assert everything == {
        ("Key", "Account"),
        ("Key", "Logs"),
        ("AirflowPolicy", "AccountBlocksPublicAccess"),
        ("AirflowPolicy", "LogGroups"),
        ("AirflowPolicy", "Metrics"),
    }
    lines = [line for line in TEXT.splitlines() if re.match(r'\s*Resource: "\*"', line)]
    assert len(lines) == len(everything)
    assert all(re.search(r'"\*" # .{20,}', line) for line in lines)


def test_other_wildcards_are_below_something_of_ours(template: dict[str, Any]) -> None:
    """The queue of MWAA is the one exception, and its account is nobody's business."""
    ends = ("/*", "-*", "-??????")
    for name, each in statements(template):
        for resource in map(arn, listed(each.get("Resource", []))):
            if resource in ("*", "arn:${AWS::Partition}:sqs:${AWS::Region}:*:airflow-celery-*"):
                continue
            assert "*" not in resource.removesuffix("*"), f"{name}: {resource}"
            assert "*" not in resource or resource.endswith(ends), f"{name}: {resource}"


def test_rights_on_kafka_are_those_of_the_registry(template: dict[str, Any]) -> None:
    assert kafka_rights.within(TEXT) == TEXT, "run `python -m mwaa template`"
    rights: dict[str, set[str]] = {}
    for name, each in statements(template):
        if name == "KafkaPolicy":
            for resource in map(arn, listed(each["Resource"])):
                rights.setdefault(resource.split("${Cluster}/")[-1], set()).update(each["Action"])
    written = {name for name, actions in rights.items() if "kafka-cluster:WriteData" in actions}
    assert written == {"fraud.policies", "reconciliation.findings"}
    assert rights["fraud.verdicts"] == {"kafka-cluster:DescribeTopic", "kafka-cluster:ReadData"}
    for topic in TOPICS:
        if topic.name.startswith(("history.", "delivery.watch", "dead-letters", "stream.")):
            assert topic.name not in rights, "no DAG reads what only streams need"


def test_catalog_rights_name_each_namespace_of_the_lake(template: dict[str, Any]) -> None:
    reserved = re.search(r"(?m)^RESERVED = \((.*)\)$", (package.ROOT / "plugins/lake/tables.py").read_text())
    assert reserved
    flows = (package.ROOT / "dags" / "flows").glob("*.yaml")
    namespaces = set(re.findall(r'"(\w+)"', reserved[1])) | {
        yaml.safe_load(path.read_text())["table"].split(".")[0] for path in flows
    }
    (catalog,) = (each for _, each in statements(template) if each.get("Sid") == "Catalog")
    named = {resource.split(":database/")[1] for resource in map(arn, catalog["Resource"]) if ":database/" in resource}
    tables = {resource.split(":table/")[1] for resource in map(arn, catalog["Resource"]) if ":table/" in resource}
    assert named == namespaces
    assert tables == {f"{each}/*" for each in namespaces}


def test_secrets_are_those_that_the_command_makes(template: dict[str, Any]) -> None:
    (allowed,) = (each for _, each in statements(template) if each.get("Sid") == "Secrets")
    names = [resource.split(":secret:")[1].removesuffix("-??????") for resource in map(arn, allowed["Resource"])]
    assert tuple(names) == secret_store.NAMES
    options = template["Resources"]["Environment"]["Properties"]["AirflowConfigurationOptions"]
    for backend, kwargs in (
        ("secrets.backend", "secrets.backend_kwargs"),
        ("workers.secrets_backend", "workers.secrets_backend_kwargs"),
    ):
        assert options[backend] == secret_store.BACKEND
        assert json.loads(options[kwargs]) == secret_store.backend_kwargs()


def test_buckets_are_closed_encrypted_and_speak_tls_only(template: dict[str, Any]) -> None:
    resources = template["Resources"]
    buckets = {name: each["Properties"] for name, each in resources.items() if each["Type"] == "AWS::S3::Bucket"}
    assert buckets.keys() == {"DagsBucket", "LakeBucket"}
    denied = {name: each for name, each in statements(template, "Deny")}
    for name, bucket in buckets.items():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert len(bucket["PublicAccessBlockConfiguration"]) == 4
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
        assert resources[name]["DeletionPolicy"] == "Retain"
        deny = denied[f"{name}Policy"]
        assert (deny["Principal"], deny["Condition"]) == ("*", {"Bool": {"aws:SecureTransport": "false"}})
    assert buckets["DagsBucket"]["VersioningConfiguration"] == {"Status": "Enabled"}


def test_kafka_lets_in_by_iam_and_over_tls_only(template: dict[str, Any]) -> None:
    cluster = template["Resources"]["KafkaCluster"]["Properties"]
    assert cluster["ClientAuthentication"] == {
        "Sasl": {"Iam": {"Enabled": True}},
        "Unauthenticated": {"Enabled": False},
    }
    assert cluster["EncryptionInfo"]["EncryptionInTransit"] == {"ClientBroker": "TLS", "InCluster": True}
    rules = template["Resources"]["KafkaSecurityGroup"]["Properties"]["SecurityGroupIngress"]
    assert {(rule["FromPort"], rule["ToPort"]) for rule in rules} == {(9098, 9098)}
    assert not [rule for rule in rules if "CidrIp" in rule]


def test_workers_come_and_go_and_the_version_is_that_of_the_requirements(template: dict[str, Any]) -> None:
    environment = template["Resources"]["Environment"]["Properties"]
    assert f"apache-airflow=={environment['AirflowVersion']}\n" in (package.ROOT / "requirements.txt").read_text()
    parameters = template["Parameters"]
    assert parameters["MinWorkers"]["Default"] < parameters["MaxWorkers"]["Default"]


def test_policies_of_the_role_fit_into_it(template: dict[str, Any]) -> None:
    """AWS allows 10,240 characters of inline policies on a role, white space not counted."""
    ours = {"AirflowPolicy", "LakePolicy", "KafkaPolicy"}
    text = json.dumps([each for name, each in statements(template) if name in ours], separators=(",", ":"))
    cluster = re.compile(r'\{"Fn::Sub":\["([^"]*)",\{"Cluster":.*?\}\]\}')
    text = cluster.sub(lambda found: json.dumps(found[1].replace("${Cluster}", "c" * 31 + "/" + "u" * 38)), text)
    text = (
        re.sub(r'\{"Fn::Sub":("[^"]*")\}', r"\1", text)
        .replace("${AWS::Partition}", "aws")
        .replace("${AWS::Region}", "ap-southeast-1")
    )
    assert len(text.replace("${AWS::AccountId}", "1" * 12)) < 10_240
