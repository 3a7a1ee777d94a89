"""The CRM's objects: which fields accounts and contacts have, of which type, and what may be written."""

import hashlib
import string
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any

import msgspec

from sandbox.crm.refused import Refused
from sandbox.records import Account, Contact
from sandbox.store import Numbered, Value

type Row = Account | Contact

_ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits
_SUFFIX = string.ascii_uppercase + "012345"


@lru_cache(maxsize=200_000)
def id_of(prefix: str, key: str) -> str:
    """A record's Id: prefix of its object and twelve characters made from our key, then three that guard their case."""
    number = int.from_bytes(hashlib.sha256(f"{prefix}/{key}".encode()).digest())
    short = prefix
    for _ in range(12):
        number, place = divmod(number, len(_ALPHABET))
        short += _ALPHABET[place]
    chunks = (short[start : start + 5] for start in (0, 5, 10))
    return short + "".join(_SUFFIX[sum(1 << n for n, c in enumerate(chunk) if c.isupper())] for chunk in chunks)


def moment(seconds: int) -> str:
    """A time as the REST API writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an object.

    Attributes:
        name: as SOQL names it.
        type: as describe names it.
        raw: its value in a record: a text, seconds since 1970 for a time, or None.
        attribute: what a write sets; None if it cannot be written.
        length: most characters of a text.
        external: whether records can be found by it.
    """

    name: str
    type: str
    raw: Callable[[Any], Value | None]
    attribute: str | None = None
    length: int = 0
    nillable: bool = False
    external: bool = False

    def shown(self, record: Row) -> Value | None:
        """The value as the REST API writes it."""
        value = self.raw(record)
        return moment(value) if self.type == "datetime" and isinstance(value, int) else value

    def described(self) -> dict[str, Any]:
        """What describe says of it."""
        return {
            "name": self.name,
            "label": self.name.removesuffix("__c").replace("_", " "),
            "type": self.type,
            "length": self.length,
            "custom": self.name.endswith("__c"),
            "externalId": self.external,
            "filterable": True,
            "idLookup": self.external or self.name == "Id",
            "nillable": self.nillable,
            "sortable": True,
            "updateable": self.attribute is not None,
        }


@dataclass(frozen=True)
class SObject:
    """An object of the CRM with its records.

    Attributes:
        name: as SOQL names it.
        prefix: the first three characters of its Ids.
        records: by our own key.
        fields: in the order of describe.
    """

    name: str
    prefix: str
    records: Numbered[Any]
    fields: tuple[Field, ...]

    @cached_property
    def by_name(self) -> dict[str, Field]:
        """The fields by their names in lower case: SOQL does not tell cases apart."""
        return {field.name.lower(): field for field in self.fields}

    def field(self, name: str) -> Field:
        """A field by its name.

        Raises:
            Refused: there is none.
        """
        found = self.by_name.get(name.lower())
        if found is None:
            raise Refused(
                400,
                "INVALID_FIELD",
                f"No such column '{name}' on entity '{self.name}'. If you are attempting to use a custom field, "
                "be sure to append the '__c' after the custom field name.",
            )
        return found

    def find(self, field: str, value: str) -> Row:
        """The record with this Id or external id.

        Raises:
            Refused: there is none, or records cannot be found by that field.
        """
        found = self.by_name.get(field.lower())
        if found is None or not (found.external or found.name == "Id"):
            raise Refused(404, "NOT_FOUND", "Provided external ID field does not exist or is not accessible: " + field)
        # An Id without its three guarding characters is the same Id.
        for _, record in self.records.scan(found.raw, low=value, high=value + "~"):
            known = found.raw(record)
            if known == value or (found.name == "Id" and str(known)[:15] == value):
                return record
        raise Refused(404, "NOT_FOUND", f"Provided external ID field does not exist or is not accessible: {value}")

    def changed(self, record: Row, given: dict[str, Any], now: int) -> Row:
        """A record with other values.

        Raises:
            Refused: a field that is not there or cannot be written, a value of the wrong type, or a locked record.
        """
        if isinstance(record, Contact) and record.locked:
            raise Refused(400, "ENTITY_IS_LOCKED", "the entity is locked for editing")
        changes: dict[str, Any] = {}
        for name, value in given.items():
            field = self.by_name.get(name.lower())
            if field is None:
                raise Refused(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {self.name}")
            if field.attribute is None:
                message = (
                    f"Unable to create/update fields: {field.name}. Please check the security settings of this field"
                )
                raise Refused(400, "INVALID_FIELD_FOR_INSERT_UPDATE", message, [field.name])
            changes[field.attribute] = _written(field, value)
        return msgspec.structs.replace(record, **changes, updated=max(now, record.updated))

    def shown(self, record: Row, fields: list[Field], root: str) -> dict[str, Any]:
        """A record with these fields, as the REST API shows it."""
        url = f"{root}/sobjects/{self.name}/{self.by_name['id'].raw(record)}"
        return {"attributes": {"type": self.name, "url": url}} | {field.name: field.shown(record) for field in fields}


def _written(field: Field, value: Any) -> Any:
    if value is None or value == "":
        if not field.nillable:
            raise Refused(400, "REQUIRED_FIELD_MISSING", f"Required fields are missing: [{field.name}]", [field.name])
        return None
    if not isinstance(value, str):
        raise Refused(400, "JSON_PARSER_ERROR", f"Cannot deserialize a value of {field.name} from {value!r}")
    if len(value) > field.length:
        message = f"{field.name}: data value too large: {value[:80]} (max length={field.length})"
        raise Refused(400, "STRING_TOO_LONG", message, [field.name])
    return value


def accounts(records: Numbered[Account]) -> SObject:
    """The object Account: a customer's household."""
    return SObject(
        "Account",
        "001",
        records,
        (
            Field("Id", "id", lambda one: id_of("001", one.customer_id), length=18),
            Field("Name", "string", lambda one: one.name, "name", 255),
            Field("Customer_Id__c", "string", lambda one: one.customer_id, length=40, external=True),
            Field("CreatedDate", "datetime", lambda one: one.created),
            Field("LastModifiedDate", "datetime", lambda one: one.updated),
            Field("SystemModstamp", "datetime", lambda one: one.updated),
        ),
    )


def contacts(records: Numbered[Contact]) -> SObject:
    """The object Contact: a customer."""
    return SObject(
        "Contact",
        "003",
        records,
        (
            Field("Id", "id", lambda one: id_of("003", one.customer_id), length=18),
            Field("AccountId", "reference", lambda one: id_of("001", one.customer_id), length=18, nillable=True),
            Field("FirstName", "string", lambda one: one.first_name, "first_name", 40, nillable=True),
            Field("LastName", "string", lambda one: one.last_name, "last_name", 80),
            Field("Name", "string", lambda one: f"{one.first_name or ''} {one.last_name}".strip(), length=121),
            Field("Email", "email", lambda one: one.email, "email", 80, nillable=True),
            Field("LeadSource", "picklist", lambda one: one.lead_source, "lead_source", 255, nillable=True),
            Field("Customer_Id__c", "string", lambda one: one.customer_id, length=40, external=True),
            Field("Fraud_Status__c", "picklist", lambda one: one.fraud_status, "fraud_status", 255, nillable=True),
            Field("CreatedDate", "datetime", lambda one: one.created),
            Field("LastModifiedDate", "datetime", lambda one: one.updated),
            Field("SystemModstamp", "datetime", lambda one: one.updated),
        ),
    )
