"""Gives the money back, at a provider that speaks Stripe's API.

What was captured is refunded; what was only authorised is released by cancelling its PaymentIntent. Money that the
cardholder's bank has taken back already is left alone: a refund on top of a dispute would pay twice.

Stripe forgets a key after a day or more, so that a key alone does not do: each charge is looked at first.
"""

from typing import Any

from lake.landing.http import Endpoint, SourceUnavailable
from lake.reconcile.findings import money
from lake.redaction import redacted
from lake.settle.api import Answer, Refused, WriteApi
from lake.settle.case import Evidence, Job

REASON = "fraudulent"
ALREADY = frozenset({"charge_already_refunded", "charge_disputed", "payment_intent_unexpected_state"})
"""Somebody has changed the charge since it was looked at: look again."""

LOOKS = 3


class Payments:
    """The provider's API."""

    def __init__(self, endpoint: Endpoint) -> None:
        """The endpoint's secret is the API key."""
        self._api = WriteApi(endpoint, {"Authorization": f"Bearer {endpoint.secret}"})

    def return_money(self, job: Job) -> Evidence:
        """See that no money of the order is kept, and return what became of each charge, by its id.

        Raises:
            Refused: the provider refuses to give a charge back.
        """
        order_id = job.case.order_id
        charges = self._charges(order_id)
        if not charges:
            return {"charges": "the provider has no charge of this order"}
        return {charge_id: self._settled(charge_id, f"{job.action.key}/{charge_id}") for charge_id in charges}

    def _charges(self, order_id: str) -> list[str]:
        quoted = order_id.replace("\\", "\\\\").replace("'", "\\'")
        query: dict[str, str | int] = {"query": f"metadata['order_id']:'{quoted}'", "limit": 100}
        found: list[str] = []
        while True:
            page = _expected(self._api.call("GET", "/v1/charges/search", params=query))
            found += [charge["id"] for charge in page["data"] if charge["status"] == "succeeded"]
            if not page["has_more"] or not page.get("next_page"):
                return sorted(found)
            query["page"] = page["next_page"]

    def _settled(self, charge_id: str, key: str) -> str:
        answer: Answer | None = None
        for _ in range(LOOKS):
            charge = _expected(self._api.call("GET", f"/v1/charges/{charge_id}"))
            if charge["disputed"]:
                return f"in dispute: the bank takes {_amount(charge, charge['amount'])} back, nothing was refunded"
            if charge["refunded"]:
                return self._given_back(charge)
            answer = self._give_back(charge, key)
            if not answer.ok and _code(answer) not in ALREADY:
                raise Refused(f"{charge_id}: {_said(answer)}")
        said = _said(answer) if answer else "nothing"
        raise SourceUnavailable(f"{charge_id}: the provider says {said}, and the charge does not show it yet")

    def _give_back(self, charge: dict[str, Any], key: str) -> Answer:
        if charge["captured"] or not charge.get("payment_intent"):
            form = {"charge": charge["id"], "reason": REASON, "metadata[settlement]": key}
            return self._api.call("POST", "/v1/refunds", data=form, headers={"Idempotency-Key": key})
        # A key of its own: should the charge be captured meanwhile, it is refunded, which is another request.
        path = f"/v1/payment_intents/{charge['payment_intent']}/cancel"
        headers = {"Idempotency-Key": f"{key}/release"}
        return self._api.call("POST", path, data={"cancellation_reason": REASON}, headers=headers)

    def _given_back(self, charge: dict[str, Any]) -> str:
        page = _expected(self._api.call("GET", "/v1/refunds", params={"charge": charge["id"], "limit": 100}))
        refunds = ", ".join(sorted(refund["id"] for refund in page["data"]))
        verb = "refunded" if charge["captured"] else "released"
        return f"{verb} {_amount(charge, charge['amount_refunded'])} by {refunds}"


def _expected(answer: Answer) -> dict[str, Any]:
    if not answer.ok or not isinstance(answer.body, dict):
        raise Refused(_said(answer))
    return answer.body


def _error(answer: Answer) -> dict[str, Any]:
    error = answer.body.get("error") if isinstance(answer.body, dict) else None
    return error if isinstance(error, dict) else {}


def _code(answer: Answer) -> str:
    return str(_error(answer).get("code"))


def _said(answer: Answer) -> str:
    error = _error(answer)
    return redacted(f"HTTP {answer.status} {error.get('code') or error.get('type')}: {error.get('message')}")


def _amount(charge: dict[str, Any], amount: int) -> str:
    return money(amount, charge["currency"].upper())
