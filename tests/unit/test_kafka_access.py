"""The one object that says how to get into Kafka, the tokens of MSK IAM, and how patient a refused client is."""

import base64
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
from confluent_kafka import KafkaError, Producer

from kafka_access import Access, BadAccess, Patience, Refused, access, client, enter, refusal
from kafka_access.refusals import PATIENCE_S, QUIET_S
from kafka_access.settings import entries
from kafka_access.tokens import NoToken, token
from order_fraud.rights import ROLES, rights
from order_fraud.topics import TOPICS
from streams import admin, iam
from streams.acls import commands

ROOT = Path(__file__).resolve().parents[2]
SCRAM = {
    "COUNTERSIGN_KAFKA": "b-1:9096,b-2:9096",
    "COUNTERSIGN_KAFKA_SECURITY": "scram",
    "COUNTERSIGN_KAFKA_USER": "shop",
    "COUNTERSIGN_KAFKA_PASSWORD": "secret",
}
IAM = {"COUNTERSIGN_KAFKA_SECURITY": "iam", "AWS_REGION": "eu-central-1"}
CLUSTER = "arn:aws:kafka:eu-central-1:123456789012:cluster/orders/1b2c3d4e-5"


def test_nothing_set_is_plaintext_and_an_empty_variable_is_not_set() -> None:
    assert access({}) == access({"COUNTERSIGN_KAFKA_SECURITY": " "}) == Access()
    assert client("b:1") == {"bootstrap.servers": "b:1", "security.protocol": "PLAINTEXT"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"COUNTERSIGN_KAFKA_SECURITY": "tls", "COUNTERSIGN_KAFKA_CA": "ca"},
            {"security.protocol": "SSL", "ssl.ca.location": "ca"},
        ),
        (
            {
                "COUNTERSIGN_KAFKA_SECURITY": "tls",
                "COUNTERSIGN_KAFKA_CERTIFICATE": "c",
                "COUNTERSIGN_KAFKA_KEY": "k",
                "COUNTERSIGN_KAFKA_KEY_PASSWORD": "p",
            },
            {"ssl.certificate.location": "c", "ssl.key.location": "k", "ssl.key.password": "p"},
        ),
        (
            SCRAM,
            {
                "bootstrap.servers": "b-1:9096,b-2:9096",
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.username": "shop",
                "sasl.password": "secret",
            },
        ),
        (IAM, {"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER"}),
    ],
)
def test_each_way_in_is_what_librdkafka_wants_for_it(given: Mapping[str, str], expected: dict[str, str]) -> None:
    assert client(access(given)).items() >= expected.items()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"COUNTERSIGN_KAFKA_SECURITY": "ssl"}, "COUNTERSIGN_KAFKA_SECURITY='ssl': must be plaintext or tls or scram"),
        (SCRAM | {"COUNTERSIGN_KAFKA_PASSWORD": ""}, "needs COUNTERSIGN_KAFKA_PASSWORD"),
        (SCRAM | {"COUNTERSIGN_KAFKA_SECURITY": "plaintext"}, "COUNTERSIGN_KAFKA_USER is set, but"),
        (SCRAM | {"COUNTERSIGN_KAFKA_MECHANISM": "PLAIN"}, "must be SCRAM-SHA-512 or SCRAM-SHA-256"),
        ({"COUNTERSIGN_KAFKA_SECURITY": "iam"}, "needs COUNTERSIGN_KAFKA_REGION"),
        ({"COUNTERSIGN_KAFKA_SECURITY": "tls", "COUNTERSIGN_KAFKA_KEY": "k"}, "COUNTERSIGN_KAFKA_CERTIFICATE is not"),
        ({"COUNTERSIGN_KAFKA_PASWORD": "x"}, "COUNTERSIGN_KAFKA_PASWORD: there is no such setting"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(given: Mapping[str, str], words: str) -> None:
    with pytest.raises(BadAccess) as caught:
        access(given)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_no_secret_is_shown() -> None:
    known = access(SCRAM)
    assert "secret" not in f"{known} {known!r}"
    assert str(known) == "b-1:9096,b-2:9096"
    assert {entry.field for entry in entries() if entry.secret} == {"password", "key_password"}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invented credentials, and no others within reach."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "invented")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.usefixtures("aws")
def test_a_token_of_amazons_signer_is_a_signed_url_and_expires_in_seconds() -> None:
    signed, expires = token(access(IAM))
    url = urlparse(base64.urlsafe_b64decode(signed + "=" * (-len(signed) % 4)).decode())
    asked = parse_qs(url.query)
    assert url.hostname == "kafka.eu-central-1.amazonaws.com"
    assert asked["Action"] == ["kafka-cluster:Connect"]
    assert asked["X-Amz-Credential"][0].startswith("AKIDEXAMPLE/")
    assert len(asked["X-Amz-Signature"][0]) == 64
    assert 800 < expires - time.time() <= 900


@pytest.mark.usefixtures("aws")
def test_librdkafka_takes_the_real_token_without_being_polled() -> None:
    """It would refuse one that has expired, as one in milliseconds would only do in the year 50,000."""
    asked: list[float] = []
    settings = client(access(IAM | {"COUNTERSIGN_KAFKA": "127.0.0.1:1"}))
    real = settings["oauth_cb"]

    def callback(config: str) -> tuple[str, float]:
        signed, expires = real(config)
        asked.append(expires)
        return signed, expires

    Producer(settings | {"oauth_cb": callback, "log_level": 0})
    assert len(asked) == 1


def test_without_credentials_it_says_so(aws: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(NoToken, match="no AWS credentials were found; give the process a role"):
        token(access(IAM))
    with pytest.raises(Refused, match="no AWS credentials were found"):
        enter(access(IAM))


class Clock:
    """Time that goes on when it is told to."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("pauses", "refused"),
    [
        ([PATIENCE_S / 4] * 3, False),
        ([PATIENCE_S / 4] * 4, True),
        ([QUIET_S + 1] * 9, False),  # let in between
    ],
)
def test_only_who_is_refused_for_long_is_refused_for_good(pauses: list[float], refused: bool) -> None:
    clock = Clock()
    patience = Patience(access(SCRAM), clock)
    heard = [patience.hear(KafkaError(KafkaError._AUTHENTICATION))]
    for pause in pauses:
        clock.now += pause
        assert patience.hear(KafkaError(KafkaError._ALL_BROKERS_DOWN)) is None
        heard.append(patience.hear(KafkaError(KafkaError._AUTHENTICATION)))
    assert any(heard) == refused


def test_a_refusal_names_principal_thing_and_broker_in_one_line() -> None:
    said = str(
        refusal(KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED), access(SCRAM), transactional_id="a/b")
    )
    assert said.startswith("Kafka at b-1:9096,b-2:9096 does not let User:shop use transactional id a/b (")
    assert "\n" not in said
    assert refusal(KafkaError(KafkaError._TRANSPORT), "b:1") is None


def test_no_client_but_this_one_names_brokers_to_librdkafka() -> None:
    """Contenders of the benchmark are what they are elsewhere, and talk to the broker that it has started."""
    folders = ("streams", "plugins", "producers", "stack", "dags", "evaluation", "benchmarks", "sandbox")
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"bootstrap[._]servers", path.read_text())
    }
    assert found - {"plugins/kafka_access/configuration.py"} <= {"benchmarks/contenders/confluent_loop.py"}


def test_a_policy_of_iam_has_the_actions_of_each_right_and_no_star_alone() -> None:
    made: dict[str, Any] = iam.policy(CLUSTER, rights(ROLES["worker"]))
    by_resource = {
        resource: statement["Action"] for statement in made["Statement"] for resource in statement["Resource"]
    }
    base = CLUSTER.replace(":cluster/", ":{}/")
    assert by_resource[CLUSTER] == [
        "kafka-cluster:Connect",
        "kafka-cluster:WriteDataIdempotently",
        "kafka-cluster:DescribeCluster",
    ]
    assert by_resource[base.format("topic") + "/fraud.verdicts"] == [
        "kafka-cluster:DescribeTopic",
        "kafka-cluster:ReadData",
        "kafka-cluster:WriteData",
    ]
    assert by_resource[base.format("topic") + "/customer.events"] == [
        "kafka-cluster:DescribeTopic",
        "kafka-cluster:ReadData",
    ]
    assert by_resource[base.format("group") + "/countersign"] == [
        "kafka-cluster:AlterGroup",
        "kafka-cluster:DescribeGroup",
    ]
    assert by_resource[base.format("transactional-id") + "/countersign/*"] == [
        "kafka-cluster:AlterTransactionalId",
        "kafka-cluster:DescribeTransactionalId",
    ]
    assert all(re.fullmatch(r"[A-Za-z0-9]+", statement["Sid"]) for statement in made["Statement"])
    landing = iam.policy(CLUSTER, rights(ROLES["landing"]))
    assert landing["Statement"][0]["Action"] == ["kafka-cluster:Connect"]
    assert "Write" not in str(landing)


def test_msk_serverless_takes_the_topics() -> None:
    """Its quota is 120 compacted partitions, and of the settings it lets nobody change any but these."""
    assert sum(topic.partitions for topic in TOPICS if topic.compacted) <= 120
    for topic in TOPICS:
        settings = admin._config(topic, serverless=True)
        assert settings.keys() <= {"cleanup.policy", "max.message.bytes", "retention.ms"}
        assert settings["cleanup.policy"] == ("compact" if topic.compacted else "delete")
        assert int(settings["max.message.bytes"]) <= 8_388_608


def test_commands_for_kafkas_own_tool() -> None:
    assert list(commands("User:settle", rights(ROLES["settle"])))[-1].endswith(
        "--add --allow-principal User:settle --operation Write --transactional-id 'settle-fraud'"
    )
    assert any(line.endswith("--transactional-id 'countersign/' --resource-pattern-type prefixed")
               for line in commands("User:worker", rights(ROLES["worker"])))  # fmt: skip
