"""What is remembered of one entity (a customer, a device, an ip), and how one sighting changes it.

Small and bounded: decaying counters instead of event lists, a capped set instead of every customer ever seen.

**Decaying counter.** The count over a window ``w`` is the sum over past events of ``exp(-age / w)``: an event weighs 1
when it happens, 1/e one window later, and so on. It needs one number and the time at which it holds, and a late event
weighs in with the weight it would have by now, so that the order of arrival does not matter (Cormode et al., "Forward
decay: a practical time decay model for streaming systems", ICDE 2009, section III).
"""

from math import exp, floor, sqrt

import msgspec

from order_fraud.events import Customer, Order, Signals

HOUR_MS = 60 * 60 * 1000
DAY_MS = 24 * HOUR_MS
MONTH_MS = 30 * DAY_MS
WINDOWS_MS = (HOUR_MS, DAY_MS, MONTH_MS)

EXPIRY_MS = 400 * DAY_MS
"""An entity that was not seen while the latest event time of its hop and partition went on by more than this counts as
never seen. It is longer than a year, so that a customer of every Christmas is known, and 13 of the longest window: what
the counters would still hold of it, exp(-13), is less than the rounding of the signals.

The rule looks at event times in offset order only, so the stream and every re-fold forget at the same record; when the
bytes are dropped is housekeeping and changes nothing. It does not ask how old an event is: orders of last year that are
streamed today are remembered like all others, and their repeats refused."""

MAX_CUSTOMERS = 16
"""Distinct customers that one entity remembers; beyond it the number reads "16 or more"."""

MAX_RECENT = 32
"""Order ids that one customer remembers: a repeat that comes later than this many orders is not recognised by the
stream (the reconciliation still finds it)."""

USUAL_ORDERS = 3
"""Earlier orders that it takes before an amount can be called unusual."""

_NAMES = {
    entity: (
        f"{entity}.orders_1h",
        f"{entity}.orders_1d",
        f"{entity}.orders_30d",
        f"{entity}.spent_1d",
        f"{entity}.known_s",
        f"{entity}.minutes_since_order",
        f"{entity}.customers",
        f"{entity}.sign_ups_1d",
    )
    for entity in ("customer", "device", "ip")
}
"""The names of one entity's signals, made once."""

Counter = tuple[float, float, float]
"""Decaying sums, one per window."""


class History(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Everything that is remembered of one entity.

    Attributes:
        first_seen: earliest event time, ms.
        seen_at: the latest event time of the hop and partition when the entity was last seen, ms.
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
    seen_at: int
    as_of: int
    signed_up: int | None = None
    last_order: int | None = None
    orders: Counter = (0.0, 0.0, 0.0)
    spent: Counter = (0.0, 0.0, 0.0)
    sign_ups: Counter = (0.0, 0.0, 0.0)
    customers: tuple[str, ...] = ()
    currency: str = ""
    amounts: tuple[int, float, float] = (0, 0.0, 0.0)
    recent: tuple[str, ...] = ()


pack = msgspec.msgpack.Encoder().encode
"""Return a history's bytes for a changelog: an array of its fields. MessagePack keeps every float as it is and costs a
quarter of JSON."""

unpack = msgspec.msgpack.Decoder(History).decode
"""Return the history that :data:`pack` wrote.

Raises:
    msgspec.DecodeError: the bytes are none.
"""


def advance(
    entity: str, history: History | None, time: int, seen: Customer | Order, latest: int
) -> tuple[History, Signals]:
    """Return the history after one sighting, and the signals of that sighting.

    Args:
        entity: ``customer``, ``device`` or ``ip``; prefixes the names of the signals.
        history: what was remembered so far, None for an entity never seen.
        time: event time, ms since 1970.
        seen: what the entity had to do with: a sign-up or an order.
        latest: the latest event time of the hop and partition, this event's included, ms.

    Returns:
        The new history (the old one is left as it was) and the signals, empty for a sign-up. Signals are rounded to
        four decimals; their meanings stand in :mod:`order_fraud.signals`.
    """
    if history is None:
        history = History(time, latest, time)
    if type(seen) is Order:
        return _order(entity, history, time, seen, latest)
    return _sign_up(entity, history, time, seen.customer_id, latest), {}


def _sign_up(entity: str, history: History, time: int, customer_id: str, latest: int) -> History:
    as_of, kept, weight = _fade(history.as_of, time)
    return History(
        min(time, history.first_seen),
        latest,
        as_of,
        time if entity == "customer" and history.signed_up is None else history.signed_up,
        history.last_order,
        _add(history.orders, kept, _NONE),
        _add(history.spent, kept, _NONE),
        _add(history.sign_ups, kept, weight),
        _with_customer(history.customers, customer_id),
        history.currency,
        history.amounts,
        history.recent,
    )


def _order(entity: str, history: History, time: int, order: Order, latest: int) -> tuple[History, Signals]:
    first_seen, last_order = history.first_seen, history.last_order
    as_of, kept, weight = _fade(history.as_of, time)
    currency = history.currency or order.currency
    counted = currency == order.currency
    amount = order.amount
    kept_1h, kept_1d, kept_30d = kept
    weight_1h, weight_1d, weight_30d = weight
    orders_1h, orders_1d, orders_30d = history.orders
    orders_1h = orders_1h * kept_1h + weight_1h
    orders_1d = orders_1d * kept_1d + weight_1d
    orders_30d = orders_30d * kept_30d + weight_30d
    spent = history.spent
    if counted:
        spent_1h, spent_1d, spent_30d = spent
        spent = (
            spent_1h * kept_1h + amount * weight_1h,
            spent_1d * kept_1d + amount * weight_1d,
            spent_30d * kept_30d + amount * weight_30d,
        )
    else:
        spent = _add(spent, kept, _NONE)
    sign_ups = history.sign_ups
    if sign_ups != _NONE:
        sign_ups = _add(sign_ups, kept, _NONE)
    customers = _with_customer(history.customers, order.customer_id)
    count, mean, deviation = history.amounts
    n_1h, n_1d, n_30d, n_spent, n_known, n_minutes, n_customers, n_sign_ups = _NAMES[entity]
    # floor(x * 10000 + 0.5) / 10000 is round(x, 4) at a quarter of the cost (ties apart, which go up).
    signals = {
        n_1h: floor(orders_1h * 1e4 + 0.5) / 1e4,
        n_1d: floor(orders_1d * 1e4 + 0.5) / 1e4,
        n_30d: floor(orders_30d * 1e4 + 0.5) / 1e4,
        n_spent: floor(spent[1] * 1e4 + 0.5) / 1e4,
        n_known: (time - first_seen) / 1000 if time > first_seen else 0.0,
    }
    if last_order is not None:
        signals[n_minutes] = floor(abs(time - last_order) / 6.0 + 0.5) / 1e4
    if entity == "customer":
        if history.signed_up is not None:
            signals["customer.account_age_s"] = (time - history.signed_up) / 1000
        if counted and count >= USUAL_ORDERS:
            usual_spread = max(sqrt(deviation / count), 0.1 * mean, 1.0)
            signals["customer.amount_z"] = floor((amount - mean) / usual_spread * 1e4 + 0.5) / 1e4
        recent = (*history.recent, order.order_id)[-MAX_RECENT:]
    else:
        signals[n_customers] = float(len(customers))
        signals[n_sign_ups] = floor(sign_ups[1] * 1e4 + 0.5) / 1e4
        recent = ()
    if counted:
        count += 1
        step = amount - mean
        mean += step / count
        deviation += step * (amount - mean)
    return History(
        time if time < first_seen else first_seen,
        latest,
        as_of,
        history.signed_up,
        time if last_order is None or time > last_order else last_order,
        (orders_1h, orders_1d, orders_30d),
        spent,
        sign_ups,
        customers,
        currency,
        (count, mean, deviation),
        recent,
    ), signals


_NONE = (0.0, 0.0, 0.0)
_ONE = (1.0, 1.0, 1.0)


def _fade(as_of: int, time: int) -> tuple[int, Counter, Counter]:
    """Return when the counters hold after an event at ``time``, what they keep, and what the event weighs by then."""
    elapsed = time - as_of
    if elapsed >= 0:
        return time, (exp(-elapsed / HOUR_MS), exp(-elapsed / DAY_MS), exp(-elapsed / MONTH_MS)), _ONE
    return as_of, _ONE, (exp(elapsed / HOUR_MS), exp(elapsed / DAY_MS), exp(elapsed / MONTH_MS))


def _add(counter: Counter, kept: Counter, added: Counter) -> Counter:
    return (counter[0] * kept[0] + added[0], counter[1] * kept[1] + added[1], counter[2] * kept[2] + added[2])


def _with_customer(customers: tuple[str, ...], customer_id: str) -> tuple[str, ...]:
    if customer_id in customers or len(customers) >= MAX_CUSTOMERS:
        return customers
    return (*customers, customer_id)
