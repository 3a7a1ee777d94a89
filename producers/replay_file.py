"""Records in a file, one JSON object a line: what ``--export`` writes, people repair, and ``--import`` reads."""

import base64
import binascii
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from producers.replay_source import Found

SHOWN = 20


class BadLines(Exception):
    """The file cannot be used as it is; the message names the lines and what is wrong with each."""


class Base64(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes that are no UTF-8 text."""

    base64: str


Bytes = str | Base64 | None


class From(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the record stands; not to be edited, or it could be sent twice."""

    topic: str
    partition: int
    offset: int
    time: datetime


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """One record."""

    from_: From
    to: str | None
    key: Bytes
    value: Bytes
    reason: str | None = None
    headers: tuple[tuple[str, Bytes], ...] = ()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


def line(found: Found) -> bytes:
    """Return a record as one line of the file."""
    time = datetime.fromtimestamp(max(found.timestamp, 0) / 1000, UTC)
    headers = tuple((name, _out(value)) for name, value in found.headers)
    place = From(found.topic, found.partition, found.offset, time)
    return _encode(Line(place, found.target, _out(found.key), _out(found.value), found.reason, headers)) + b"\n"


def check(path: Path, to_topic: str | None) -> int:
    """Go over a whole file before anything of it is sent; return its number of records.

    Raises:
        BadLines: the message names the first lines that cannot be read.
        OSError: the file cannot be opened.
    """
    count = 0
    wrong: list[str] = []
    seen: dict[str, int] = {}
    for number, text in _lines(path):
        try:
            found = _found(text, to_topic)
        except ValueError as error:
            wrong.append(f"{path}, line {number}: {error}")
            continue
        if found.place in seen:
            wrong.append(f"{path}, line {number}: {found.place} stands on line {seen[found.place]} already")
        seen[found.place] = number
        count += 1
    if wrong:
        more = f"\n... and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise BadLines("\n".join(wrong[:SHOWN]) + more)
    return count


def records(path: Path, to_topic: str | None) -> Iterator[Found]:
    """Yield the records of a file that :func:`check` has passed."""
    for _, text in _lines(path):
        yield _found(text, to_topic)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        yield from ((number, text) for number, text in enumerate(file, 1) if text.strip())


def _found(text: bytes, to_topic: str | None) -> Found:
    """Return the record of a line.

    Raises:
        ValueError: it cannot be read; the message says why.
    """
    try:
        read = _decode(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"no UTF-8 ({error.reason}): bytes that are no text are written as base64") from error
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
    place = read.from_
    timestamp = int(place.time.timestamp() * 1000)
    return Found(
        place.topic,
        place.partition,
        place.offset,
        timestamp,
        _in(read.key, "key"),
        _in(read.value, "value"),
        tuple((name, _in(value, f"header {name}")) for name, value in read.headers),
        to_topic or read.to,
        read.reason,
    )


def _out(value: bytes | None) -> Bytes:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return Base64(base64.b64encode(value).decode())


def _in(value: Bytes, what: str) -> bytes | None:
    if not isinstance(value, Base64):
        return None if value is None else value.encode()
    try:
        return base64.b64decode(value.base64, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"the {what} is no base64: {error}") from error
