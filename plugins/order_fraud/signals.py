"""The catalogue of signals: what each number on an order means, in which unit, and how it is made.

Entities are prefixes: ``device.orders_1h`` is the signal ``orders_1h`` of the device.

``age`` in a formula is counted at the latest event that the entity has seen, the order in hand included. For an order
in time that is the order itself. A late order therefore sees the entity as it stands when the order arrives: it weighs
in with the little that it is worth by then, and orders dated after it, which came before it, count.
"""

from typing import NamedTuple

CUSTOMER, DEVICE, IP = "customer", "device", "ip"


class Signal(NamedTuple):
    """One kind of signal.

    Attributes:
        name: after the entity's prefix.
        entities: which entities have it.
        unit: of the number.
        meaning: in one sentence.
        formula: in the terms of :mod:`order_fraud.history`.
    """

    name: str
    entities: tuple[str, ...]
    unit: str
    meaning: str
    formula: str


_ALL = (CUSTOMER, DEVICE, IP)

CATALOGUE: tuple[Signal, ...] = (
    Signal("orders_1h", _ALL, "orders", "Orders lately, this one included.", "sum of exp(-age / 1 h)"),
    Signal("orders_1d", _ALL, "orders", "Orders of about a day, this one included.", "sum of exp(-age / 24 h)"),
    Signal("orders_30d", _ALL, "orders", "Orders of about a month, this one included.", "sum of exp(-age / 30 d)"),
    Signal(
        "spent_1d",
        _ALL,
        "minor units",
        "Money of about a day in the entity's first currency, this order included.",
        "sum of amount x exp(-age / 24 h)",
    ),
    Signal("known_s", _ALL, "seconds", "How long before this order the entity was first seen.", "time - first_seen"),
    Signal(
        "minutes_since_order",
        _ALL,
        "minutes",
        "Distance to the entity's latest other order; absent on the first.",
        "|time - last_order|",
    ),
    Signal(
        "account_age_s",
        (CUSTOMER,),
        "seconds",
        "Age of the account at the order; absent while no sign-up was seen.",
        "time - signed_up",
    ),
    Signal(
        "amount_z",
        (CUSTOMER,),
        "usual spreads",
        "How far the amount lies from the customer's usual; absent before the fourth order.",
        "(amount - mean) / max(standard deviation, mean / 10, 1)",
    ),
    Signal(
        "customers",
        (DEVICE, IP),
        "customers",
        "Distinct customers seen on the entity, this one included; 16 means 16 or more.",
        "size of the capped set",
    ),
    Signal(
        "sign_ups_1d", (DEVICE, IP), "sign-ups", "Sign-ups of about a day on the entity.", "sum of exp(-age / 24 h)"
    ),
)

NAMES: frozenset[str] = frozenset(f"{entity}.{signal.name}" for signal in CATALOGUE for entity in signal.entities)
"""Every name that may stand on an order, with its prefix."""
