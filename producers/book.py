"""The shop's order book: validated rows, the order ids that follow from them, and the events in business order.

Everything that must agree on order ids (producer, sandbox, fault plan) builds its book here, from the same rows.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from order_fraud.events import Customer, NewCustomer, NewOrder, Order

CURRENCY = "USD"
"""The public order set names no currency; its amounts are dollars."""

SOURCE = "/shop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One purchase, with the sign-up of the customer who made it.

    Attributes:
        line: where it stood in its file, from 1 (0 in a generated set).
        user_id: digits only, as written.
        signup_time: UTC.
        purchase_time: UTC, never before ``signup_time``.
        amount: minor units (cents).
        device_id: None if unknown.
        source: the marketing channel; None if unknown.
        browser: None if unknown.
        sex: as written; never sent, since no verdict may depend on it.
        age: as written; never sent.
        ip: dotted IPv4; None if unknown.
        truth: what the order really was, for evaluation alone, never sent: a pattern's name, or ``normal``, ``fraud``
            and ``unknown`` where only the ``class`` column tells.
        card: the payment provider's fingerprint of the card; None if unknown.
        email_domain: what follows the @ in the customer's e-mail address, in lower case; None if unknown.
        address: the shop's fingerprint of the shipping address; None if unknown.
        country: where the customer says to live; None if unknown.
        ip_country: country of the ip, named as ``country`` is; None if unknown.
    """

    line: int
    user_id: str
    signup_time: datetime
    purchase_time: datetime
    amount: int
    device_id: str | None
    source: str | None
    browser: str | None
    ip: str | None
    sex: str = ""
    age: str = ""
    truth: str = "unknown"
    card: str | None = None
    email_domain: str | None = None
    address: str | None = None
    country: str | None = None
    ip_country: str | None = None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is not used, its line, and what is wrong with which field."""

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Sale:
    """A row that has got its order id."""

    order_id: str
    row: Row


@dataclass(frozen=True, slots=True)
class Book:
    """All sales of the shop.

    Attributes:
        signups: for every customer the row whose sign-up counts, in sign-up order.
        sales: in purchase order.
        rejected: the rows that were refused, in file order.
    """

    signups: tuple[Row, ...]
    sales: tuple[Sale, ...]
    rejected: tuple[BadRow, ...]

    def __len__(self) -> int:
        """The number of events of the whole book."""
        return len(self.signups) + len(self.sales)


def book(rows: Iterable[Row], rejected: Iterable[BadRow] = ()) -> Book:
    """Number the orders of each customer by purchase time and keep the earliest sign-up of each.

    Rows of one customer may disagree about the sign-up. The earliest counts, so that no order comes before it.
    """
    by_purchase = sorted(rows, key=lambda row: (row.purchase_time, row.line))
    orders_of: dict[str, int] = {}
    signup_of: dict[str, Row] = {}
    sales = []
    for row in by_purchase:
        number = orders_of[row.user_id] = orders_of.get(row.user_id, 0) + 1
        sales.append(Sale(f"{row.user_id}-{number}", row))
        known = signup_of.get(row.user_id)
        if known is None or row.signup_time < known.signup_time:
            signup_of[row.user_id] = row
    signups = sorted(signup_of.values(), key=lambda row: (row.signup_time, row.line))
    return Book(tuple(signups), tuple(sales), tuple(rejected))


CountryOf = Callable[[str], str | None]
"""Gives the country of a dotted ip, None if nobody knows."""


def events(
    book: Book,
    withhold: frozenset[str] = frozenset(),
    country_of: CountryOf | None = None,
    no_sign_up: frozenset[str] = frozenset(),
) -> Iterator[tuple[str, NewCustomer | NewOrder]]:
    """Yield ``(customer_id, event)`` in order of ``time``; at the same instant sign-ups come before orders.

    Args:
        book: the sales.
        withhold: ids of orders to leave out.
        country_of: asked for the country of an ip where the row does not say it.
        no_sign_up: ids of customers whose sign-up is left out.
    """
    signups = iter([row for row in book.signups if row.user_id not in no_sign_up])
    pending = next(signups, None)
    for sale in book.sales:
        while pending is not None and pending.signup_time <= sale.row.purchase_time:
            yield pending.user_id, new_customer(pending)
            pending = next(signups, None)
        if sale.order_id not in withhold:
            yield sale.row.user_id, new_order(sale, country_of)
    # A sign-up is never after its own customer's purchase, so that only a book without sales has any left.
    for row in chain(() if pending is None else (pending,), signups):
        yield row.user_id, new_customer(row)


def new_customer(row: Row) -> NewCustomer:
    """The sign-up of a row as an event."""
    return NewCustomer(
        id=f"customer/{row.user_id}",
        source=SOURCE,
        subject=row.user_id,
        time=row.signup_time,
        data=Customer(
            customer_id=row.user_id,
            device_id=row.device_id,
            ip=row.ip,
            email_domain=row.email_domain,
            country=row.country,
            channel=row.source,
            browser=row.browser,
        ),
    )


def new_order(sale: Sale, country_of: CountryOf | None = None) -> NewOrder:
    """A sale as an event; ``country_of`` as in :func:`events`."""
    row = sale.row
    ip_country = row.ip_country
    if ip_country is None and row.ip is not None and country_of is not None:
        ip_country = country_of(row.ip)
    return NewOrder(
        id=f"order/{sale.order_id}",
        source=SOURCE,
        subject=sale.order_id,
        time=row.purchase_time,
        data=Order(
            order_id=sale.order_id,
            customer_id=row.user_id,
            amount=row.amount,
            currency=CURRENCY,
            device_id=row.device_id,
            ip=row.ip,
            card=row.card,
            email_domain=row.email_domain,
            address=row.address,
            ip_country=ip_country,
        ),
    )
