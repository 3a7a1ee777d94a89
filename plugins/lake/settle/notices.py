"""Tells the customer: a signed notice to the merchant's own webhook, which knows the address and the language.

The notice has the step's key for its id and the same bytes at every try: the receiver takes it once.
"""

import time
from collections.abc import Callable

import msgspec

from lake.landing.http import Endpoint
from lake.redaction import redacted
from lake.settle.api import Refused, WriteApi
from lake.settle.case import NOTHING, Evidence, Job
from lake.settle.signature import signature
from order_fraud.settlement import RETURN_MONEY

PATH = "/webhooks/orders"
SIGNATURE = "Countersign-Signature"
TYPE = "OrderStoppedAsFraud"


class Notices:
    """The webhook."""

    def __init__(self, endpoint: Endpoint, clock: Callable[[], float] = time.time) -> None:
        """The endpoint's secret signs the notices."""
        self._secret = endpoint.secret
        self._clock = clock
        self._api = WriteApi(endpoint, {"Content-Type": "application/json"})

    def tell(self, job: Job) -> Evidence:
        """Send the notice, and return its id.

        Raises:
            Refused: the receiver does not want it.
        """
        body = notice(job)
        headers = {SIGNATURE: signature(body, self._secret, int(self._clock()))}
        answer = self._api.call("POST", PATH, content=body, headers=headers)
        if not answer.ok:
            said = redacted(str(answer.body), (self._secret,))[:300]
            raise Refused(f"the webhook refuses the notice: HTTP {answer.status}: {said}")
        return {"notice": job.action.key}


def notice(job: Job) -> bytes:
    """The notice of an order: the same bytes at every try."""
    case = job.case
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": job.action.key,
            "source": "/settle",
            "type": TYPE,
            "subject": case.order_id,
            "time": case.known_at,
            "data": {
                "order_id": case.order_id,
                "customer_id": case.customer_id,
                "money": dict(job.evidence.get(RETURN_MONEY, NOTHING)),
            },
        },
        order="sorted",
    )
