"""Fills the sandbox with the orders that the producer streams, and plants the faults of a plan.

The shop gets every order but those of order-not-sold. The payment provider gets a charge for each of the shop's orders
but those of payment-missing, over another amount for amount-differs, captured for charged-but-rejected, and charges
that belong to no order for payment-orphan. The CRM gets an account and a contact for each customer. Feeding twice
changes nothing, but what was written back to the CRM since is gone; feeding with more in the plan changes just that.
Rows that the producer would reject are left out here as well.
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
from producers.book import CURRENCY, Book, Sale
from producers.orders_csv import BadFile
from sandbox import faults
from sandbox.app import ADMIN_TOKEN
from sandbox.records import Account, Charge, Contact, Load, Order

PER_REQUEST = 2_000
DEFAULT_URL = "http://127.0.0.1:18080"

FIRST_NAMES = ("Ada", "Alan", "Barbara", "Claude", "Dorothy", "Edsger", "Grace", "John", "Katherine", "Niklaus")
LAST_NAMES = ("Abel", "Bernoulli", "Cantor", "Dirichlet", "Euler", "Fermat", "Gauss", "Hilbert", "Jacobi", "Noether")
"""Of mathematicians and programmers, put together at random."""

type Plan = Mapping[str, list[str]]


class CannotFeed(Exception):
    """The sandbox does not answer or refuses, or the plan is unusable; the message names which, and the remedy."""


def orders(book: Book, plan: Plan) -> Iterator[Order]:
    """What the shop knows."""
    unknown = frozenset(plan.get(faults.NOT_SOLD, ()))
    return (order_of(sale) for sale in book.sales if sale.order_id not in unknown)


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
    captured = frozenset(plan.get(faults.CHARGED_REJECTED, ()))
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


def _charge(order_id: str, like: Sale, amount: int, *, captured: bool = False) -> Charge:
    customer_id = like.row.user_id if like.order_id == order_id else order_id.partition("-")[0]
    return Charge(
        charge_id=f"ch_{hashlib.sha256(order_id.encode()).hexdigest()[:24]}",
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


def contacts(book: Book) -> Iterator[Contact]:
    """What the CRM knows of people: each customer, whose name and e-mail address are invented."""
    for row in book.signups:
        moment = int(row.signup_time.timestamp())
        yield Contact(
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
    for kind in (*faults.ON_ORDERS, faults.CHARGED_REJECTED):
        strange = [order_id for order_id in plan.get(kind, ()) if order_id not in known]
        if strange:
            raise CannotFeed(f"{path} was made for other orders: {kind} names {strange[0]}, which is not among these")
    return plan


def batches(book: Book, plan: Plan, seed: int) -> Iterator[Load]:
    """Everything that is to be sent, in pieces of a bounded size."""
    for some_orders in batched(orders(book, plan), PER_REQUEST):
        yield Load(orders=list(some_orders))
    for some_charges in batched(charges(book, plan, seed), PER_REQUEST):
        yield Load(charges=list(some_charges))
    for some_accounts in batched(accounts(book), PER_REQUEST):
        yield Load(accounts=list(some_accounts))
    for some_contacts in batched(contacts(book), PER_REQUEST):
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
        plan = read_plan(options.plan, book) if options.plan else {}
    except (BadFile, CannotFeed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        held = send(options.url, token, list(batches(book, plan, options.seed)), screen)
    except CannotFeed as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    planted = sum(len(plan.get(kind, ())) for kind in (*faults.KINDS, faults.CHARGED_REJECTED))
    print(
        f"the sandbox holds {held['contacts']:,} contacts, {held['orders']:,} orders and {held['charges']:,} charges; "
        f"{planted} faults are planted"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
