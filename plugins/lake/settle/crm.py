"""Flags the customer in a CRM that speaks Salesforce's REST API; for the connection see lake.landing.salesforce."""

from typing import Any
from urllib.parse import quote

from lake.landing.http import Endpoint
from lake.landing.salesforce import PASSING, ClientCredentials, codes
from lake.settle.api import Answer, Refused, WriteApi

CONTACT = "/services/data/v66.0/sobjects/Contact"
EXTERNAL_ID = "Customer_Id__c"
FLAG = "Fraud_Status__c"
CONFIRMED = "confirmed"
"""The flag of a customer whose order is fraud."""


class Crm:
    """The CRM's API."""

    def __init__(self, endpoint: Endpoint) -> None:
        """No token is asked for before the first call."""
        self._api = WriteApi(
            endpoint,
            {},
            auth=ClientCredentials(endpoint),
            passing=lambda response: bool(codes(response) & PASSING),
        )

    def contact(self, customer_id: str) -> tuple[str, str] | None:
        """Return a customer's contact id and its flag, empty if it has none; None if the CRM has no such customer.

        Raises:
            Refused: the CRM refuses the question.
        """
        path = f"{CONTACT}/{EXTERNAL_ID}/{quote(customer_id, safe='')}"
        answer = self._api.call("GET", path)
        if answer.status == 404:
            return None
        record = _expected(answer)
        return str(record["Id"]), str(record[FLAG] or "")

    def set_flag(self, contact_id: str, flag: str) -> None:
        """Flag a contact, or give it back the flag that it had; an empty one takes it away.

        Raises:
            Refused: the CRM refuses the change.
        """
        _expected(self._api.call("PATCH", f"{CONTACT}/{contact_id}", json={FLAG: flag or None}))


def _expected(answer: Answer) -> dict[str, Any]:
    if answer.ok:
        return answer.body if isinstance(answer.body, dict) else {}
    errors = answer.body if isinstance(answer.body, list) else []
    said = "; ".join(f"{error.get('errorCode')}: {error.get('message')}" for error in errors)
    raise Refused(f"the CRM refuses: HTTP {answer.status} {said}")
