"""The tables of docs/msk.md: settings, rights of each role, numbers of partitions. The text around them is by hand."""

import re

from kafka_access.settings import entries
from order_fraud.rights import ROLES, Right, rights
from order_fraud.topics import TOPICS


def msk_page(text: str) -> str:
    """Return docs/msk.md with its tables as the code has them.

    Raises:
        ValueError: a table has no place in the text.
    """
    for name, lines in {"settings": _settings(), "rights": _rights(), "partitions": _partitions()}.items():
        begin, end = f"<!-- {name}: made by `python docs/generate.py` -->", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise ValueError(f"docs/msk.md needs, once and in this order, {begin} and {end}")
        made = "".join((begin, *lines, end)) if len(lines) == 1 else "\n".join((begin, *lines, end))
        text = pattern.sub(made.replace("\\", r"\\"), text)
    return text


def _settings() -> list[str]:
    lines = ["| variable | in the extra of a connection | takes | default | meaning |", "|---|---|---|---|---|"]
    places = {"brokers": "*host* (and *port*)", "user": "*login*", "password": "*password*"}
    for entry in entries():
        place = places.get(entry.field, f"`{entry.field}`")
        default = f"`{entry.default}`" if entry.default else "-"
        lines.append(f"| `{entry.variable}` | {place} | {entry.allowed} | {default} | {entry.meaning} |")
    return lines


def _rights() -> list[str]:
    lines = [
        "| role | services of the registry | writes | reads | consumer groups | transactional ids |",
        "|---|---|---|---|---|---|",
    ]
    for role, services in ROLES.items():
        its = rights(services)
        groups = [f"{_name(one)} ({', '.join(one.operations)})" for one in its if one.kind == "group"]
        cells = [_topics(its, "write"), _topics(its, "read"), ", ".join(groups)]
        cells.append(", ".join(_name(one) for one in its if one.kind == "transactional_id"))
        lines.append(f"| `{role}` | {', '.join(services)} | {' | '.join(cell or '-' for cell in cells)} |")
    return lines


def _topics(its: list[Right], operation: str) -> str:
    return ", ".join(_name(one) for one in its if one.kind == "topic" and operation in one.operations)


def _name(right: Right) -> str:
    return f"`{right.name}{'*' if right.prefixed else ''}`"


def _partitions() -> list[str]:
    compacted = [topic for topic in TOPICS if topic.compacted]
    many = sum(topic.partitions for topic in compacted)
    others = sum(topic.partitions for topic in TOPICS if not topic.compacted)
    return [
        f"The registry has {many} compacted partitions in {len(compacted)} topics, and {others} others in "
        f"{len(TOPICS) - len(compacted)}.",
    ]
