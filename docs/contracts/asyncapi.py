"""docs/asyncapi.yaml: the registry of topics and the events as an AsyncAPI 3.0 document."""

from typing import Any

import msgspec
import yaml

from docs.contracts.pages import NOTE, writers
from order_fraud import events, topics
from order_fraud.events import Event
from order_fraud.topics import DEAD_LETTERS, DELIVERY_WATCH, REPLAYS, Topic

HISTORY = "History"
RAW = {DEAD_LETTERS.name: "DeadLetter", DELIVERY_WATCH.name: "Waiting", REPLAYS.name: "Replay"}
"""What records that are no events are called; all others of that kind are histories."""

KAFKA_BINDING = "0.5.0"


def document(examples: dict[str, Event]) -> dict[str, Any]:
    """Return the AsyncAPI document as plain data."""
    _, schemas = msgspec.json.schema_components([events.AnyEvent], ref_template="#/components/schemas/{name}")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Countersign",
            "version": "1.0.0",
            "description": "Order-fraud verdicts in real time, countersigned every day. " + _text(events.__doc__),
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": "127.0.0.1:19092",
                "protocol": "kafka",
                "description": "the embedded broker of `make up`",
            }
        },
        "channels": {topic.name: _channel(topic) for topic in topics.TOPICS},
        "operations": _operations(),
        "components": {
            "messages": {name: _message(name, example) for name, example in examples.items()} | _raw_messages(),
            "schemas": {name: _plain(schema) for name, schema in schemas.items()},
        },
    }


def asyncapi_page(examples: dict[str, Event]) -> str:
    """Return docs/asyncapi.yaml."""
    note = NOTE.format(source="plugins/order_fraud/topics.py and events.py")
    body = yaml.dump(document(examples), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return note.replace("<!--", "#").replace(" -->", "") + body


class _Dumper(yaml.SafeDumper):
    """Repeats what occurs twice: anchors are hard to read."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def message_names(topic: Topic) -> list[str]:
    """Return the messages that a topic carries."""
    if topic.writers:
        return [cls.__name__ for cls in topic.writers]
    return [RAW.get(topic.name, HISTORY)]


def _channel(topic: Topic) -> dict[str, Any]:
    config: dict[str, Any] = {
        "cleanup.policy": [topic.config["cleanup.policy"]],
        "max.message.bytes": topic.max_message_bytes,
    }
    if topic.retention_ms is not None:
        config["retention.ms"] = topic.retention_ms
    return {
        "address": topic.name,
        "description": f"{topic.description} Record key: {topic.key}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in message_names(topic)},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": config,
                "bindingVersion": KAFKA_BINDING,
            }
        },
    }


def _operations() -> dict[str, Any]:
    """Return one ``send`` per topic and writer, with the messages it alone may send, and one ``receive`` per
    reader.
    """
    found: dict[str, Any] = {}
    for topic in topics.TOPICS:
        for service in writers(topic):
            sent = [cls.__name__ for cls, writer in topic.writers.items() if writer == service] or message_names(topic)
            found[f"{_slug(service)}.send.{topic.name}"] = _operation("send", service, topic, sent)
        for service in topic.readers:
            found[f"{_slug(service)}.receive.{topic.name}"] = _operation(
                "receive", service, topic, message_names(topic)
            )
    return found


def _operation(action: str, service: str, topic: Topic, messages: list[str]) -> dict[str, Any]:
    return {
        "action": action,
        "title": f"{service}: {'writes' if action == 'send' else 'reads'} {topic.name}",
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "tags": [{"name": service}],
        "messages": [{"$ref": f"#/channels/{topic.name}/messages/{name}"} for name in messages],
    }


def _message(name: str, example: Event) -> dict[str, Any]:
    return {
        "name": name,
        "title": name,
        "summary": _text(type(example).__doc__),
        "contentType": "application/cloudevents+json; charset=UTF-8",
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "examples": [{"name": name[0].lower() + name[1:], "payload": msgspec.json.decode(events.encode(example))}],
    }


def _raw_messages() -> dict[str, Any]:
    header = {"type": "string"}
    return {
        "DeadLetter": {
            "name": "DeadLetter",
            "title": "A record that could not be used",
            "summary": "Key and value byte for byte as they came; the headers say why and from where.",
            "contentType": "application/octet-stream",
            "headers": {
                "type": "object",
                "required": ["reason", "topic", "partition", "offset", "service"],
                "properties": {
                    "reason": header | {"description": "why it was refused, in a sentence that names the field"},
                    "topic": header | {"description": "that it stood on"},
                    "partition": header | {"description": "of that topic, decimal"},
                    "offset": header | {"description": "in that partition, decimal"},
                    "service": header | {"description": "that refused it: fraud or delivery"},
                },
            },
        },
        HISTORY: {
            "name": HISTORY,
            "title": "What is remembered of one entity",
            "summary": "The fraud service's own state, order_fraud.history.History as MessagePack, for it alone.",
            "contentType": "application/msgpack",
        },
        "Waiting": {
            "name": "Waiting",
            "title": "An order that waits for a verdict",
            "summary": "The delivery service's own state, order_fraud.watch.Entry as MessagePack, for it alone.",
            "contentType": "application/msgpack",
        },
        "Replay": {
            "name": "Replay",
            "title": "A record that was sent again",
            "summary": "Key: where it stood and where it was sent to; value: when, in UTC.",
            "contentType": "application/json",
            "payload": {"type": "object"},
        },
    }


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with its docstring as a description in plain writing."""
    return schema | {"description": _text(schema.get("description"))}


def _slug(service: str) -> str:
    return service.replace(" ", "-")


def _text(doc: str | None) -> str:
    return " ".join((doc or "").replace("``", "`").split())
