"""What a difference between the systems is, and which remedy it asks of whom."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Literal, get_args

from order_fraud.events import Finding, FindingKind, Remedy

KINDS: tuple[FindingKind, ...] = get_args(FindingKind)

REMEDIES: Mapping[FindingKind, Remedy] = MappingProxyType(
    {
        "order-not-streamed": "stream-order",
        "order-not-sold": "check-shop",
        "verdict-missing": "decide-again",
        "verdict-repeated": "investigate",
        "verdict-not-reproducible": "investigate",
        "released-without-clearance": "cancel-delivery",
        "released-twice": "investigate",
        "amount-differs": "adjust-payment",
        "payment-missing": "collect-payment",
        "payment-orphan": "refund-payment",
    }
)
"""What each kind of finding asks for."""

OWN_REMEDIES: frozenset[Remedy] = frozenset({"stream-order", "decide-again", "cancel-delivery"})
"""Remedies that a service of ours can carry out when an event asks it to; a person sees to the others."""

_DECIMALS = {"BIF": 0, "CLP": 0, "JPY": 0, "KRW": 0, "PYG": 0, "VND": 0, "XAF": 0, "XOF": 0} | {
    "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3
}  # fmt: skip
"""ISO 4217 currencies whose minor unit is not a hundredth."""


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
    decimals = _DECIMALS.get(currency or "", 2)
    whole, part = divmod(amount, 10**decimals)
    return f"{whole:,}{f'.{part:0{decimals}d}' if decimals else ''} {currency or ''}".rstrip()
