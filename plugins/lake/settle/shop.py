"""Cancels the order in a shop that speaks Shopify's GraphQL Admin API. There is no way back.

The money is given back at the provider, so the shop is asked to move none; stock comes back when the parcel does.
"""

from time import monotonic, sleep
from typing import Any

from lake.landing.http import BadCredentials, Endpoint, SourceUnavailable
from lake.landing.shopify import refill_wait
from lake.redaction import redacted
from lake.settle.api import Refused, WriteApi
from lake.settle.case import Evidence, Job

PATH = "/admin/api/2026-07/graphql.json"
FIND = """
query Find($query: String!) {
  orders(first: 2, query: $query) { nodes { id name sourceIdentifier cancelledAt cancelReason } }
}
"""
CANCEL = """
mutation Cancel($id: ID!, $note: String) {
  orderCancel(
    orderId: $id, reason: FRAUD, restock: false, notifyCustomer: false, staffNote: $note,
    refundMethod: { originalPaymentMethodsRefund: false }
  ) {
    job { id done }
    orderCancelUserErrors { code field message }
  }
}
"""
LOOK = "query Look($id: ID!) { order(id: $id) { id name cancelledAt cancelReason } }"
LONGEST_NOTE = 255
JOB_S = 30.0
"""The job that cancels takes seconds; what takes longer is looked at again by the task's next try."""

THROTTLED_ATTEMPTS = 20


class Shop:
    """The shop's API."""

    def __init__(self, endpoint: Endpoint) -> None:
        """The endpoint's secret is the access token; it needs the scopes read_orders and write_orders."""
        self._endpoint = endpoint
        self._api = WriteApi(endpoint, {"X-Shopify-Access-Token": endpoint.secret})

    def cancel(self, job: Job) -> Evidence:
        """See that the order is cancelled, and return its name in the shop and since when.

        Raises:
            Refused: the shop has no such order, or refuses to cancel it.
        """
        order_id = job.case.order_id
        quoted = order_id.replace("\\", "\\\\").replace("'", "\\'")
        found = self._ask(FIND, query=f"source_identifier:'{quoted}'")["orders"]["nodes"]
        ours = [order for order in found if order["sourceIdentifier"] == order_id]
        if len(ours) != 1:
            raise Refused(f"the shop has {'no' if not ours else 'more than one'} order {order_id}")
        if ours[0]["cancelledAt"] is not None:
            return _evidence(ours[0])
        answer = self._ask(CANCEL, id=ours[0]["id"], note=job.action.key[:LONGEST_NOTE])["orderCancel"]
        errors = answer["orderCancelUserErrors"]
        # A refusal may mean that another try is cancelling it at this moment: then it shows within the job's time.
        order = self._wait(ours[0]["id"], JOB_S if not errors else 1.0)
        if order is not None:
            return _evidence(order)
        if errors:
            said = "; ".join(f"{error['code']}: {error['message']}" for error in errors)
            if any(error["code"] == "INTERNAL_ERROR" for error in errors):
                raise SourceUnavailable(f"the shop could not cancel order {order_id} just now: {redacted(said)}")
            raise Refused(f"the shop refuses to cancel order {order_id}: {said}")
        raise SourceUnavailable(f"the shop has not cancelled order {order_id} after {JOB_S:.0f} s")

    def _wait(self, gid: str, seconds: float) -> dict[str, Any] | None:
        until = monotonic() + seconds
        pause = 0.1
        while True:
            order = self._ask(LOOK, id=gid)["order"]
            if order is not None and order["cancelledAt"] is not None:
                return dict(order)
            if monotonic() > until:
                return None
            sleep(pause)
            pause = min(2 * pause, 2.0)

    def _ask(self, document: str, **variables: Any) -> dict[str, Any]:
        for _ in range(THROTTLED_ATTEMPTS):
            answer = self._api.call("POST", PATH, json={"query": document, "variables": variables})
            body = answer.body if isinstance(answer.body, dict) else {}
            errors = body.get("errors")
            if answer.ok and not errors:
                return dict(body["data"])
            if not _is_throttled(errors):
                self._refuse(answer.status, errors)
            sleep(max(refill_wait((body.get("extensions") or {}).get("cost") or {}), 0.1))
        raise SourceUnavailable(f"the shop throttled {THROTTLED_ATTEMPTS} times in a row")

    def _refuse(self, status: int, errors: Any) -> None:
        said = redacted(str(errors), (self._endpoint.secret,))[:300]
        if "ACCESS_DENIED" in _codes(errors):
            raise BadCredentials(
                f"the shop denies access: {said}. The token of the Airflow connection {self._endpoint.connection} "
                "needs the scopes read_orders and write_orders"
            )
        raise Refused(f"the shop refuses the request: HTTP {status}: {said}")


def _codes(errors: Any) -> set[str | None]:
    if not isinstance(errors, list):
        return set()
    return {(error.get("extensions") or {}).get("code") for error in errors if isinstance(error, dict)}


def _is_throttled(errors: Any) -> bool:
    return _codes(errors) == {"THROTTLED"}


def _evidence(order: dict[str, Any]) -> Evidence:
    return {
        "order in the shop": str(order["name"]),
        "cancelled at": str(order["cancelledAt"]),
        "cancelled for": str(order["cancelReason"]),
    }
