"""What moves money back, as Stripe's API: refunds, and PaymentIntents that are cancelled before their capture.

Public documentation: docs.stripe.com/api/refunds, /api/payment_intents/cancel. Cancelling a PaymentIntent that waits
for its capture refunds its charge, which makes a refund of its own.
"""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from sandbox.idempotency import Malformed, once
from sandbox.listing import Listing
from sandbox.payments import (
    Payments,
    answered,
    charge_of,
    created,
    listing_routes,
    of_charge,
    of_intent,
)
from sandbox.records import Charge, Refund
from sandbox.refused import Refused

REASONS = ("duplicate", "fraudulent", "requested_by_customer")
CANCELLATIONS = (*REASONS, "abandoned")

type Form = dict[str, str]


def routes(payments: Payments, clock: Callable[[], float] = time.time) -> APIRouter:
    """The provider's routes that change something, and those that show what was changed.

    Args:
        payments: charges and refunds.
        clock: seconds since 1970, for ``created``.
    """
    router = APIRouter()
    filters = {"charge": of_charge, "payment_intent": of_intent(payments)}
    listing_routes(
        router,
        payments,
        Listing("refunds", "refund", payments.refunds, created, lambda one: as_object(payments, one), filters),
    )

    async def changed(request: Request, work: Callable[[Form], dict[str, Any]]) -> JSONResponse:
        try:
            payments.authorise(request)
            form = dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))
            asked = request.method, request.url.path, sorted(form.items())
            return once(payments, request.headers.get("Idempotency-Key"), asked, lambda: JSONResponse(work(form)))
        except Refused as refused:
            return refused.answer()

    @router.post("/v1/refunds")
    async def create_refund(request: Request) -> JSONResponse:
        return await changed(request, lambda form: as_object(payments, _refund(payments, form, int(clock()))))

    @router.get("/v1/payment_intents/{intent_id}")
    async def retrieve_intent(intent_id: str, request: Request) -> JSONResponse:
        return answered(payments, request, lambda: as_intent(payments, _charge_of(payments, intent_id)))

    @router.post("/v1/payment_intents/{intent_id}/cancel")
    async def cancel_intent(intent_id: str, request: Request) -> JSONResponse:
        return await changed(request, lambda form: _cancel(payments, intent_id, form, int(clock())))

    return router


def _refund(payments: Payments, form: Form, now: int) -> Refund:
    charge = _charge_asked(payments, form)
    amount = _amount(form)
    _check(form, REASONS, "reason", {"charge", "payment_intent", "amount", "reason"})
    left = charge.amount - payments.refunded(charge)
    if payments.disputed(charge):
        raise Refused(
            400, f"Charge {charge.charge_id} has been charged back; cannot issue a refund.", "charge_disputed"
        )
    if left == 0:
        already = f"Charge {charge.charge_id} has already been refunded."
        raise Refused(400, already, "charge_already_refunded")
    if not charge.captured:
        raise Refused(
            400, f"This PaymentIntent ({charge.intent_id}) does not have a successful charge to refund.", None, "charge"
        )
    if amount is not None and amount > left:
        raise Refused(
            400, f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})", None, "amount"
        )
    return _booked(payments, charge, amount or left, now, form.get("reason"), _metadata(form))


def _booked(
    payments: Payments, charge: Charge, amount: int, now: int, reason: str | None, metadata: dict[str, str]
) -> Refund:
    number = 1 + sum(1 for _ in payments.refunds.scan(charge_of, low=charge.charge_id, high=charge.charge_id))
    refund = Refund(
        refund_id=f"re_{charge.charge_id.removeprefix('ch_')}_{number}",
        charge_id=charge.charge_id,
        amount=amount,
        created=now,
        reason=reason,
        metadata=metadata,
    )
    payments.refunds.put(refund.refund_id, refund)
    payments.webhooks.happened("refund.created", as_object(payments, refund))
    return refund


def _cancel(payments: Payments, intent_id: str, form: Form, now: int) -> dict[str, Any]:
    charge = _charge_of(payments, intent_id)
    _check(form, CANCELLATIONS, "cancellation_reason", {"cancellation_reason"})
    status = _status(payments, charge)
    if status != "requires_capture":
        raise Refused(
            400,
            f"You cannot cancel this PaymentIntent because it has a status of {status}. Only a PaymentIntent with one "
            "of the following statuses may be canceled: requires_payment_method, requires_capture, "
            "requires_confirmation, requires_action, processing.",
            "payment_intent_unexpected_state",
        )
    payments.cancelled[intent_id] = form.get("cancellation_reason")
    _booked(payments, charge, charge.amount - payments.refunded(charge), now, None, {})
    return as_intent(payments, charge)


def _charge_asked(payments: Payments, form: Form) -> Charge:
    if ("charge" in form) == ("payment_intent" in form):
        raise Malformed(
            400, "One of the following params should be provided for this request: payment_intent or charge."
        )
    if "payment_intent" in form:
        return _charge_of(payments, form["payment_intent"], "payment_intent")
    charge = payments.charge(form["charge"])
    if charge is None:
        raise Malformed(404, f"No such charge: '{form['charge']}'", "resource_missing", "charge")
    return charge


def _charge_of(payments: Payments, intent_id: str, param: str = "intent") -> Charge:
    charge = payments.charge(f"ch_{intent_id.removeprefix('pi_')}")
    if charge is None or charge.intent_id != intent_id:
        raise Malformed(404, f"No such payment_intent: '{intent_id}'", "resource_missing", param)
    return charge


def _amount(form: Form) -> int | None:
    if "amount" not in form:
        return None
    text = form["amount"]
    if not (text.isascii() and text.isdecimal() and len(text) <= 12):
        raise Malformed(400, f"Invalid integer: {text}", "parameter_invalid_integer", "amount")
    if int(text) < 1:
        raise Malformed(400, "Invalid positive integer", "parameter_invalid_integer", "amount")
    return int(text)


def _check(form: Form, allowed: tuple[str, ...], reason: str, known: set[str]) -> None:
    for name in form:
        if name not in known and not (name.startswith("metadata[") and name.endswith("]")):
            raise Malformed(400, f"Received unknown parameter: {name}", "parameter_unknown", name)
    if reason in form and form[reason] not in allowed:
        raise Malformed(400, f"Invalid {reason}: must be one of {', '.join(allowed)}", None, reason)


def _metadata(form: Form) -> dict[str, str]:
    return {name[9:-1]: value for name, value in form.items() if name.startswith("metadata[")}


def _status(payments: Payments, charge: Charge) -> str:
    if charge.intent_id in payments.cancelled:
        return "canceled"
    return "succeeded" if charge.captured else "requires_capture"


def as_object(payments: Payments, refund: Refund) -> dict[str, Any]:
    """A refund in Stripe's words."""
    charge = payments.charge(refund.charge_id)
    return {
        "id": refund.refund_id,
        "object": "refund",
        "amount": refund.amount,
        "charge": refund.charge_id,
        "created": refund.created,
        "currency": charge.currency.lower() if charge else "usd",
        "metadata": refund.metadata,
        "payment_intent": charge.intent_id if charge else None,
        "reason": refund.reason,
        "receipt_number": None,
        "status": refund.status,
    }


def as_intent(payments: Payments, charge: Charge) -> dict[str, Any]:
    """The PaymentIntent of a charge in Stripe's words."""
    status = _status(payments, charge)
    return {
        "id": charge.intent_id,
        "object": "payment_intent",
        "amount": charge.amount,
        "amount_capturable": charge.amount if status == "requires_capture" else 0,
        "amount_received": charge.amount if charge.captured else 0,
        "cancellation_reason": payments.cancelled.get(charge.intent_id),
        "capture_method": "manual",
        "created": charge.created,
        "currency": charge.currency.lower(),
        "latest_charge": charge.charge_id,
        "livemode": False,
        "metadata": {"order_id": charge.order_id},
        "status": status,
    }
