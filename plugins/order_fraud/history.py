"""What is remembered of one entity (a customer, a device, an ip), and how one sighting changes it.

Small and bounded: decaying counters instead of event lists, a capped set instead of every customer ever seen.

**Decaying counter.** The count over a window ``w`` is the sum over past events of ``exp(-age / w)``: an event weighs 1
when it happens, 1/e one window later, and so on. It needs one number and the time at which it holds, and a late event
weighs in with the weight it would have by now, so that the order of arrival does not matter (Cormode et al., "Forward
decay: a practical time decay model for streaming systems", ICDE 2009, section III).
"""

from math import exp, sqrt
from typing import NamedTuple

import msgspec

from order_fraud.events import Signals

HOUR_MS = 60 * 60 * 1000
WINDOWS_MS = (HOUR_MS, 24 * HOUR_MS, 30 * 24 * HOUR_MS)

MAX_CUSTOMERS = 16
"""Distinct customers that one entity remembers; beyond it the number reads "16 or more"."""

MAX_RECENT = 32
"""Order ids that one customer remembers: a repeat that comes later than this many orders is not recognised by the
stream (the reconciliation still finds it)."""

USUAL_ORDERS = 3
"""Earlier orders that it takes before an amount can be called unusual."""


class _Names(NamedTuple):
    """The names of one entity's signals, made once: joining strings per order costs more than the counters."""

    orders_1h: str
    orders_1d: str
    orders_30d: str
    spent_1d: str
    known_s: str
    minutes_since_order: str
    customers: str
    sign_ups_1d: str


_NAMES = {entity: _Names(*(f"{entity}.{field}" for field in _Names._fields)) for entity in ("customer", "device", "ip")}


class Sighting(NamedTuple):
    """One event as an entity sees it. ``order_id`` is None for a sign-up; ``time`` is event time in ms since 1970."""

    time: int
    customer_id: str
    order_id: str | None = None
    amount: int = 0
    currency: str = ""


class History(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Everything that is remembered of one entity.

    Attributes:
        first_seen: earliest event time, ms.
        as_of: latest event time, ms; the counters hold at this moment.
        signed_up: time of the sign-up, ms, or None if none was seen (only customers sign up once).
        last_order: latest order time, ms.
        orders: decaying number of orders, one per window.
        spent: decaying amount in minor units, one per window, of orders in ``currency``.
        sign_ups: decaying number of sign-ups, one per window.
        customers: distinct customers, in order of first sighting, at most ``MAX_CUSTOMERS``.
        currency: of the first order; orders in another one do not enter the amounts.
        amounts: count, mean and sum of squared deviations of the amounts (Welford's method).
        recent: the latest order ids, at most ``MAX_RECENT``.
    """

    first_seen: int
    as_of: int
    signed_up: int | None = None
    last_order: int | None = None
    orders: tuple[float, float, float] = (0.0, 0.0, 0.0)
    spent: tuple[float, float, float] = (0.0, 0.0, 0.0)
    sign_ups: tuple[float, float, float] = (0.0, 0.0, 0.0)
    customers: tuple[str, ...] = ()
    currency: str = ""
    amounts: tuple[int, float, float] = (0, 0.0, 0.0)
    recent: tuple[str, ...] = ()


def advance(entity: str, history: History | None, sighting: Sighting) -> tuple[History, Signals]:
    """Return the history after one sighting, and the signals of that sighting.

    Args:
        entity: ``customer``, ``device`` or ``ip``; prefixes the names of the signals.
        history: what was remembered so far, None for an entity never seen.
        sighting: a sign-up or an order.

    Returns:
        The new history (the old one is left as it was) and the signals, empty for a sign-up. Signals are rounded to
        four decimals; their meanings stand in :mod:`order_fraud.signals`.
    """
    if history is None:
        history = History(sighting.time, sighting.time)
    if sighting.order_id is None:
        return _sign_up(history, sighting, keep_ids=entity == "customer"), {}
    return _order(entity, history, sighting)


def _sign_up(history: History, sighting: Sighting, *, keep_ids: bool) -> History:
    time, as_of = sighting.time, history.as_of
    signed_up = history.signed_up
    if keep_ids and signed_up is None:
        signed_up = time
    return History(
        min(time, history.first_seen),
        max(time, as_of),
        signed_up,
        history.last_order,
        _add(history.orders, as_of, time, 0.0),
        _add(history.spent, as_of, time, 0.0),
        _add(history.sign_ups, as_of, time, 1.0),
        _with_customer(history.customers, sighting.customer_id),
        history.currency,
        history.amounts,
        history.recent,
    )


def _order(entity: str, history: History, sighting: Sighting) -> tuple[History, Signals]:
    time, as_of, amount = sighting.time, history.as_of, sighting.amount
    is_customer = entity == "customer"
    currency = history.currency or sighting.currency
    counted = currency == sighting.currency
    orders = _add(history.orders, as_of, time, 1.0)
    spent = _add(history.spent, as_of, time, float(amount) if counted else 0.0)
    sign_ups = _add(history.sign_ups, as_of, time, 0.0)
    customers = _with_customer(history.customers, sighting.customer_id)
    count, mean, deviation = history.amounts
    names = _NAMES[entity]
    signals = {
        names.orders_1h: round(orders[0], 4),
        names.orders_1d: round(orders[1], 4),
        names.orders_30d: round(orders[2], 4),
        names.spent_1d: round(spent[1], 4),
        names.known_s: max(0, time - history.first_seen) / 1000,
    }
    if history.last_order is not None:
        signals[names.minutes_since_order] = round(abs(time - history.last_order) / 60_000, 4)
    if is_customer:
        if history.signed_up is not None:
            signals["customer.account_age_s"] = (time - history.signed_up) / 1000
        if counted and count >= USUAL_ORDERS:
            spread = sqrt(deviation / count)
            signals["customer.amount_z"] = round((amount - mean) / max(spread, 0.1 * mean, 1.0), 4)
    else:
        signals[names.customers] = float(len(customers))
        signals[names.sign_ups_1d] = round(sign_ups[1], 4)
    if counted:
        count += 1
        step = amount - mean
        mean += step / count
        deviation += step * (amount - mean)
    after = History(
        min(time, history.first_seen),
        max(time, as_of),
        history.signed_up,
        time if history.last_order is None else max(time, history.last_order),
        orders,
        spent,
        sign_ups,
        customers,
        currency,
        (count, mean, deviation),
        (*history.recent, sighting.order_id or "")[-MAX_RECENT:] if is_customer else (),
    )
    return after, signals


def _add(counters: tuple[float, float, float], as_of: int, time: int, weight: float) -> tuple[float, float, float]:
    """Return decaying counters after an event of ``weight`` at ``time``, holding at ``max(as_of, time)``."""
    elapsed = time - as_of
    if elapsed == 0:
        return (counters[0] + weight, counters[1] + weight, counters[2] + weight)
    one, two, three = WINDOWS_MS
    if elapsed > 0:
        return (
            counters[0] * exp(-elapsed / one) + weight,
            counters[1] * exp(-elapsed / two) + weight,
            counters[2] * exp(-elapsed / three) + weight,
        )
    return (
        counters[0] + weight * exp(elapsed / one),
        counters[1] + weight * exp(elapsed / two),
        counters[2] + weight * exp(elapsed / three),
    )


def _with_customer(customers: tuple[str, ...], customer_id: str) -> tuple[str, ...]:
    if customer_id in customers or len(customers) >= MAX_CUSTOMERS:
        return customers
    return (*customers, customer_id)
