"""What other systems say in their own words may quote a customer or a secret: taken out before it is kept anywhere.

Fields that a flow maps are masked by their kind (:mod:`lake.masking`), so that sources still join. This is for text
that nobody has mapped: error messages, rows that failed, an answer that echoes the request.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

_WORD = r"[^\s@<>\"'(),;:\[\]{}\\=|&?/]"
# Bounded, so that a long text without any blank takes no time by its square.
_EMAIL = re.compile(rf"{_WORD}{{1,64}}(?:@|%40){_WORD}{{1,253}}\.{_WORD}{{1,63}}", re.IGNORECASE)
_DIGITS = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\d)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?![\w:])", re.IGNORECASE)
_QUOTED = re.compile("'.*'", re.DOTALL)


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text without the secrets given and without e-mail addresses, ips and numbers of cards."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[secret]")
    if "@" in text or "%40" in text:
        text = _EMAIL.sub("[e-mail]", text)
    text = _DIGITS.sub(lambda found: "[card]" if is_card_number(found[0]) else found[0], text)
    for pattern in (_IPV4, _IPV6):
        text = pattern.sub(lambda found: "[ip]" if _is_ip(found[0]) else found[0], text)
    return text


def redacted_values(value: Any) -> Any:
    """Return a JSON value with each of its strings redacted, those that are names of fields too."""
    match value:
        case str():
            return redacted(value)
        case dict():
            return {redacted(str(name)): redacted_values(one) for name, one in value.items()}
        case list():
            return [redacted_values(one) for one in value]
        case int() if not isinstance(value, bool) and is_card_number(str(value)):
            return "[card]"
    return value


def without_quotes(reason: str) -> str:
    """Return why a record was refused without what it quotes: from the first quote to the last, whatever is between."""
    return _QUOTED.sub("'…'", reason)


def is_card_number(text: str) -> bool:
    """Whether the text is the number of a card: 13 to 19 digits, perhaps in groups, the check digit right (Luhn)."""
    digits = text.replace(" ", "").replace("-", "")
    if not (13 <= len(digits) <= 19 and digits.isascii() and digits.isdigit()):
        return False
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
