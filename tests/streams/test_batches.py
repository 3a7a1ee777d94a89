"""The batch API, settings and the topic check, without a worker."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from kafka_access import Access
from order_fraud import rights, topics
from streams import admin
from streams.__main__ import EXIT_NOT_READY, EXIT_USAGE, main
from streams.batch import Batch, batches
from streams.settings import Settings, from_environment
from tests.streams.witness import wait_for


def test_a_batch_is_reported_only_when_the_agent_comes_back_for_more() -> None:
    finished: list[str] = []

    async def stream() -> AsyncIterator[Batch]:
        for name in ("first", "second"):
            batch = Batch(name, 0, [], next_offset=0)
            batch.on_finished = lambda batch: finished.append(batch.topic)
            yield batch

    async def agent() -> None:
        async for batch in batches(stream()):
            if batch.topic == "second":
                raise RuntimeError("the agent fails on the second batch")
            assert finished == []

    with pytest.raises(RuntimeError, match="second batch"):
        asyncio.run(agent())
    assert finished == ["first"]


def test_a_batch_of_two_agents_is_finished_when_both_came_through() -> None:
    finished: list[str] = []
    batch = Batch("t", 0, [], next_offset=0, readers=2)
    batch.on_finished = lambda batch: finished.append(batch.topic)
    batch.came_through()
    assert finished == []
    batch.came_through()
    assert finished == ["t"]


def test_settings_come_from_the_environment() -> None:
    assert from_environment({}) == Settings()
    given = {"COUNTERSIGN_KAFKA": "broker:1", "COUNTERSIGN_BATCH_RECORDS": "5", "COUNTERSIGN_GROUP": "mine"}
    assert from_environment(given) == Settings(kafka=Access(brokers="broker:1"), batch_records=5, group="mine")


def test_a_wrong_setting_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERSIGN_BATCH_RECORDS", "many")
    assert main(["worker"]) == EXIT_USAGE
    assert "COUNTERSIGN_BATCH_RECORDS" in capsys.readouterr().err


def test_a_topic_that_differs_from_the_registry_is_a_clear_start_up_error(
    bootstrap: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.check(bootstrap)
    assert admin.create(bootstrap) == []
    client = AdminClient({"bootstrap.servers": bootstrap})
    other = topics.Topic(
        name="test.other", key="-", writers={}, readers=(topics.FRAUD,), description="-", partitions=3, retention_ms=1
    )
    client.create_topics([NewTopic(other.name, 2)])[other.name].result()
    wait_for(lambda: other.name in client.list_topics(timeout=5).topics)
    missing = topics.Topic(name="test.missing", key="-", writers={}, readers=(topics.FRAUD,), description="-")
    for module in (admin, rights):
        monkeypatch.setattr(module, "TOPICS", (*topics.TOPICS, other, missing))
    monkeypatch.setenv("COUNTERSIGN_KAFKA", bootstrap)
    assert main(["worker"]) == EXIT_NOT_READY
    said = capsys.readouterr().err
    assert "test.other has 2 partitions, the registry says 3" in said
    assert "test.missing is missing" in said


def test_no_broker_is_a_clear_error(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "TIMEOUT_S", 1.0)
    assert admin.main(["check", "--bootstrap", "127.0.0.1:1"]) == 5
    assert "127.0.0.1:1" in capsys.readouterr().err
