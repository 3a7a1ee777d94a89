"""The country of an ip address, from a table of ranges.

The table is a CSV with the columns ``lower_bound_ip_address, upper_bound_ip_address, country``: both bounds are
included, as integers or dotted, and the ranges rise and do not overlap. It is read once; a look-up is one search by
halves. A line that is wrong is left out and told; its addresses have no country.
"""

import argparse
import csv
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

from producers import fields
from producers.book import BadRow
from producers.fields import BadField, shown

COLUMNS = ("lower_bound_ip_address", "upper_bound_ip_address", "country")


class BadTable(ValueError):
    """The file as a whole is no table of ip ranges; the message says why and what is expected."""


class Countries:
    """Ranges of ip addresses, ready for look-ups.

    Attributes:
        names: the countries that occur.
        rejected: lines of the file that were left out.
    """

    def __init__(self, ranges: Iterable[tuple[int, int, str]], rejected: Iterable[BadRow] = ()) -> None:
        """Take ``(first, last, country)`` that rise and do not overlap."""
        self.rejected = tuple(rejected)
        known: dict[str, str] = {}  # one string per country, not one per range
        taken = [(first, last, known.setdefault(country, country)) for first, last, country in ranges]
        self.names = frozenset(known)
        self._firsts = [first for first, _, _ in taken]
        self._lasts = [last for _, last, _ in taken]
        self._countries = [country for _, _, country in taken]

    def __len__(self) -> int:
        """The number of ranges."""
        return len(self._firsts)

    def __call__(self, ip: str) -> str | None:
        """Return the country of a dotted IPv4 address; None if no range has it, or it is none."""
        try:
            number = int(IPv4Address(ip))
        except ValueError:
            return None
        place = bisect_right(self._firsts, number) - 1
        return self._countries[place] if place >= 0 and number <= self._lasts[place] else None


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--countries`` to a command that sends orders."""
    parser.add_argument(
        "--countries",
        type=Path,
        metavar="FILE",
        help="a CSV of ip ranges (lower_bound_ip_address, upper_bound_ip_address, country): orders that do not say the "
        "country of their ip are sent with it",
    )


def read(path: Path) -> Countries:
    """Read a table of ranges; the lines that are wrong are in ``rejected``.

    Raises:
        BadTable: the file cannot be opened or is not UTF-8, its header lacks a column, its quotes do not match, or no
            line of it is right.
    """
    good: list[tuple[int, int, str]] = []
    bad: list[BadRow] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            for found in _ranges(csv.reader(stream, strict=True)):
                if isinstance(found, BadRow):
                    bad.append(found)
                else:
                    good.append(found)
    except OSError as error:
        raise BadTable(f"{path}: {error.strerror or error}") from error
    except (BadField, UnicodeDecodeError, csv.Error) as error:
        raise BadTable(f"{path}: {error}") from error
    if not good:
        raise BadTable(
            f"{path}: no line is a range of ip addresses" + (f"; the first is wrong: {bad[0]}" if bad else "")
        )
    return Countries(good, bad)


def _ranges(lines: Iterable[list[str]]) -> Iterator[tuple[int, int, str] | BadRow]:
    rows = iter(lines)
    names = [name.strip().lower() for name in next(rows, [])]
    if missing := [name for name in COLUMNS if name not in names]:
        raise BadField(f"line 1: the header lacks {', '.join(missing)}; it must name {', '.join(COLUMNS)}")
    places = [names.index(name) for name in COLUMNS]
    before = -1
    for line, cells in enumerate(rows, start=2):
        if not any(cells):
            continue
        try:
            if len(cells) != len(names):
                raise BadField(f"it has {len(cells)} columns, the header {len(names)}")
            first, last, country = _range([cells[place].strip() for place in places], before)
        except BadField as error:
            yield BadRow(line, str(error))
            continue
        yield first, last, country
        before = last


def _range(cells: list[str], before: int) -> tuple[int, int, str]:
    first, last = _address(COLUMNS[0], cells[0]), _address(COLUMNS[1], cells[1])
    country = fields.country(COLUMNS[2], cells[2])
    if country is None:
        raise BadField(f"{COLUMNS[2]} is empty")
    if last < first:
        raise BadField(f"the range ends at {last}, before it begins at {first}")
    if first <= before:
        raise BadField(
            f"the range begins at {first}, the one before ends at {before}: lines must be sorted by their lower bound, "
            "and ranges must not overlap"
        )
    return first, last, country


def _address(column: str, value: str) -> int:
    if value.isdecimal() and value.isascii() and len(value) <= 10 and (number := int(value)) < 2**32:
        return number  # nearly all are such, and the way over dots would take ten times as long
    if "e" in value.lower():  # eight bounds of the public table are such
        raise BadField(f"{column} {shown(value)} is a rounded number, as spreadsheets write them: give all its digits")
    dotted = fields.ipv4(column, value)
    if dotted is None:
        raise BadField(f"{column} is empty")
    return int(IPv4Address(dotted))
