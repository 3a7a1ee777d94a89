"""The reason of every learned bin, in words that a support agent can read to a customer.

A sentence follows from the signal, its entity and the bin's ends alone, so that the same bin always says the same.
"""

from collections.abc import Callable
from math import inf

_ON = {
    "customer": "by the customer",
    "device": "from this device",
    "ip": "from this ip address",
    "card": "with this card",
    "address": "to this shipping address",
}
_OF = {
    "customer": "this customer",
    "device": "this device",
    "ip": "this ip address",
    "card": "this card",
    "address": "this shipping address",
}
_WINDOW = {"1h": "hour", "1d": "day", "7d": "week", "30d": "month"}
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def sentence(signal: str, low: float, high: float) -> str:
    """Return the reason of a bin, with ``{value}`` where the order's own number goes.

    Args:
        signal: its name on the order.
        low: of the bin, included; minus infinity if open.
        high: of the bin, excluded; infinity if open.

    Raises:
        LookupError: no sentence was written for this signal.
    """
    entity, _, name = signal.partition(".")
    kind, _, window = name.rpartition("_")
    if window in _WINDOW:
        return _counted(kind, _WINDOW[window], entity)
    write = _SENTENCES.get(name)
    if write is None:
        raise LookupError(f"no sentence is written for {signal}: add one to {__name__}")
    return write(entity, low, high)


def span(seconds: float) -> str:
    """Return a time span as people say it: 90 is 90 seconds, 900 is 15 minutes."""
    for length, unit in _UNITS:
        if seconds >= length and seconds % length == 0:
            number = int(seconds // length)
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return f"{seconds:g} seconds"


def _counted(kind: str, window: str, entity: str) -> str:
    if kind == "orders":
        return f"About {{value}} orders were placed {_ON[entity]} within a {window}.".replace("a hour", "an hour")
    if kind == "sign_ups":
        return f"About {{value}} accounts were opened {_ON[entity]} within a {window}.".replace("a hour", "an hour")
    if kind == "customers":
        text = f"About {{value}} different customers were seen on {_OF[entity]} within a {window}."
        return text.replace("a hour", "an hour")
    raise LookupError(f"no sentence is written for {kind}_*: add one to {__name__}")


def _within(low: float, high: float) -> str:
    """Say where a time lies: less than …, from … to …, or more than …."""
    if low == -inf:
        return f"less than {span(high)}"
    return f"{span(low)} or more" if high == inf else f"{span(low)} to {span(high)}"


def _amount(entity: str, low: float, high: float) -> str:
    place = (
        f"below {high:,.0f}" if low == -inf else f"{low:,.0f} or more" if high == inf else f"{low:,.0f} to {high:,.0f}"
    )
    return f"The amount, {{value}} in the smallest unit of its currency, is one that fraud often has ({place})."


def _frauds(entity: str, low: float, high: float) -> str:
    return f"Earlier orders {_ON[entity]} turned out to be fraud: {{value}}."


_SENTENCES: dict[str, Callable[[str, float, float], str]] = {
    "amount": _amount,
    "night": lambda entity, low, high: "The order came at night, between midnight and six, where the customer is.",
    "country_differs": lambda entity, low, high: "The ip address lies in another country than the customer's.",
    "direct": lambda entity, low, high: (
        "The customer came to the shop directly, not through a search or an advertisement."
    ),
    "new_device": lambda entity, low, high: "The customer was never seen on this device before.",
    "account_age_s": lambda entity, low, high: (
        f"Between sign-up and order lay {_within(low, high)} ({{value}} seconds)."
    ),
    "since_order_s": lambda entity, low, high: (
        f"The order before this one {_ON[entity]} was {_within(low, high)} away ({{value}} seconds)."
    ),
    "amount_z": lambda entity, low, high: (
        f"The amount lies {{value}} times the usual spread above what is usual for {_OF[entity]}."
    ),
    "devices": lambda entity, low, high: "The customer has used {value} different devices.",
    "ips": lambda entity, low, high: "The customer has used {value} different ip addresses.",
    "customers": lambda entity, low, high: f"{{value}} different customers were seen on {_OF[entity]}.",
    "customers_before": lambda entity, low, high: (
        f"{{value}} other customers were seen on {_OF[entity]} before this one came."
    ),
    "frauds": _frauds,
}
