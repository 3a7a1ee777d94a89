"""Plans faults of what comes in when: sign-ups that never come, or too late, and a scorecard that judges for too long.

Pure, and as the other plans the same for the same orders and seed. What is planned before the stream has judged is
looked at once more afterwards: a sign-up that was late is a fault only if it would have changed the outcome.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta

import msgspec

from order_fraud.events import Order, Verdict
from order_fraud.judge import Judge
from producers.book import Book, Sale
from sandbox.faults import choose

CUSTOMER_UNKNOWN = "customer-unknown"
WOULD_CHANGE = "verdict-would-change"
POLICY_SKEW = "policy-skew"

QUICK = timedelta(seconds=60)
"""An order that comes so soon after its sign-up is suspicious, if one knows of the sign-up."""


def strangers(book: Book, planted: Mapping[str, Iterable[str]], seed: int, count: int) -> list[str]:
    """Choose customers whose sign-up is never to come in; return the first order of each."""
    return first_orders("strangers", book, planted, seed, count)


def first_orders(what: str, book: Book, planted: Mapping[str, Iterable[str]], seed: int, count: int) -> list[str]:
    """Choose customers with whom something is to be wrong; return the first order of each.

    No order of theirs has another fault so far.
    """
    taken = {order_id for order_ids in planted.values() for order_id in order_ids}
    orders: dict[str, list[str]] = defaultdict(list)
    for sale in book.sales:
        orders[sale.row.user_id].append(sale.order_id)
    pool = [order_ids[0] for order_ids in orders.values() if not taken & set(order_ids)]
    return choose(what, pool, planted, seed, count)


def late_sign_ups(book: Book, planted: Mapping[str, Iterable[str]], seed: int, count: int) -> list[str]:
    """Choose customers whose sign-up is to come in after their only order, which came within a minute of it.

    Nobody else uses their devices and ips, so that nobody else's orders are judged otherwise for it.
    """
    signed_up = {row.user_id: row.signup_time for row in book.signups}
    orders = Counter(sale.row.user_id for sale in book.sales)
    users: dict[str, set[str]] = defaultdict(set)
    for row in (*book.signups, *(sale.row for sale in book.sales)):
        for entity in filter(None, (row.device_id and f"device/{row.device_id}", row.ip and f"ip/{row.ip}")):
            users[entity].add(row.user_id)
    entities: dict[str, list[str]] = defaultdict(list)
    for entity, user_ids in users.items():
        for user_id in user_ids:
            entities[user_id].append(entity)

    def alone(sale: Sale) -> bool:
        user_id = sale.row.user_id
        quick = sale.row.purchase_time - signed_up[user_id] <= QUICK
        return quick and orders[user_id] == 1 and all(len(users[entity]) == 1 for entity in entities[user_id])

    return choose("late", (sale.order_id for sale in book.sales if alone(sale)), planted, seed, count)


def would_change(verdict: Verdict, sale: Sale, signed_up: Mapping[str, float], judge: Judge) -> bool:
    """Whether an order that was judged without its customer's sign-up would have had another outcome with it.

    Args:
        verdict: what was said.
        sale: the order.
        signed_up: seconds since 1970 of each customer's sign-up.
        judge: who judged.
    """
    moment = sale.row.purchase_time.timestamp()
    age = {"customer.account_age_s": moment - signed_up[sale.row.user_id]}
    order = Order(
        order_id=sale.order_id,
        customer_id=sale.row.user_id,
        amount=verdict.amount,
        currency=verdict.currency,
        signals=verdict.signals | age,
    )
    known = msgspec.structs.replace(order, signals=verdict.signals)
    before, after = (judge(one, int(moment * 1000)).outcome for one in (known, order))
    return before == verdict.outcome != after


def judged_last(came_in: Mapping[str, int], count: int) -> tuple[int, list[str]]:
    """Return the moment (ms since 1970) after which the last ``count`` orders came in, and those orders.

    Orders that came in at the same millisecond cannot be told apart, so that it may be some more.

    Args:
        came_in: ms since 1970 by order id.
        count: how many, at least one.
    """
    moments = sorted(came_in.values())
    last = moments[-count] - 1
    return last, sorted(order_id for order_id, moment in came_in.items() if moment > last)
