"""What cardholders' banks have against charges, as Stripe's API: disputes, newest first, and each by its id.

Public documentation: docs.stripe.com/api/disputes/object, /api/disputes/list. What only a merchant's answer would fill
(the evidence) is empty: nobody here defends a charge.
"""

from typing import Any

from fastapi import APIRouter

from sandbox.listing import Listing
from sandbox.payments import Payments, created, listing_routes, of_charge, of_intent
from sandbox.records import Dispute

DAYS_TO_ANSWER = 7
_DAY = 86_400
_OPEN = ("needs_response", "warning_needs_response")
_EVIDENCE = (
    *("access_activity_log", "billing_address", "cancellation_policy", "cancellation_policy_disclosure"),
    *("cancellation_rebuttal", "customer_communication", "customer_email_address", "customer_name"),
    *("customer_purchase_ip", "customer_signature", "duplicate_charge_documentation", "duplicate_charge_explanation"),
    *("duplicate_charge_id", "product_description", "receipt", "refund_policy", "refund_policy_disclosure"),
    *("refund_refusal_explanation", "service_date", "service_documentation", "shipping_address", "shipping_carrier"),
    *("shipping_date", "shipping_documentation", "shipping_tracking_number", "uncategorized_file"),
    "uncategorized_text",
)


def routes(payments: Payments) -> APIRouter:
    """The provider's routes that show disputes."""
    router = APIRouter()
    filters = {"charge": of_charge, "payment_intent": of_intent(payments)}
    disputes = Listing("disputes", "dispute", payments.disputes, created, lambda one: as_object(payments, one), filters)
    listing_routes(router, payments, disputes)
    return router


def as_object(payments: Payments, dispute: Dispute) -> dict[str, Any]:
    """A dispute in Stripe's words."""
    charge = payments.charge(dispute.charge_id)
    return {
        "id": dispute.dispute_id,
        "object": "dispute",
        "amount": dispute.amount,
        "balance_transactions": [],
        "charge": dispute.charge_id,
        "created": dispute.created,
        "currency": charge.currency.lower() if charge else "usd",
        "enhanced_eligibility_types": [],
        "evidence": dict.fromkeys(_EVIDENCE),
        "evidence_details": {
            "due_by": dispute.created + DAYS_TO_ANSWER * _DAY,
            "has_evidence": dispute.status not in _OPEN,
            "past_due": False,
            "submission_count": 0 if dispute.status in _OPEN else 1,
        },
        "is_charge_refundable": dispute.status.startswith("warning"),
        "livemode": False,
        "metadata": {},
        "payment_intent": charge.intent_id if charge else None,
        "reason": dispute.reason,
        "status": dispute.status,
    }
