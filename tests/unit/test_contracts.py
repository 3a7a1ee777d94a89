"""The registry and the pages made from it: one writer each, no name twice, no drift, examples that hold."""

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from docs.contracts.asyncapi import message_names
from docs.contracts.examples import examples
from order_fraud import events, signals, topics
from order_fraud.relay import ROUTE

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CODE = ("plugins", "streams", "dags", "producers", "sandbox", "stack")
NAMES = {topic.name for topic in topics.TOPICS}
EXAMPLES = examples()


def asyncapi() -> dict[str, Any]:
    return yaml.safe_load((DOCS / "asyncapi.yaml").read_text())


def resolve(document: dict[str, Any], ref: str) -> Any:
    """Follow ``#/a/b``."""
    found: Any = document
    for part in ref.removeprefix("#/").split("/"):
        found = found[part]
    return found


def test_the_pages_say_what_the_code_says() -> None:
    found = subprocess.run(
        [sys.executable, DOCS / "generate.py", "--check"], capture_output=True, text=True, check=False, timeout=60
    )
    assert found.returncode == 0, f"{found.stdout}{found.stderr}\nrun: .venv/streams/bin/python docs/generate.py"


def test_no_topic_name_is_written_anywhere_but_in_the_registry() -> None:
    found = []
    for path in (path for folder in CODE for path in (ROOT / folder).rglob("*.py")):
        if path == ROOT / "plugins" / "order_fraud" / "topics.py":
            continue
        found += [
            f"{path.relative_to(ROOT)}:{node.lineno}: {node.value!r}: take it from order_fraud.topics"
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and node.value in NAMES
        ]
    assert found == []


def test_every_topic_is_declared_once_and_registered() -> None:
    declared = [value for value in vars(topics).values() if isinstance(value, topics.Topic)]
    assert Counter(topic.name for topic in topics.TOPICS) == Counter(topic.name for topic in declared)
    assert len(NAMES) == len(topics.TOPICS)
    assert {topic.name for topic in topics.ARCHIVED} <= NAMES


def test_archived_topics_stand_behind_all_that_leads_to_them() -> None:
    """What is marked last when a landing begins stands first: else an effect could land without its cause."""
    place = {topic.name: number for number, topic in enumerate(topics.ARCHIVED)}
    led = [(hop.reads, later.reads) for hop in ROUTE for later in hop.later]
    led += [(cause, topics.FRAUD_VERDICTS) for cause in (topics.FRAUD_POLICIES, *(hop.reads for hop in ROUTE))]
    led += [(topics.FRAUD_VERDICTS, topics.DELIVERY_EVENTS)]
    assert [(cause.name, effect.name) for cause, effect in led if place[cause.name] > place[effect.name]] == []


@pytest.mark.parametrize("topic", topics.TOPICS, ids=lambda topic: topic.name)
def test_every_writer_and_reader_is_a_service_of_ours(topic: topics.Topic) -> None:
    assert {*topic.writers.values(), *topic.raw_writers, *topic.readers} <= set(topics.SERVICES)
    assert topic.writers or topic.raw_writers
    assert not (topic.writers and topic.raw_writers), "a topic carries events or raw records, not both"
    assert topic.description.endswith(".")
    assert topic.key


def test_every_event_type_has_one_writer_and_one_topic_besides_the_relay() -> None:
    relayed = {hop.reads.name for hop in ROUTE[1:]}
    written = Counter(cls.__name__ for topic in topics.TOPICS if topic.name not in relayed for cls in topic.writers)
    assert written == Counter(list(events.EVENT_TYPES))
    for topic in (topic for topic in topics.TOPICS if topic.name in relayed):
        assert set(topic.writers) == set(ROUTE[0].reads.writers)


def test_a_changelog_lies_partition_for_partition_beside_what_its_hop_reads() -> None:
    for hop in ROUTE:
        assert hop.changelog.partitions == hop.reads.partitions
        assert hop.changelog.config["cleanup.policy"] == "compact"
        assert "retention.ms" not in hop.changelog.config
        assert not hop.reads.compacted
        assert hop.reads.config["retention.ms"] == str(hop.reads.retention_ms)
    assert topics.DELIVERY_WATCH.partitions == topics.CUSTOMER_EVENTS.partitions
    assert topics.FRAUD_VERDICTS.partitions == topics.DEAD_LETTERS.partitions == topics.CUSTOMER_EVENTS.partitions


def test_a_dead_letter_may_be_longer_than_any_record_of_another_topic() -> None:
    headers = 64 * 1024
    longest = max(topic.max_message_bytes for topic in topics.TOPICS if topic is not topics.DEAD_LETTERS)
    assert topics.DEAD_LETTERS.max_message_bytes >= longest + headers
    assert all(topic.config["max.message.bytes"] == str(topic.max_message_bytes) for topic in topics.TOPICS)


@pytest.mark.parametrize("name", list(events.EVENT_TYPES))
def test_an_example_is_read_by_the_code_and_holds_under_the_published_schema(name: str) -> None:
    document = asyncapi()
    message = document["components"]["messages"][name]
    (example,) = message["examples"]
    assert events.decode(json.dumps(example["payload"]).encode()) == EXAMPLES[name]
    validator = Draft202012Validator({"$ref": message["payload"]["$ref"], "components": document["components"]})
    validator.validate(example["payload"])
    for field in document["components"]["schemas"][name]["required"]:
        with pytest.raises(ValidationError, match=f"'{field}' is a required property"):
            validator.validate({key: value for key, value in example["payload"].items() if key != field})


def test_the_schemas_are_themselves_right() -> None:
    for schema in asyncapi()["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_examples_on_the_page_are_events() -> None:
    blocks = re.findall(r"```json\n(.*?)```", (DOCS / "events.md").read_text(), re.DOTALL)
    assert [events.decode(block.encode()) for block in blocks] == [EXAMPLES[name] for name in events.EVENT_TYPES]


def test_every_reference_in_the_asyncapi_file_leads_somewhere() -> None:
    document = asyncapi()
    references = re.findall(r"\$ref: '(#/[^']+)'", (DOCS / "asyncapi.yaml").read_text())
    assert len(references) > 50
    for reference in references:
        assert resolve(document, reference)


def test_the_asyncapi_file_shows_one_sender_per_event_and_topic() -> None:
    document = asyncapi()
    assert document["asyncapi"] == "3.0.0"
    assert set(document["channels"]) == NAMES
    for topic in topics.TOPICS:
        sent = Counter(
            message["$ref"].rsplit("/", 1)[1]
            for operation in document["operations"].values()
            if operation["action"] == "send" and operation["channel"]["$ref"] == f"#/channels/{topic.name}"
            for message in operation["messages"]
        )
        assert set(sent) == set(message_names(topic))
        if topic.writers:
            assert set(sent.values()) == {1}
        binding = document["channels"][topic.name]["bindings"]["kafka"]
        assert (binding["topic"], binding["partitions"]) == (topic.name, topic.partitions)


def test_every_field_of_an_event_says_what_it_means() -> None:
    silent = [
        f"{name}.{field}"
        for name, schema in asyncapi()["components"]["schemas"].items()
        for field, found in schema["properties"].items()
        if field not in {"type", "data", "specversion"}
        and not any("description" in one for one in [found, *found.get("anyOf", [])])
    ]
    assert silent == []


def test_the_signals_page_names_every_signal() -> None:
    page = (DOCS / "signals.md").read_text()
    assert set(re.findall(r"^- `([a-z_0-9.]+)`$", page, re.MULTILINE)) == signals.NAMES
