"""docs/events.md, docs/signals.md, docs/scorecard.schema.json and docs/flow.schema.json."""

import json
from typing import Any

import msgspec

from lake.landing.flow import Flow
from order_fraud import events, signals, topics
from order_fraud.events import Event
from order_fraud.scorecard import Scorecard
from order_fraud.topics import Topic

NOTE = "<!-- Made by `python docs/generate.py` from {source}. Change it there. -->\n"


def events_page(examples: dict[str, Event]) -> str:
    """Return docs/events.md: every topic, every event with its fields and an example."""
    lines = [
        NOTE.format(source="plugins/order_fraud/topics.py and events.py"),
        "# Events and topics",
        "",
        _text(events.__doc__),
        "",
        "A record that is no such event goes to `dead-letters` with the reason; it stops nothing. What other producers",
        "add to the envelope or to `data` is read over. The same contracts",
        "as AsyncAPI 3.0: [asyncapi.yaml](asyncapi.yaml).",
        "",
        "## Topics",
        "",
        "| topic | key | partitions | kept | written by | read by |",
        "|---|---|---|---|---|---|",
        *(_topic_row(topic) for topic in topics.TOPICS),
        "",
    ]
    for topic in topics.TOPICS:
        lines += _topic_section(topic)
    lines += ["## Events", ""]
    schemas = _schemas()
    for name in events.EVENT_TYPES:
        lines += _event_section(name, schemas, examples[name])
    lines += ["## Parts of events", ""]
    for name in _parts(schemas):
        lines += [f"### `{name}`", "", _text(schemas[name].get("description")), "", *_fields(schemas[name]), ""]
    return "\n".join(lines).rstrip() + "\n"


def signals_page() -> str:
    """Return docs/signals.md: what each number on an order means."""
    lines = [
        NOTE.format(source="plugins/order_fraud/signals.py"),
        "# Signals",
        "",
        _text(signals.__doc__),
        "",
        "| signal | of | unit | meaning | how | what it costs |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{one.name}` | {', '.join(one.entities)} | {one.unit} | {one.meaning} | `{_cell(one.formula)}` "
        f"| {one.cost} |"
        for one in signals.CATALOGUE
    ]
    names = "\n".join(f"- `{name}`" for name in sorted(signals.NAMES))
    lines += ["", f"All {len(signals.NAMES)} names as they stand on an order:", "", names]
    return "\n".join(lines) + "\n"


def scorecard_schema() -> str:
    """Return docs/scorecard.schema.json: what a scorecard may hold, for editors and other tools."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Countersign scorecard"}
    return json.dumps(schema | msgspec.json.schema(Scorecard), indent=2) + "\n"


def flow_schema() -> str:
    """Return docs/flow.schema.json: what a flow file may say, for editors and other tools."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Countersign flow"}
    return json.dumps(schema | msgspec.json.schema(Flow), indent=2) + "\n"


def kept(topic: Topic) -> str:
    """Say how long records stay."""
    return (
        "the last of each key, for ever"
        if topic.retention_ms is None
        else f"{topic.retention_ms // topics.DAY_MS} days"
    )


def writers(topic: Topic) -> list[str]:
    """Return the services that write a topic, each once."""
    return list(dict.fromkeys([*topic.writers.values(), *topic.raw_writers]))


def _topic_row(topic: Topic) -> str:
    read_by = ", ".join(topic.readers) or "people"
    return (
        f"| [`{topic.name}`](#{_anchor(topic.name)}) | {topic.key} | {topic.partitions} | {kept(topic)} "
        f"| {', '.join(writers(topic))} | {read_by} |"
    )


def _topic_section(topic: Topic) -> list[str]:
    lines = [f"### {topic.name}", "", topic.description, ""]
    if topic.writers:
        lines += ["| event | its one writer |", "|---|---|"]
        lines += [
            f"| [`{cls.__name__}`](#{cls.__name__.lower()}) | {writer} |" for cls, writer in topic.writers.items()
        ]
    else:
        lines += ["Its records are not events of the catalogue below."]
    config = ", ".join(f"`{name}={value}`" for name, value in topic.config.items())
    return [*lines, "", f"On the broker: {topic.partitions} partitions, {config}.", ""]


def _event_section(name: str, schemas: dict[str, Any], example: Event) -> list[str]:
    schema = schemas[name]
    payload = schema["properties"]["data"]["$ref"].rsplit("/", 1)[1]
    on = ", ".join(
        f"[`{topic.name}`](#{_anchor(topic.name)})" for topic in topics.TOPICS if type(example) in topic.writers
    )
    pretty = msgspec.json.format(events.encode(example), indent=2).decode()
    return [
        f"### {name}",
        "",
        _text(schema.get("description")),
        "",
        f"On {on}. `data` is a [`{payload}`](#{payload.lower()}).",
        "",
        *_fields(schema),
        "",
        "```json",
        pretty,
        "```",
        "",
    ]


def _fields(schema: dict[str, Any]) -> list[str]:
    required = set(schema["required"])
    lines = ["| field | type | meaning | must it be there |", "|---|---|---|---|"]
    for name, field in schema["properties"].items():
        kind, meaning = _kind(field), _meaning(name, field)
        lines.append(f"| `{name}` | {kind} | {meaning} | {'yes' if name in required else 'no'} |")
    return lines


def _kind(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[1]
        return f"[`{name}`](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(_kind(one) for one in field["anyOf"])
    if "allOf" in field:
        return _kind(field["allOf"][0])
    if "enum" in field:
        return " · ".join(f"`{value}`" for value in field["enum"])
    kind = field["type"]
    if kind == "array":
        return f"list of {_kind(field['items'])}"
    if kind == "object":
        return f"object of {_kind(field['additionalProperties'])} by name"
    return kind + _limits(field)


def _limits(field: dict[str, Any]) -> str:
    said = []
    if "minimum" in field:
        said.append(f"{field['minimum']:,} to {field['maximum']:,}")
    if "pattern" in field:
        said.append(f"`{field['pattern']}`")
    elif "maxLength" in field:
        said.append(f"{field.get('minLength', 0)} to {field['maxLength']} characters")
    if "format" in field:
        said.append(f"RFC 3339 {field['format']}")
    return f", {'; '.join(said)}" if said else ""


def _meaning(name: str, field: dict[str, Any]) -> str:
    found = field.get("description")
    if found is None and "anyOf" in field:
        found = next((one["description"] for one in field["anyOf"] if "description" in one), None)
    if found is None:
        found = {"type": "what happened", "data": "the matter itself", "specversion": "of CloudEvents"}.get(name, "")
    return _cell(found)


def _schemas() -> dict[str, Any]:
    return msgspec.json.schema_components([events.AnyEvent], ref_template="#/{name}")[1]


def _parts(schemas: dict[str, Any]) -> list[str]:
    return sorted(schemas.keys() - events.EVENT_TYPES.keys())


def _text(doc: str | None) -> str:
    return (doc or "").replace("``", "`").strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _anchor(name: str) -> str:
    return name.replace(".", "")
