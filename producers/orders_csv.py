"""Reads and writes the public e-commerce order CSV.

Its columns: ``user_id, signup_time, purchase_time, purchase_value, device_id, source, browser, sex, age, ip_address,
class``, and where a file has them ``card, email_domain, address, country, ip_country``: fingerprint of the card, domain
of the e-mail address, fingerprint of the shipping address, country of the customer and of the ip. They are found by
name, in any order; ``sex``, ``age`` and ``class`` may be missing as well, and further columns are ignored. One row
stands on one line: a quoted field cannot span lines, so that one stray quote spoils one row only.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import BinaryIO

from producers import fields
from producers.book import BadRow, Book, Row, book
from producers.fields import BadField, shown

COLUMNS = (
    "user_id",
    "signup_time",
    "purchase_time",
    "purchase_value",
    "device_id",
    "source",
    "browser",
    "sex",
    "age",
    "ip_address",
    "class",
)
FURTHER = ("card", "email_domain", "address", "country", "ip_country")
"""Columns that the public set does not have."""

OPTIONAL = frozenset({"sex", "age", "class", *FURTHER})
MAX_LINE = 64 * 1024
"""Bytes; a longer line is refused without being kept in memory."""

_TRUTH = {"0": "normal", "1": "fraud"}


class BadFile(ValueError):
    """The file as a whole cannot be read as an order CSV; the message says why and what is expected."""


@dataclass(frozen=True, slots=True)
class _Header:
    width: int
    at: dict[str, int]


def read(path: Path) -> Book:
    """Read an order CSV: the good rows as a book, the bad ones with their line and reason.

    Raises:
        BadFile: the file cannot be opened, is empty, or its header lacks columns.
    """
    good: list[Row] = []
    bad: list[BadRow] = []
    try:
        with path.open("rb") as stream:
            for row in parse(stream):
                if isinstance(row, BadRow):
                    bad.append(row)
                else:
                    good.append(row)
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror or error}") from error
    except BadFile as error:
        raise BadFile(f"{path}: {error}") from error
    return book(good, bad)


def parse(stream: BinaryIO) -> Iterator[Row | BadRow]:
    """Yield a :class:`Row` or a :class:`BadRow` for every line after the header that is not blank.

    Raises:
        BadFile: the file is empty, or its header lacks columns.
    """
    lines = _lines(stream)
    header = _header(lines)
    first_seen: dict[tuple[str, object, int], int] = {}
    for line, raw in lines:
        if raw is not None and not raw.strip():
            continue
        try:
            row = _row(line, raw, header)
        except BadField as error:
            yield BadRow(line, str(error))
            continue
        earlier = first_seen.setdefault((row.user_id, row.purchase_time, row.amount), line)
        if earlier == line:
            yield row
        else:
            yield BadRow(line, f"duplicate of line {earlier}: same user_id, purchase_time and purchase_value")


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Number the lines from 1; None stands for one that is too long."""
    line = 0
    while raw := stream.readline(MAX_LINE + 1):
        line += 1
        too_long = len(raw) > MAX_LINE
        while len(raw) > MAX_LINE and not raw.endswith(b"\n"):
            raw = stream.readline(MAX_LINE + 1)
        yield line, None if too_long else raw


def _header(lines: Iterator[tuple[int, bytes | None]]) -> _Header:
    try:
        _, raw = next(lines)
    except StopIteration:
        raise BadFile(f"the file is empty; the first line must name the columns {', '.join(COLUMNS)}") from None
    try:
        names = [name.lower() for name in _cells(raw.removeprefix(b"\xef\xbb\xbf") if raw else raw)]
    except BadField as error:
        raise BadFile(f"line 1: the header cannot be read: {error}") from error
    known = (*COLUMNS, *FURTHER)
    missing = [name for name in COLUMNS if name not in names and name not in OPTIONAL]
    if missing:
        raise BadFile(
            f"line 1: the header lacks {', '.join(missing)}; it names {shown(', '.join(names))} "
            f"and must name {', '.join(COLUMNS)}"
        )
    repeated = [name for name in known if names.count(name) > 1]
    if repeated:
        raise BadFile(f"line 1: the header names {', '.join(repeated)} more than once")
    return _Header(len(names), {name: names.index(name) for name in known if name in names})


def _cells(raw: bytes | None) -> list[str]:
    if raw is None:
        raise BadField(f"the line has more than {MAX_LINE} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise BadField(f"column {raw.count(b',', 0, error.start) + 1} is not UTF-8") from error
    if "\0" in text:
        raise BadField(f"column {text.count(',', 0, text.index('\0')) + 1} has NUL characters")
    text = text.rstrip("\r\n")
    if '"' not in text:
        return [cell.strip() for cell in text.split(",")]
    try:
        return [cell.strip() for cell in next(csv.reader([text], strict=True))]
    except (csv.Error, StopIteration) as error:
        raise BadField(f"the quotes of the line do not match: {error}") from error


def _row(line: int, raw: bytes | None, header: _Header) -> Row:
    cells = _cells(raw)
    if len(cells) != header.width:
        raise BadField(f"the line has {len(cells)} columns, the header {header.width}")
    cell = {name: cells[index] for name, index in header.at.items()}
    row = Row(
        line=line,
        user_id=fields.user_id(cell["user_id"]),
        signup_time=fields.time("signup_time", cell["signup_time"]),
        purchase_time=fields.time("purchase_time", cell["purchase_time"]),
        amount=fields.minor_units("purchase_value", cell["purchase_value"]),
        device_id=fields.text("device_id", cell["device_id"]),
        source=fields.text("source", cell["source"]),
        browser=fields.text("browser", cell["browser"]),
        ip=fields.ipv4("ip_address", cell["ip_address"]),
        sex=cell.get("sex", ""),
        age=cell.get("age", ""),
        truth=_TRUTH.get(cell.get("class", ""), "unknown"),
        card=fields.card("card", cell.get("card", "")),
        email_domain=fields.email_domain("email_domain", cell.get("email_domain", "")),
        address=fields.text("address", cell.get("address", "")),
        country=fields.country("country", cell.get("country", "")),
        ip_country=fields.country("ip_country", cell.get("ip_country", "")),
    )
    if row.purchase_time < row.signup_time:
        raise BadField(
            f"purchase_time {shown(cell['purchase_time'])} is before signup_time {shown(cell['signup_time'])}"
        )
    return row


def write(rows: Iterable[Row], stream: io.TextIOBase) -> None:
    """Write rows in the public format: times in UTC, the ip as an integer, ``class`` 1 for whatever is not normal.

    Columns that the public set does not have are added at the end, those alone that a row has something to say in.
    """
    rows = list(rows)
    further = [name for name in FURTHER if any(getattr(row, name) is not None for row in rows)]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow((*COLUMNS, *further))
    for row in rows:
        whole, cents = divmod(row.amount, 100)
        writer.writerow(
            (
                row.user_id,
                _written(row.signup_time),
                _written(row.purchase_time),
                f"{whole}.{cents:02}" if cents else whole,
                row.device_id or "",
                row.source or "",
                row.browser or "",
                row.sex,
                row.age,
                "" if row.ip is None else int(IPv4Address(row.ip)),
                {"normal": 0, "unknown": ""}.get(row.truth, 1),
                *(getattr(row, name) or "" for name in further),
            )
        )


def _written(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(sep=" ")
