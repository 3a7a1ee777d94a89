"""What is known of orders afterwards, as events: from the class column, from a file of labels, or order by order.

The entities of an order (customer, device, ip, card, mail domain, address) are taken from the order book, so that each
of them learns of it. The ids are deterministic: saying the same again is harmless.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from order_fraud.events import ChargebackOpened, Feedback, FraudCleared, FraudConfirmed
from producers import fields
from producers.book import CURRENCY, BadRow, Book, Sale
from producers.fields import BadField, shown

Word = FraudConfirmed | FraudCleared | ChargebackOpened
"""What may be said of an order."""

WORDS: dict[str, type[Word]] = {
    "confirmed": FraudConfirmed,
    "cleared": FraudCleared,
    "chargeback": ChargebackOpened,
}
"""How files and options call them."""

HONEST = frozenset({"normal", "unknown"})
"""Truths of a row that are no fraud, or none that anybody knows of."""

_ENVELOPE = {
    FraudConfirmed: ("fraud-confirmed/", "/review"),
    FraudCleared: ("fraud-cleared/", "/review"),
    ChargebackOpened: ("chargeback/", "/payments"),
}


def said(kind: type[Word], sale: Sale, time: datetime, by: str | None = None) -> Word:
    """Return the event that says of a sale what it was.

    Args:
        kind: what is said.
        sale: of the order book.
        time: when it was found out, UTC.
        by: who says so: a reviewer, or the provider's id of the dispute.
    """
    prefix, source = _ENVELOPE[kind]
    row = sale.row
    return kind(
        id=prefix + sale.order_id,
        source=source,
        subject=sale.order_id,
        time=time,
        data=Feedback(
            order_id=sale.order_id,
            customer_id=row.user_id,
            device_id=row.device_id,
            ip=row.ip,
            card=row.card,
            email_domain=row.email_domain,
            address=row.address,
            amount=row.amount,
            currency=CURRENCY,
            by=by,
        ),
    )


def charged_back(book: Book, delay: timedelta, by: str | None = None) -> Iterator[ChargebackOpened]:
    """Yield a chargeback of every order that is known to be fraud, ``delay`` after the order."""
    for sale in book.sales:
        if sale.row.truth not in HONEST:
            yield said(ChargebackOpened, sale, sale.row.purchase_time + delay, by)  # type: ignore[misc]


def read(
    lines: Iterable[str], sales: Mapping[str, Sale], delay: timedelta, by: str | None = None
) -> Iterator[Word | BadRow]:
    """Yield an event, or what is wrong, for every line of a file of labels that is neither blank nor its header.

    Args:
        lines: ``order_id,label`` or ``order_id,label,time``; a label is one of :data:`WORDS`, a time is UTC.
        sales: the order book by order id.
        delay: from the order, where a line has no time.
        by: as in :func:`said`.
    """
    for number, cells in enumerate(csv.reader(lines), start=1):
        cells = [cell.strip() for cell in cells]
        if not any(cells) or (number == 1 and cells[0] == "order_id"):
            continue
        try:
            yield _label(cells, sales, delay, by)
        except BadField as error:
            yield BadRow(number, str(error))


def _label(cells: list[str], sales: Mapping[str, Sale], delay: timedelta, by: str | None) -> Word:
    if not 2 <= len(cells) <= 3:
        raise BadField(f"the line has {len(cells)} columns, expected order_id,label[,time]")
    kind = WORDS.get(cells[1].lower())
    if kind is None:
        raise BadField(f"label {shown(cells[1])} is none of {', '.join(WORDS)}")
    sale = find(sales, cells[0])
    time = fields.time("time", cells[2]) if len(cells) == 3 and cells[2] else sale.row.purchase_time + delay
    if time < sale.row.purchase_time:
        raise BadField(
            f"time {shown(cells[2])} is before order {sale.order_id} itself ({sale.row.purchase_time.isoformat()})"
        )
    return said(kind, sale, time, by)


def find(sales: Mapping[str, Sale], order_id: str) -> Sale:
    """Return the sale of an order id.

    Raises:
        BadField: there is none.
    """
    sale = sales.get(order_id)
    if sale is None:
        raise BadField(
            f"order {shown(order_id)} is not among these orders: an id is the user_id and the number of the user's "
            "order by time, like 22058-1; `--truth FILE` of producers.shop lists them all"
        )
    return sale
