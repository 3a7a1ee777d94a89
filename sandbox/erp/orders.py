"""The entity A_SalesOrder: its properties, how JSON and filters write them, and the service's $metadata."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from sandbox.records import SalesOrder

SET = "A_SalesOrder"
TYPE = f"API_SALES_ORDER_SRV.{SET}Type"
KEY = "SalesOrder"

type Plain = str | int | Decimal
"""A value that can be compared: a text, seconds since 1970, a number."""


@dataclass(frozen=True, slots=True)
class Property:
    """A property of the entity.

    Attributes:
        name: as the service names it.
        type: of the Entity Data Model, without ``Edm.``.
        plain: its value in a record, as it compares.
        length: most characters of a text.
        writable: whether an update may set it.
    """

    name: str
    type: str
    plain: Callable[[SalesOrder], Plain]
    length: int = 0
    writable: bool = False

    def shown(self, order: SalesOrder) -> str:
        """The value as OData's JSON writes it."""
        value = self.plain(order)
        match self.type:
            case "DateTime":
                return f"/Date({int(value) * 1000})/"
            case "DateTimeOffset":
                return f"/Date({int(value) * 1000}+0000)/"
        return str(value)

    def declared(self) -> str:
        """What $metadata says of it."""
        facets = {
            "String": f' MaxLength="{self.length}"',
            "Decimal": ' Precision="16" Scale="3"',
            "DateTime": ' Precision="0" sap:display-format="Date"',
            "DateTimeOffset": ' Precision="7"',
        }[self.type]
        nullable = ' Nullable="false"' if self.name == KEY else ""
        fixed = "" if self.writable else ' sap:updatable="false"'
        return f'<Property Name="{self.name}" Type="Edm.{self.type}"{nullable}{facets}{fixed}/>'


def _midnight(seconds: int) -> int:
    return seconds - seconds % 86_400


PROPERTIES = {
    one.name: one
    for one in (
        Property(KEY, "String", lambda order: order.number, 10),
        Property("SalesOrderType", "String", lambda order: "OR", 4),
        Property("SalesOrganization", "String", lambda order: "1710", 4),
        Property("SoldToParty", "String", lambda order: order.customer_id, 10),
        Property("PurchaseOrderByCustomer", "String", lambda order: order.order_id, 35),
        Property("CreationDate", "DateTime", lambda order: _midnight(order.created)),
        Property("LastChangeDateTime", "DateTimeOffset", lambda order: order.updated),
        Property("TotalNetAmount", "Decimal", lambda order: Decimal(order.amount).scaleb(-2)),
        Property("TransactionCurrency", "String", lambda order: order.currency, 5),
        Property("DeliveryBlockReason", "String", lambda order: order.delivery_block, 2, writable=True),
        Property("OverallSDProcessStatus", "String", lambda order: order.status, 1),
    )
}


def etag(order: SalesOrder) -> str:
    """The version of an order: the moment of its last change, and what can be changed within one second."""
    moment = datetime.fromtimestamp(order.updated, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"W/\"datetimeoffset'{quote(moment, safe='')}'{order.delivery_block}\""


def shown(order: SalesOrder, names: list[str], root: str) -> dict[str, Any]:
    """An order with these properties, as OData's JSON shows it."""
    uri = f"{root}/{SET}('{order.number}')"
    about = {"id": uri, "uri": uri, "type": TYPE, "etag": etag(order)}
    return {"__metadata": about} | {name: PROPERTIES[name].shown(order) for name in names}


def metadata() -> str:
    """The service's $metadata document."""
    properties = "".join(one.declared() for one in PROPERTIES.values())
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<edmx:Edmx Version="1.0" xmlns:edmx="http://schemas.microsoft.com/ado/2007/06/edmx"'
        ' xmlns:m="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata"'
        ' xmlns:sap="http://www.sap.com/Protocols/SAPData">'
        '<edmx:DataServices m:DataServiceVersion="2.0">'
        '<Schema Namespace="API_SALES_ORDER_SRV" xmlns="http://schemas.microsoft.com/ado/2008/09/edm">'
        f'<EntityType Name="{SET}Type" sap:label="Sales Order" sap:content-version="1">'
        f'<Key><PropertyRef Name="{KEY}"/></Key>{properties}</EntityType>'
        '<EntityContainer Name="API_SALES_ORDER_SRV_Entities" m:IsDefaultEntityContainer="true">'
        f'<EntitySet Name="{SET}" EntityType="{TYPE}" sap:creatable="false" sap:deletable="false"/>'
        "</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>"
    )
