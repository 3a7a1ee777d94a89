"""The CRM, as Salesforce's REST API: a token by client credentials, one contact by its external id, its update.

Public documentation: the REST API Developer Guide, "Get a Record Using an External ID", "Update a Record", and
"OAuth 2.0 Client Credentials Flow".
"""

import re
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from sandbox.records import Contact
from sandbox.store import Numbered

FLAG = "Fraud_Flag__c"
_WRITABLE = {FLAG: bool}
_VERSION = re.compile(r"v\d\d\.0")


@dataclass(frozen=True, slots=True)
class Crm:
    """What the routes need.

    Attributes:
        client_id: of the connected app.
        client_secret: of the connected app.
        contacts: all of them, by customer id.
        flags: ``Fraud_Flag__c`` by customer id, where it was written.
        tokens: that were given out.
    """

    client_id: str
    client_secret: str
    contacts: Numbered[Contact] = field(default_factory=Numbered)
    flags: dict[str, bool] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)

    def clear(self) -> None:
        """Forget everything, tokens included."""
        for store in (self.contacts, self.flags, self.tokens):
            store.clear()


def routes(crm: Crm) -> APIRouter:
    """The CRM's routes."""
    router = APIRouter()

    @router.post("/services/oauth2/token")
    async def token(request: Request) -> JSONResponse:
        return _token(crm, dict(parse_qsl((await request.body()).decode(errors="replace"))), str(request.base_url))

    @router.get("/services/data/{version}/sobjects/Contact/Customer_Id__c/{customer_id:path}")
    async def by_external_id(version: str, customer_id: str, request: Request) -> JSONResponse:
        if refused := _refusal(crm, version, request):
            return refused
        number = crm.contacts.number(customer_id)
        contact = crm.contacts.get(number or 0)
        if number is None or contact is None:
            return _error(404, "NOT_FOUND", "The requested resource does not exist")
        return JSONResponse(as_object(crm, version, number, contact))

    @router.patch("/services/data/{version}/sobjects/Contact/{contact_id}")
    async def update(version: str, contact_id: str, request: Request) -> Response:
        return _refusal(crm, version, request) or _updated(crm, contact_id, await request.body())

    return router


def _token(crm: Crm, form: dict[str, str], base_url: str) -> JSONResponse:
    if form.get("grant_type") != "client_credentials":
        return JSONResponse({"error": "unsupported_grant_type", "error_description": "grant type not supported"}, 400)
    id_fits = secrets.compare_digest(form.get("client_id", "").encode(), crm.client_id.encode())
    if not (id_fits and secrets.compare_digest(form.get("client_secret", "").encode(), crm.client_secret.encode())):
        return JSONResponse({"error": "invalid_client", "error_description": "invalid client credentials"}, 401)
    given = secrets.token_urlsafe(24)
    crm.tokens.add(given)
    return JSONResponse(
        {"access_token": given, "instance_url": base_url.rstrip("/"), "token_type": "Bearer", "scope": "api"}
    )


def _updated(crm: Crm, contact_id: str, body: bytes) -> Response:
    contact = crm.contacts.get(int(contact_id[3:15]) if re.fullmatch(r"003\d{12}AAA", contact_id) else 0)
    if contact is None:
        return _error(404, "NOT_FOUND", "The requested resource does not exist")
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        return _error(400, "JSON_PARSER_ERROR", str(error))
    for name, value in fields.items():
        if name not in _WRITABLE:
            return _error(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type Contact")
        if not isinstance(value, _WRITABLE[name]):
            return _error(400, "INVALID_TYPE_ON_FIELD_IN_RECORD", f"{name}: value not of required type: {value}")
    if contact.locked:
        return _error(400, "ENTITY_IS_LOCKED", "the entity is locked for editing")
    if FLAG in fields:
        crm.flags[contact.customer_id] = fields[FLAG]
    return Response(status_code=204)


def as_object(crm: Crm, version: str, number: int, contact: Contact) -> dict[str, Any]:
    """A contact in Salesforce's words."""
    contact_id = f"003{number:012}AAA"
    return {
        "attributes": {"type": "Contact", "url": f"/services/data/{version}/sobjects/Contact/{contact_id}"},
        "Id": contact_id,
        "Customer_Id__c": contact.customer_id,
        "Email": contact.email,
        FLAG: crm.flags.get(contact.customer_id, contact.flagged),
    }


def _refusal(crm: Crm, version: str, request: Request) -> JSONResponse | None:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or given not in crm.tokens:
        return _error(401, "INVALID_SESSION_ID", "Session expired or invalid")
    if not _VERSION.fullmatch(version):
        return _error(404, "NOT_FOUND", "The requested resource does not exist")
    return None


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse([{"message": message, "errorCode": code}], status)
