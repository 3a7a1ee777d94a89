"""The cells of an order CSV: each function returns the value or says in words what is wrong with the cell."""

import ipaddress
import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from order_fraud.events import EARLIEST

LONGEST_ID = 190
"""Characters; an event id adds a prefix and a number and may have 200."""

LATEST = datetime(2100, 1, 1, tzinfo=UTC)
"""No sale is later: a year 2915 is a typing error."""

MOST_MINOR_UNITS = 10**12
"""The limit of ``events.MinorUnits``."""

_USER_ID = re.compile(r"[0-9]{1,18}", re.ASCII)
_TIME = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})[ T](?P<clock>\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?)"
    r"( ?(Z|UTC|(?P<offset>[+-]\d{2}:?\d{2})))?",
    re.ASCII,
)
_USUAL = len("2015-02-24 22:55:49")
_USUAL_SIGNS = ("-- ::", "--T::")
"""What stands between its numbers."""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_CENT = Decimal("0.01")
_CARD_NUMBER = re.compile(r"(\d[ -]?){12,19}", re.ASCII)
_LONGEST_COUNTRY = 60
_SHOWN = 40


class BadField(ValueError):
    """A cell that cannot be used; the message names the column, the value and the fault."""


def shown(value: str) -> str:
    """The value in quotes, with control characters escaped, shortened to what fits in a message."""
    return ascii(value if len(value) <= _SHOWN else value[:_SHOWN] + "...")


def user_id(value: str) -> str:
    """A whole number, kept as it is written.

    Raises:
        BadField: anything else.
    """
    if not _USER_ID.fullmatch(value):
        raise BadField(f"user_id {shown(value)} is not a whole number" if value else "user_id is empty")
    return value


def time(column: str, value: str) -> datetime:
    """A time of day in UTC; fractions of a second, the ISO ``T`` and an offset are accepted.

    Raises:
        BadField: another form, a day or hour that does not exist, or a year before 2000 or after 2099.
    """
    if not value:
        raise BadField(f"{column} is empty")
    try:
        if len(value) == _USUAL and value[4:17:3] in _USUAL_SIGNS:
            moment = datetime.fromisoformat(value).replace(tzinfo=UTC)
        else:
            moment = _rarer_form(column, value)
    except BadField:
        raise
    except (ValueError, OverflowError) as error:
        raise BadField(f"{column} {shown(value)} is not a time that exists: {error}") from error
    if moment < EARLIEST:
        raise BadField(f"{column} {shown(value)} is before the year 2000")
    if moment >= LATEST:
        raise BadField(f"{column} {shown(value)} is after the year 2099")
    return moment


def _rarer_form(column: str, value: str) -> datetime:
    match = _TIME.fullmatch(value)
    if not match:
        raise BadField(f"{column} {shown(value)} is not a time like 2015-02-24 22:55:49")
    return datetime.fromisoformat(f"{match['day']}T{match['clock']}{match['offset'] or 'Z'}").astimezone(UTC)


def number(column: str, value: str) -> Decimal:
    """A finite decimal number.

    Raises:
        BadField: anything else, NaN and infinity among them.
    """
    if not _NUMBER.fullmatch(value):
        raise BadField(f"{column} {shown(value)} is not a number" if value else f"{column} is empty")
    try:
        return Decimal(value)
    except InvalidOperation as error:
        raise BadField(f"{column} {shown(value)} is not a number") from error


def minor_units(column: str, value: str) -> int:
    """An amount of money as whole cents.

    Raises:
        BadField: not a number, below zero, above the limit, or parts of a cent.
    """
    if _is_short_integer(value):
        return int(value) * 100
    amount = number(column, value)
    if amount < 0:
        raise BadField(f"{column} {shown(value)} is below zero")
    if amount * 100 > MOST_MINOR_UNITS:
        raise BadField(f"{column} {shown(value)} is above {MOST_MINOR_UNITS // 100:,}")
    if amount != amount.quantize(_CENT):
        raise BadField(f"{column} {shown(value)} has more than two decimal places")
    return int(amount * 100)


def ipv4(column: str, value: str) -> str | None:
    """A dotted IPv4 address from an integer, from the public set's float (its fraction means nothing) or from dots.

    Raises:
        BadField: not an address, or out of 0 to 2^32 - 1.
    """
    if not value:
        return None
    if _is_short_integer(value) and (integer := int(value)) < 2**32:
        return f"{integer >> 24}.{integer >> 16 & 255}.{integer >> 8 & 255}.{integer & 255}"
    if value.count(".") == 3:
        try:
            return str(ipaddress.IPv4Address(value))
        except ValueError as error:
            raise BadField(f"{column} {shown(value)} is not an IPv4 address") from error
    address = number(column, value)
    if not 0 <= address < 2**32:
        raise BadField(f"{column} {shown(value)} is not an IPv4 address: out of 0 to {2**32 - 1}")
    return str(ipaddress.IPv4Address(int(address)))


def card(column: str, value: str) -> str | None:
    """A card's fingerprint; None if empty.

    Raises:
        BadField: it is as good as a card number, which must not go any further, or see :func:`text`.
    """
    if _CARD_NUMBER.fullmatch(value):  # it is not shown: messages end up in logs
        raise BadField(f"{column} looks like a card number: give the payment provider's fingerprint of the card")
    return text(column, value)


def email_domain(column: str, value: str) -> str | None:
    """What follows the @, in lower case; None if empty.

    Raises:
        BadField: it is a whole address, or see :func:`text`.
    """
    if "@" in value:  # it is not shown, either
        raise BadField(f"{column} has an @: give only what follows it, the address itself is nobody's business")
    return text(column, value.lower())


def country(column: str, value: str) -> str | None:
    """A country's name or code, as the source writes it; None if empty.

    Raises:
        BadField: shorter than two characters or longer than 60, or see :func:`text`.
    """
    found = text(column, value)
    if found is not None and not 2 <= len(found) <= _LONGEST_COUNTRY:
        raise BadField(f"{column} {shown(value)} is no country: 2 to {_LONGEST_COUNTRY} characters")
    return found


def _is_short_integer(value: str) -> bool:
    """The common form, for which the way over decimals would be slow: at most ten digits."""
    return len(value) <= 10 and value.isdecimal() and value.isascii()


def text(column: str, value: str) -> str | None:
    """A free text without control characters; None if empty.

    Raises:
        BadField: too long, or with control characters.
    """
    if not value:
        return None
    if len(value) > LONGEST_ID:
        raise BadField(f"{column} {shown(value)} has {len(value)} characters, more than {LONGEST_ID}")
    if not value.isprintable():
        raise BadField(f"{column} {shown(value)} has control characters")
    return value
