"""What the report says in words: each kind of finding for a reader who has never seen one."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from order_fraud.events import FindingKind, Remedy


class KindWords(NamedTuple):
    """A kind's heading, and what it means for the merchant."""

    title: str
    meaning: str


KINDS: Mapping[FindingKind, KindWords] = MappingProxyType(
    {
        "order-not-streamed": KindWords(
            "Sold, but never streamed",
            "The shop sold these orders and no event of them came in. Nobody judged them, and the warehouse waits for "
            "a clearance that will never come.",
        ),
        "order-not-sold": KindWords(
            "Streamed, but never sold",
            "Events of these orders came in and were judged, but the shop has no such orders: a forged or misrouted "
            "event, or an order that the shop has lost.",
        ),
        "verdict-missing": KindWords(
            "No verdict",
            "These orders came in and the stream gave no answer. They are neither cleared nor held.",
        ),
        "verdict-repeated": KindWords(
            "More than one verdict",
            "The stream answered more than once. If the answers contradict each other, the parcel may have left on "
            "the wrong one.",
        ),
        "verdict-not-reproducible": KindWords(
            "Verdict not reproducible",
            "The same inputs, judged again with the same code, give another answer than the stream wrote: somebody "
            "changed a record, or the stream ran other code.",
        ),
        "released-without-clearance": KindWords(
            "Released without clearance",
            "The warehouse was told to ship these orders although no verdict clears them.",
        ),
        "released-twice": KindWords(
            "Released more than once",
            "The warehouse was told more than once to ship these orders: perhaps two parcels for one payment.",
        ),
        "amount-differs": KindWords(
            "Charged another amount",
            "What the payment provider charged is not what the shop sold these orders for.",
        ),
        "payment-missing": KindWords(
            "Sold, but not paid",
            "The payment provider took or reserved no money for these orders.",
        ),
        "payment-orphan": KindWords(
            "Paid, but never ordered",
            "The payment provider took money for orders that neither the shop nor the stream knows.",
        ),
    }
)

REMEDIES: Mapping[Remedy, str] = MappingProxyType(
    {
        "stream-order": "The shop sends the order's event again; the stream then judges it.",
        "check-shop": "A person checks the order in the shop and in the producer's log.",
        "cancel-delivery": "The delivery service stops or recalls the parcel.",
        "adjust-payment": "A person charges the rest or refunds the excess.",
        "collect-payment": "A person collects the payment or cancels the order.",
        "refund-payment": "A person refunds the payment or finds its order.",
        "investigate": "A person looks into it; the evidence says where.",
    }
)

VERDICTS: Mapping[str, str] = MappingProxyType(
    {"PossibleFraud": "held as possible fraud", "NoFraudDetected": "cleared"}
)
"""Verdict types as a reader says them."""
