"""The catalogue of signals: what each number on an order means, in which unit, how it is made and what it costs.

Entities are prefixes: ``device.orders_1h`` is the signal ``orders_1h`` of the device. ``order`` is the order itself.

``age`` in a formula is counted at the latest event that the entity has seen, the order in hand included. For an order
in time that is the order itself. A late order therefore sees the entity as it stands when the order arrives: it weighs
in with the little that it is worth by then, and orders dated after it, which came before it, count.
"""

from typing import NamedTuple

ORDER, CUSTOMER, DEVICE, IP = "order", "customer", "device", "ip"
CARD, EMAIL_DOMAIN, ADDRESS = "card", "email_domain", "address"


class Signal(NamedTuple):
    """One kind of signal.

    Attributes:
        name: after the entity's prefix.
        entities: which entities have it.
        unit: of the number.
        meaning: in one sentence.
        formula: in the terms of :mod:`order_fraud.history`.
        cost: what it keeps in each history, and the work per order.
    """

    name: str
    entities: tuple[str, ...]
    unit: str
    meaning: str
    formula: str
    cost: str


_SHARED = (DEVICE, IP, CARD, EMAIL_DOMAIN, ADDRESS)
_OF_SIGN_UPS = (DEVICE, IP, EMAIL_DOMAIN)
_ALL = (CUSTOMER, *_SHARED)
_WINDOWS = (("1h", "an hour", "1 h"), ("1d", "a day", "24 h"), ("7d", "a week", "7 d"), ("30d", "a month", "30 d"))
_DECAYING = "one number; an exp for all counters of a window"

CATALOGUE: tuple[Signal, ...] = (
    Signal("amount", (ORDER,), "minor units", "The order's amount, in its currency.", "amount", "nothing"),
    Signal(
        "night",
        (ORDER,),
        "0 or 1",
        "Whether the order came between midnight and six, where the customer is (UTC if the order does not say).",
        "(time + utc_offset_min) mod 24 h < 6 h",
        "nothing",
    ),
    Signal(
        "country_differs",
        (ORDER,),
        "0 or 1",
        "Whether the ip's country is another than the customer's; absent if either is unknown.",
        "ip_country != country of the sign-up",
        "one word",
    ),
    *(
        Signal(
            f"orders_{short}",
            _ALL,
            "orders",
            f"Orders of about {words}, this one included.",
            f"sum of exp(-age / {window})",
            _DECAYING,
        )
        for short, words, window in _WINDOWS
    ),
    *(
        Signal(
            f"spent_{short}",
            _ALL,
            "minor units",
            f"Money of about {words} in the entity's first currency, this order included.",
            f"sum of amount x exp(-age / {window})",
            _DECAYING,
        )
        for short, words, window in _WINDOWS
    ),
    Signal(
        "known_s",
        _ALL,
        "seconds",
        "How long before this order the entity was first seen.",
        "time - first_seen",
        "one number",
    ),
    Signal(
        "since_order_s",
        _ALL,
        "seconds",
        "Distance to the entity's latest other order; absent on the first.",
        "|time - last_order|",
        "one number",
    ),
    Signal(
        "amount_z",
        _ALL,
        "usual spreads",
        "How far the amount lies from the entity's usual; absent before the fourth order of a currency.",
        "(amount - median) / max(1.4826 x MAD, median / 10, 1) over the 11 latest amounts",
        "11 numbers; two sorts of them",
    ),
    Signal(
        "frauds",
        _ALL,
        "orders",
        "Earlier orders confirmed as fraud or charged back, and not cleared; absent while none; 16 means 16 or more.",
        "size of the capped set",
        "up to 16 order ids, of fraudsters only",
    ),
    Signal(
        "account_age_s",
        (CUSTOMER,),
        "seconds",
        "Age of the account at the order; absent while no sign-up was seen.",
        "time - signed_up",
        "one number",
    ),
    Signal(
        "direct",
        (CUSTOMER,),
        "0 or 1",
        "Whether the customer came to the shop directly, sent by no advertisement or search engine; absent if unknown.",
        "channel of the sign-up = direct",
        "one truth value",
    ),
    Signal(
        "new_device",
        (CUSTOMER,),
        "0 or 1",
        "Whether the customer, at sign-up or since, was never seen on this device; absent if the order names none.",
        "device not in the capped set",
        "see devices",
    ),
    Signal(
        "devices",
        (CUSTOMER,),
        "devices",
        "Distinct devices of the customer, this one included; 16 means 16 or more.",
        "size of the capped set",
        "up to 16 ids",
    ),
    Signal(
        "ips",
        (CUSTOMER,),
        "ips",
        "Distinct ip addresses of the customer, this one included; 16 means 16 or more.",
        "size of the capped set",
        "up to 16 ids",
    ),
    Signal(
        "customers",
        _SHARED,
        "customers",
        "Distinct customers seen on the entity, this one included; 16 means 16 or more.",
        "size of the capped set",
        "up to 16 ids with a time each; a search among them",
    ),
    Signal(
        "customers_before",
        _SHARED,
        "customers",
        "Of the 16 customers seen latest on the entity, how many came to it before this one; absent while none.",
        "place in the capped set",
        "nothing",
    ),
    *(
        Signal(
            f"customers_{short}",
            _SHARED,
            "customers",
            f"Distinct customers of about {words}, this one included; absent while there is only this one.",
            f"sum over the 16 latest customers of exp(-age of the latest sighting / {window})",
            "an exp per customer",
        )
        for short, words, window in _WINDOWS
    ),
    *(
        Signal(
            f"sign_ups_{short}",
            _OF_SIGN_UPS,
            "sign-ups",
            f"Sign-ups of about {words} on the entity; absent while there was none.",
            f"sum of exp(-age / {window})",
            _DECAYING,
        )
        for short, words, window in (_WINDOWS[1], _WINDOWS[3])
    ),
)

NAMES: frozenset[str] = frozenset(f"{entity}.{signal.name}" for signal in CATALOGUE for entity in signal.entities)
"""Every name that may stand on an order, with its prefix."""
