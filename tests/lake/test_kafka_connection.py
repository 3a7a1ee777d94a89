"""Where the tasks of a role take their way into Kafka from. Nobody answers at these addresses, which is no refusal."""

import json

import pytest

from kafka_access import Access
from lake import connections
from lake.connections import kafka
from lake.errors import Hopeless
from lake.landing.broker import KafkaRefuses
from lake.settings import BadSetting
from order_fraud.rights import ROLES, topics


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """No connection but those of a test, and what Kafka is asked for instead of a broker's answer."""
    found: list[object] = []
    monkeypatch.setattr(connections, "enter", lambda known, needed: found.append(needed))
    for name in ("COUNTERSIGN_KAFKA", "COUNTERSIGN_KAFKA_SECURITY", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    return found


def given(monkeypatch: pytest.MonkeyPatch, connection_id: str, **fields: object) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{connection_id.upper()}", json.dumps({"conn_type": "kafka", **fields}))


def test_a_role_has_its_own_connection_or_that_of_all_or_the_environment(
    monkeypatch: pytest.MonkeyPatch, asked: list[object]
) -> None:
    monkeypatch.setenv("COUNTERSIGN_KAFKA", "environment:1")
    assert kafka("landing") == Access(brokers="environment:1")
    given(monkeypatch, "kafka", host="all:1")
    assert kafka("landing") == Access(brokers="all:1")
    given(monkeypatch, "kafka_landing", host="own", port=2, login="l", password="p", extra={"security": "scram"})
    assert kafka("landing") == Access(brokers="own:2", security="scram", user="l", password="p")
    assert kafka("reconcile") == Access(brokers="all:1")
    landing, reconcile = topics(ROLES["landing"]), topics(ROLES["reconcile"])
    assert asked == [landing, landing, landing, reconcile]


def test_several_brokers_and_a_role_to_assume(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    role = "arn:aws:iam::123456789012:role/settle"
    given(monkeypatch, "kafka_settle", host="b-1:9098,b-2:9098", extra={"security": "iam", "role": role})
    assert kafka("settle") == Access(brokers="b-1:9098,b-2:9098", security="iam", region="eu-west-1", role=role)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"host": "b:1", "extra": {"security": "ssl"}}, "COUNTERSIGN_KAFKA_SECURITY='ssl': must be"),
        ({"host": "b:1", "extra": {"sasl.mechanism": "PLAIN"}}, "its extra has 'sasl.mechanism', which is no setting"),
        ({"host": "b:1", "extra": "[1]"}, "its extra is no JSON object"),
        ({"extra": {"security": "tls"}}, "has no host: write the brokers there"),
        ({"host": "b:1", "password": "hush"}, "COUNTERSIGN_KAFKA_PASSWORD is set, but"),
    ],
)
def test_a_connection_that_cannot_be_meant_so_is_named(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, object], words: str
) -> None:
    given(monkeypatch, "kafka", **fields)
    with pytest.raises(BadSetting, match="the Airflow connection kafka") as caught:
        kafka("landing")
    assert words in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_refusal_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(known: Access, needed: object) -> None:
        raise connections.Refused("Kafka at b:1 does not let User:l in")

    monkeypatch.setattr(connections, "enter", refuse)
    with pytest.raises(KafkaRefuses, match="User:l") as caught:
        kafka("landing")
    assert isinstance(caught.value, Hopeless)
