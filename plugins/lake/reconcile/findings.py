"""What a difference between the systems is, and which remedy it asks of whom."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Literal, get_args

from lake.landing.money import minor_units
from order_fraud.events import Finding, FindingKind, Remedy

KINDS: tuple[FindingKind, ...] = get_args(FindingKind)

REMEDIES: Mapping[FindingKind, Remedy] = MappingProxyType(
    {
        "order-not-streamed": "stream-order",
        "order-not-sold": "check-shop",
        "verdict-missing": "investigate",
        "verdict-repeated": "investigate",
        "verdict-not-reproducible": "investigate",
        "verdict-would-change": "investigate",
        "policy-skew": "investigate",
        "customer-unknown": "check-shop",
        "customer-differs": "correct-contact",
        "released-without-clearance": "cancel-delivery",
        "released-twice": "investigate",
        "held-overdue": "decide-hold",
        "fraud-missed": "settle-fraud",
        "amount-differs": "adjust-payment",
        "payment-missing": "collect-payment",
        "payment-orphan": "refund-payment",
        "charged-but-rejected": "refund-payment",
        "refund-missing": "refund-payment",
    }
)
"""What each kind of finding asks for."""

OWN_REMEDIES: frozenset[Remedy] = frozenset({"stream-order", "cancel-delivery"})
"""Remedies that a service of ours can carry out when an event asks it to; a person sees to the others."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One finding, when the business it concerns took place, and whether its remedy has been carried out since."""

    finding: Finding
    time: datetime
    state: Literal["open", "remedied"] = "open"


def money(amount: int | None, currency: str | None) -> str:
    """Return an amount of minor units as a person writes it: ``1,234.50 USD``."""
    if amount is None:
        return "an unknown amount"
    unit = minor_units("1", currency or "")
    whole, part = divmod(amount, unit)
    decimals = f".{part:0{len(str(unit)) - 1}d}" if unit > 1 else ""
    return f"{whole:,}{decimals} {currency or ''}".rstrip()
