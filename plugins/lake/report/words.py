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
        "verdict-would-change": KindWords(
            "Another verdict, had the data come in time",
            "Something that is dated before these orders came in long after them. The stream judged rightly by what it "
            "knew; had it known in time, the outcome would have been another.",
        ),
        "policy-skew": KindWords(
            "Judged by a scorecard that was not active",
            "The verdict names a scorecard that had been replaced for longer than the allowance when the order came "
            "in, or that was never active at all: a worker did not follow the policies.",
        ),
        "customer-unknown": KindWords(
            "Customer who never signed up",
            "Orders of these customers were judged, but no sign-up of them ever came in: what is known of a customer "
            "from the start (country, channel, age of the account) was missing in every verdict.",
        ),
        "customer-differs": KindWords(
            "The CRM knows another customer",
            "The CRM's contact of these customers says something else than they told the shop: letters, refunds and "
            "questions about their orders go to the wrong place, or the account is not theirs any more.",
        ),
        "released-without-clearance": KindWords(
            "Released without clearance",
            "The warehouse was told to ship these orders although no verdict clears them.",
        ),
        "released-twice": KindWords(
            "Released more than once",
            "The warehouse was told more than once to ship these orders: perhaps two parcels for one payment.",
        ),
        "held-overdue": KindWords(
            "On hold for too long",
            "These orders have been held as possible fraud for longer than the allowance, and nobody has decided. An "
            "honest customer waits; a reserved payment lapses.",
        ),
        "fraud-missed": KindWords(
            "Fraud that was cleared",
            "The stream cleared these orders and the warehouse shipped them; since then a person or the cardholder's "
            "bank has said that they were fraud.",
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
        "charged-but-rejected": KindWords(
            "Charged, but not to be shipped",
            "The money of these orders was captured, which happens at dispatch, although they are held or their "
            "delivery was cancelled. The customer pays for nothing.",
        ),
        "refund-missing": KindWords(
            "Said to be given back, but not refunded",
            "The shop or the settlement of a fraud says that money of these orders went back, and the payment provider "
            "has no such refund, or one over another amount.",
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
        "decide-hold": "A person decides at the review desk: cleared, or confirmed as fraud.",
        "correct-contact": "A person asks the customer, and corrects the contact in the CRM or in the shop.",
        "settle-fraud": "The money is claimed or written off, and the scorecard learns from the label.",
        "investigate": "A person looks into it; the evidence says where.",
    }
)

VERDICTS: Mapping[str, str] = MappingProxyType(
    {"PossibleFraud": "held as possible fraud", "NoFraudDetected": "cleared"}
)
"""Verdict types as a reader says them."""
