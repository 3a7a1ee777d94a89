"""Flags the customer in a CRM that speaks Salesforce's REST API.

The connection: host is the org's My Domain, login the client id of its connected app, password the client secret.
"""

import threading
from typing import Any
from urllib.parse import quote

from lake.landing.http import BadCredentials, Endpoint
from lake.settle.api import Answer, Refused, WriteApi

CONTACT = "/services/data/v66.0/sobjects/Contact"
EXTERNAL_ID = "Customer_Id__c"
FLAG = "Fraud_Flag__c"
TOKEN_PATH = "/services/oauth2/token"  # noqa: S105  # a path


class Crm:
    """The CRM's API; gets its access token by itself."""

    def __init__(self, endpoint: Endpoint) -> None:
        """No token is asked for before the first call."""
        self._endpoint = endpoint
        self._api = WriteApi(endpoint, {})
        self._lock = threading.Lock()
        self._token = ""

    def contact(self, customer_id: str) -> tuple[str, bool] | None:
        """Return a customer's contact id and whether it is flagged, None if the CRM does not know the customer.

        Raises:
            Refused: the CRM refuses the question.
        """
        path = f"{CONTACT}/{EXTERNAL_ID}/{quote(customer_id, safe='')}"
        answer = self._call("GET", path)
        if answer.status == 404:
            return None
        record = _expected(answer)
        return str(record["Id"]), bool(record[FLAG])

    def set_flag(self, contact_id: str, flagged: bool) -> None:
        """Flag a contact or take the flag away.

        Raises:
            Refused: the CRM refuses the change.
        """
        _expected(self._call("PATCH", f"{CONTACT}/{contact_id}", json={FLAG: flagged}))

    def _call(self, method: str, path: str, **request: Any) -> Answer:
        token = self._token or self._renewed("")
        try:
            return self._api.call(method, path, headers={"Authorization": f"Bearer {token}"}, **request)
        except BadCredentials:  # an access token lives for hours, and this one may have been kept for too long
            token = self._renewed(token)
            return self._api.call(method, path, headers={"Authorization": f"Bearer {token}"}, **request)

    def _renewed(self, known: str) -> str:
        """Return an access token other than the one that the CRM does not take any more; one thread asks for all."""
        with self._lock:
            if self._token == known:
                form = {
                    "grant_type": "client_credentials",
                    "client_id": self._endpoint.login,
                    "client_secret": self._endpoint.secret,
                }
                answer = self._api.call("POST", TOKEN_PATH, data=form)
                if not answer.ok or not isinstance(answer.body, dict) or "access_token" not in answer.body:
                    raise BadCredentials(
                        f"the CRM gives no token for the Airflow connection {self._endpoint.connection}: "
                        f"HTTP {answer.status} {answer.body}. Its login is the client id, its password the secret"
                    )
                self._token = str(answer.body["access_token"])
            return self._token


def _expected(answer: Answer) -> dict[str, Any]:
    if answer.ok:
        return answer.body if isinstance(answer.body, dict) else {}
    errors = answer.body if isinstance(answer.body, list) else []
    said = "; ".join(f"{error.get('errorCode')}: {error.get('message')}" for error in errors)
    raise Refused(f"the CRM refuses: HTTP {answer.status} {said}")
