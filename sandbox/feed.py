"""Fills the sandbox with the orders that the producer streams, and plants the faults of a plan.

The shop gets every order but those of order-not-sold. The payment provider gets a charge for each of the shop's orders
but those of payment-missing, over another amount for amount-differs, captured for charged-but-rejected, and charges
that belong to no order for payment-orphan. Money of the orders in --returned goes back in both, of those of
refund-missing not as it should. The CRM gets an account and a contact for each customer, whose address or channel is
another one for customer-differs. --disputed adds disputes of which no event tells. Feeding twice changes nothing, but
what was written back to the CRM since is gone; feeding with more in the plan changes just that. Rows that the producer
would reject are left out here as well.
"""

import argparse
import hashlib
import json
import os
import random
import sys
from collections.abc import Iterator, Mapping
from itertools import batched
from pathlib import Path
from typing import cast

import httpx
import msgspec
from rich.console import Console
from rich.progress import Progress

from producers import source
from producers.book import CURRENCY, Book, Row, Sale
from producers.orders_csv import BadFile
from sandbox import faults, refund_faults
from sandbox.app import ADMIN_TOKEN
from sandbox.records import Account, Charge, Contact, Dispute, Load, Order, Refund, ShopRefund

PER_REQUEST = 2_000
DEFAULT_URL = "http://127.0.0.1:18080"

FIRST_NAMES = ("Ada", "Alan", "Barbara", "Claude", "Dorothy", "Edsger", "Grace", "John", "Katherine", "Niklaus")
LAST_NAMES = ("Abel", "Bernoulli", "Cantor", "Dirichlet", "Euler", "Fermat", "Gauss", "Hilbert", "Jacobi", "Noether")
"""Of mathematicians and programmers, put together at random."""

type Plan = Mapping[str, list[str]]


class CannotFeed(Exception):
    """The sandbox does not answer or refuses, or the plan is unusable; the message names which, and the remedy."""


RETURNED, DISPUTED = "returned", "disputed"
"""Names in a plan beside the kinds of fault: orders whose money went back as it should, and disputed ones."""

DISPUTED_AFTER = 20 * 86_400
"""Seconds from an order until it is disputed."""


def orders(book: Book, plan: Plan, seed: int = 1) -> Iterator[Order]:
    """What the shop knows; ``seed`` decides how refunds go wrong."""
    unknown = frozenset(plan.get(faults.NOT_SOLD, ()))
    wrong = frozenset(plan.get(faults.REFUND_MISSING, ()))
    for sale in book.sales:
        if sale.order_id in unknown:
            continue
        order = order_of(sale)
        if sale.order_id in wrong and refund_faults.flaw_of(sale.order_id, seed) == "cancelled":
            moment = order.created + refund_faults.LATER
            order = msgspec.structs.replace(order, cancelled=moment, cancel_reason="CUSTOMER", updated=moment)
        yield order


def order_of(sale: Sale) -> Order:
    """A sale as the shop keeps it; the e-mail address is invented."""
    row = sale.row
    moment = int(row.purchase_time.timestamp())
    return Order(
        order_id=sale.order_id,
        customer_id=row.user_id,
        created=moment,
        updated=moment,
        amount=row.amount,
        currency=CURRENCY,
        email=email_of(row.user_id),
        ip=row.ip,
    )


def charges(book: Book, plan: Plan, seed: int) -> Iterator[Charge]:
    """What the payment provider knows; ``seed`` decides about wrong amounts and about the orphans."""
    uncharged = frozenset(plan.get(faults.NOT_SOLD, ())) | frozenset(plan.get(faults.PAYMENT_MISSING, ()))
    wrong = frozenset(plan.get(faults.AMOUNT_DIFFERS, ()))
    kinds = (faults.CHARGED_REJECTED, faults.REFUND_MISSING, RETURNED, DISPUTED)
    captured = frozenset(order_id for kind in kinds for order_id in plan.get(kind, ()))
    for sale in book.sales:
        order_id, amount = sale.order_id, sale.row.amount
        if order_id in uncharged:
            continue
        if order_id in wrong:
            amount = faults.wrong_amount(order_id, amount, seed)
        yield _charge(order_id, sale, amount, captured=order_id in captured)
    for order_id in plan.get(faults.PAYMENT_ORPHAN, ()):
        draw = random.Random(f"orphan/{seed}/{order_id}")
        yield _charge(order_id, draw.choice(book.sales), draw.randint(500, 20_000))


def shop_refunds(book: Book, plan: Plan, seed: int) -> Iterator[ShopRefund]:
    """What the shop says has gone back."""
    for sale, flaw in _given_back(book, plan, seed):
        refund = refund_faults.in_shop(sale, flaw)
        if refund is not None:
            yield refund


def refunds(book: Book, plan: Plan, seed: int) -> Iterator[Refund]:
    """What the payment provider has given back."""
    for sale, flaw in _given_back(book, plan, seed):
        refund = refund_faults.at_provider(sale, charge_id_of(sale.order_id), flaw)
        if refund is not None:
            yield refund


def _given_back(book: Book, plan: Plan, seed: int) -> Iterator[tuple[Sale, refund_faults.Flaw | None]]:
    right, wrong = frozenset(plan.get(RETURNED, ())), frozenset(plan.get(faults.REFUND_MISSING, ()))
    for sale in book.sales:
        if sale.order_id in wrong:
            yield sale, refund_faults.flaw_of(sale.order_id, seed)
        elif sale.order_id in right:
            yield sale, None


def disputes(book: Book, plan: Plan) -> Iterator[Dispute]:
    """What cardholders' banks take back."""
    chosen = frozenset(plan.get(DISPUTED, ()))
    for sale in book.sales:
        if sale.order_id in chosen:
            charge_id = charge_id_of(sale.order_id)
            yield Dispute(
                dispute_id=f"dp_{charge_id.removeprefix('ch_')}",
                charge_id=charge_id,
                amount=sale.row.amount,
                created=int(sale.row.purchase_time.timestamp()) + DISPUTED_AFTER,
            )


def charge_id_of(order_id: str) -> str:
    """The provider's id of an order's charge."""
    return f"ch_{hashlib.sha256(order_id.encode()).hexdigest()[:24]}"


def _charge(order_id: str, like: Sale, amount: int, *, captured: bool = False) -> Charge:
    customer_id = like.row.user_id if like.order_id == order_id else order_id.partition("-")[0]
    return Charge(
        charge_id=charge_id_of(order_id),
        order_id=order_id,
        customer_id=customer_id,
        created=int(like.row.purchase_time.timestamp()),
        amount=amount,
        currency=CURRENCY,
        captured=captured,
    )


def accounts(book: Book) -> Iterator[Account]:
    """What the CRM knows of households: one for each customer, whose name is invented."""
    for row in book.signups:
        moment = int(row.signup_time.timestamp())
        name = f"{_last_name(row.user_id)} Household"
        yield Account(customer_id=row.user_id, created=moment, updated=moment, name=name)


def contacts(book: Book, plan: Plan, seed: int = 1) -> Iterator[Contact]:
    """What the CRM knows of people: each customer, whose name and e-mail address are invented.

    ``seed`` decides what is wrong with the contacts of customer-differs.
    """
    chosen = frozenset(plan.get(faults.CUSTOMER_DIFFERS, ()))
    wrong = {sale.row.user_id for sale in book.sales if sale.order_id in chosen} if chosen else frozenset()
    for row in book.signups:
        contact = _contact(row)
        yield _differing(contact, seed) if row.user_id in wrong else contact


def _differing(contact: Contact, seed: int) -> Contact:
    """A contact of which something is not as the shop knows it."""
    other = {"email": f"moved-{contact.customer_id}@example.test", "lead_source": f"not {contact.lead_source}"[:40]}
    names = ["email", "lead_source"] if contact.lead_source else ["email"]
    draw = random.Random(f"contact/{seed}/{contact.customer_id}")
    changes = {name: other[name] for name in draw.sample(names, draw.randint(1, len(names)))}
    if "email" in changes and draw.random() < 0.3:
        changes["email"] = None
    return msgspec.structs.replace(contact, **changes)


def _contact(row: Row) -> Contact:
    moment = int(row.signup_time.timestamp())
    return Contact(
        customer_id=row.user_id,
        created=moment,
        updated=moment,
        first_name=random.Random(f"first name/{row.user_id}").choice(FIRST_NAMES),
        last_name=_last_name(row.user_id),
        email=email_of(row.user_id),
        lead_source=row.source,
    )


def email_of(customer_id: str) -> str:
    """A customer's e-mail address, the same in the shop and in the CRM."""
    return f"c{customer_id}@example.test"


def _last_name(customer_id: str) -> str:
    return random.Random(f"last name/{customer_id}").choice(LAST_NAMES)


def read_plan(path: Path, book: Book) -> Plan:
    """Read a plan of ``sandbox.faults`` and check it against the orders.

    Raises:
        CannotFeed: not such a plan, or one made for other orders.
    """
    try:
        plan = msgspec.json.decode(path.read_bytes(), type=dict[str, list[str]])
    except OSError as error:
        raise CannotFeed(f"{path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise CannotFeed(f"{path} is not a plan of `python -m sandbox.faults`: {error}") from error
    known = {sale.order_id for sale in book.sales}
    for kind in faults.AT_THE_SOURCES:
        strange = [order_id for order_id in plan.get(kind, ()) if order_id not in known]
        if strange:
            raise CannotFeed(f"{path} was made for other orders: {kind} names {strange[0]}, which is not among these")
    return plan


def read_ids(path: Path, book: Book) -> list[str]:
    """Read order ids, one a line.

    Raises:
        CannotFeed: no such file, or an order that is not in the book.
    """
    try:
        order_ids = path.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise CannotFeed(f"{path}: {error}") from error
    known = {sale.order_id for sale in book.sales}
    if strange := [order_id for order_id in order_ids if order_id not in known]:
        raise CannotFeed(f"{path} names order {strange[0]}, which is not among these")
    return order_ids


def batches(book: Book, plan: Plan, seed: int) -> Iterator[Load]:
    """Everything that is to be sent, in pieces of a bounded size."""
    for some_orders in batched(orders(book, plan, seed), PER_REQUEST):
        yield Load(orders=list(some_orders))
    for some_charges in batched(charges(book, plan, seed), PER_REQUEST):
        yield Load(charges=list(some_charges))
    for some_shop_refunds in batched(shop_refunds(book, plan, seed), PER_REQUEST):
        yield Load(shop_refunds=list(some_shop_refunds))
    for some_refunds in batched(refunds(book, plan, seed), PER_REQUEST):
        yield Load(refunds=list(some_refunds))
    for some_disputes in batched(disputes(book, plan), PER_REQUEST):
        yield Load(disputes=list(some_disputes))
    for some_accounts in batched(accounts(book), PER_REQUEST):
        yield Load(accounts=list(some_accounts))
    for some_contacts in batched(contacts(book, plan, seed), PER_REQUEST):
        yield Load(contacts=list(some_contacts))


def send(url: str, token: str, loads: list[Load], screen: Console) -> dict[str, int]:
    """Send it all and return what the sandbox then holds.

    Raises:
        CannotFeed: it does not answer, or refuses.
    """
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client, Progress(console=screen) as progress:
            for load in progress.track(loads, description="feeding the sandbox"):
                response = client.post("/sandbox/records", content=msgspec.json.encode(load))
                if response.status_code != httpx.codes.OK:
                    raise CannotFeed(f"the sandbox at {url} refuses ({response.status_code}): {response.text[:300]}")
            return cast("dict[str, int]", client.get("/health").raise_for_status().json())
    except (httpx.HTTPError, json.JSONDecodeError) as error:
        raise CannotFeed(
            f"no sandbox answers at {url} ({error}): start it with `make up` or `python -m sandbox`, or give its --url"
        ) from error


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.feed",
        description=__doc__,
        epilog=f"{ADMIN_TOKEN} must hold the admin token. Exit codes: 0 fed, 2 wrong usage or unusable input, "
        "4 the sandbox does not answer or refuses.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source.add_arguments(parser)
    parser.add_argument("--url", default=DEFAULT_URL, help="the sandbox (default %(default)s)")
    parser.add_argument("--plan", type=Path, metavar="FILE", help="faults to plant, from `python -m sandbox.faults`")
    for name, what in ((RETURNED, "money goes back, as it should"), (DISPUTED, "the cardholder's bank takes it back")):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"ids of orders, one a line: {what}")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = parse_arguments(arguments)
    token = os.environ.get(ADMIN_TOKEN, "")
    if not token:
        print(f"error: {ADMIN_TOKEN} is not set; `make up` keeps it in .stack/secrets.json", file=sys.stderr)
        return 2
    screen = Console(stderr=True)
    try:
        book = source.load(options)
        plan = dict(read_plan(options.plan, book) if options.plan else {})
        plan |= {
            name: read_ids(getattr(options, name), book) for name in (RETURNED, DISPUTED) if getattr(options, name)
        }
    except (BadFile, CannotFeed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        held = send(options.url, token, list(batches(book, plan, options.seed)), screen)
    except CannotFeed as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    planted = sum(len(plan.get(kind, ())) for kind in (faults.PAYMENT_ORPHAN, *faults.AT_THE_SOURCES))
    print(
        f"the sandbox holds {held['contacts']:,} contacts, {held['orders']:,} orders and {held['charges']:,} charges; "
        f"{planted} faults are planted"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
