"""What is remembered of one entity (a customer, a device, an ip …), and how one sighting changes it.

Small and bounded: decaying counters instead of event lists, capped sets instead of every customer ever seen.

**Decaying counter.** The count over a window ``w`` is the sum over past events of ``exp(-age / w)``: an event weighs 1
when it happens, 1/e one window later, and so on. It needs one number and the time at which it holds, and a late event
weighs in with the weight it would have by now, so that the order of arrival does not matter (Cormode et al., "Forward
decay: a practical time decay model for streaming systems", ICDE 2009, section III).

**Decaying distinct count.** The sum over distinct customers of the weight of each one's latest sighting (the same
paper, section IV: count distinct with the largest weight of each item).

**Usual amount.** ``(amount - median) / (1.4826 x MAD)`` over the latest amounts; MAD is the median distance from the
median, and 1.4826 makes it a standard deviation where amounts are normal (Iglewicz and Hoaglin, "How to detect and
handle outliers", 1993, section 3.3). One absurd order changes neither.
"""

from math import exp, floor

import msgspec

from order_fraud.events import Customer, Order, Signals

HOUR_MS = 60 * 60 * 1000
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS
MONTH_MS = 30 * DAY_MS
WINDOWS_MS = (HOUR_MS, DAY_MS, WEEK_MS, MONTH_MS)

EXPIRY_MS = 400 * DAY_MS
"""An entity that was not seen while the latest event time of its hop and partition went on by more than this counts as
never seen. It is longer than a year, so that a customer of every Christmas is known, and 13 of the longest window: what
the counters would still hold of it, exp(-13), is less than the rounding of the signals.

The rule looks at event times in offset order only, so the stream and every re-fold forget at the same record; when the
bytes are dropped is housekeeping and changes nothing. It does not ask how old an event is: orders of last year that are
streamed today are remembered like all others, and their repeats refused."""

MAX_DISTINCT = 16
"""Distinct customers that one entity remembers, and distinct devices and ips of one customer, the latest seen; beyond
it a number reads "16 or more"."""

MAX_RECENT = 32
"""Order ids that one customer remembers: a repeat that comes later than this many orders is not recognised by the
stream (the reconciliation still finds it)."""

MAX_AMOUNTS = 11
"""Latest amounts from which the usual is told."""

MAX_FRAUDS = 16
"""Orders known as fraud that one entity remembers; beyond it the number reads "16 or more"."""

USUAL_ORDERS = 3
"""Earlier orders that it takes before an amount can be called unusual."""

NIGHT_ENDS_MIN = 6 * 60

DIRECT = "direct"
"""The channel, in lower case, of a customer whom neither an advertisement nor a search engine sent."""

_NAMES = {
    entity: (
        f"{entity}.orders_1h",
        f"{entity}.orders_1d",
        f"{entity}.orders_7d",
        f"{entity}.orders_30d",
        f"{entity}.spent_1h",
        f"{entity}.spent_1d",
        f"{entity}.spent_7d",
        f"{entity}.spent_30d",
        f"{entity}.known_s",
        f"{entity}.since_order_s",
        f"{entity}.amount_z",
        f"{entity}.frauds",
    )
    for entity in ("customer", "device", "ip", "card", "email_domain", "address")
}
"""The names of the signals that every entity has, made once."""

_SHARED = {
    entity: (
        f"{entity}.customers",
        f"{entity}.sign_ups_1d",
        f"{entity}.sign_ups_30d",
        f"{entity}.customers_1h",
        f"{entity}.customers_1d",
        f"{entity}.customers_7d",
        f"{entity}.customers_30d",
        f"{entity}.customers_before",
    )
    for entity in _NAMES
    if entity != "customer"
}
"""The names of the signals of what customers may share."""

Counter = tuple[float, float, float, float]
"""Decaying sums, one per window."""

Seen = tuple[tuple[str, int], ...]
"""Ids and the event time (ms) of the latest sighting of each, in order of first sighting."""


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
        customers: distinct customers, at most ``MAX_DISTINCT``; of a customer, empty.
        devices: of a customer, its distinct devices, at most ``MAX_DISTINCT``.
        ips: of a customer, its distinct ips, at most ``MAX_DISTINCT``.
        currency: of the first order; orders in another one do not enter the amounts.
        amounts: the latest amounts, at most ``MAX_AMOUNTS``.
        recent: of a customer, the latest order ids, at most ``MAX_RECENT``.
        frauds: orders known as fraud, at most ``MAX_FRAUDS``.
        country: of a customer, where it says to live.
        direct: of a customer, whether it came to the shop directly; None if the sign-up does not say.
    """

    first_seen: int
    seen_at: int
    as_of: int
    signed_up: int | None = None
    last_order: int | None = None
    orders: Counter = (0.0, 0.0, 0.0, 0.0)
    spent: Counter = (0.0, 0.0, 0.0, 0.0)
    sign_ups: Counter = (0.0, 0.0, 0.0, 0.0)
    customers: Seen = ()
    devices: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    currency: str = ""
    amounts: tuple[int, ...] = ()
    recent: tuple[str, ...] = ()
    frauds: tuple[str, ...] = ()
    country: str | None = None
    direct: bool | None = None


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
        entity: ``customer``, ``device``, ``ip`` …; prefixes the names of the signals.
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
    if isinstance(seen, Order):
        return _order(entity, history, time, seen, latest)
    return _sign_up(entity, history, time, seen, latest), {}


def learn(history: History | None, time: int, order_id: str, fraud: bool, latest: int) -> History:
    """Return the history after word of what one of the entity's orders was.

    Args:
        history: what was remembered so far, None for an entity never seen.
        time: event time, ms since 1970.
        order_id: of the order; saying the same again changes nothing.
        fraud: whether it was; what is cleared is forgotten.
        latest: as in :func:`advance`.
    """
    if history is None:
        history = History(time, latest, time)
    frauds = tuple(known for known in history.frauds if known != order_id)
    if fraud:
        frauds = (*frauds, order_id)[-MAX_FRAUDS:]
    return msgspec.structs.replace(history, frauds=frauds, seen_at=latest)


def _sign_up(entity: str, history: History, time: int, customer: Customer, latest: int) -> History:
    as_of, kept, weight = _fade(history.as_of, time)
    of_customer = entity == "customer"
    return History(
        min(time, history.first_seen),
        latest,
        as_of,
        time if of_customer and history.signed_up is None else history.signed_up,
        history.last_order,
        _add(history.orders, kept, _NONE),
        _add(history.spent, kept, _NONE),
        _add(history.sign_ups, kept, weight),
        history.customers if of_customer else _sighted(history.customers, customer.customer_id, time),
        _with(history.devices, customer.device_id) if of_customer else (),
        _with(history.ips, customer.ip) if of_customer else (),
        history.currency,
        history.amounts,
        history.recent,
        history.frauds,
        history.country or customer.country if of_customer else None,
        _came_directly(history, customer) if of_customer else None,
    )


def _came_directly(history: History, customer: Customer) -> bool | None:
    if history.direct is not None or customer.channel is None:
        return history.direct
    return customer.channel.lower() == DIRECT


def _order(entity: str, history: History, time: int, order: Order, latest: int) -> tuple[History, Signals]:
    first_seen, last_order = history.first_seen, history.last_order
    as_of, kept, weight = _fade(history.as_of, time)
    kept_1h, kept_1d, kept_7d, kept_30d = kept
    weight_1h, weight_1d, weight_7d, weight_30d = weight
    orders_1h, orders_1d, orders_7d, orders_30d = history.orders
    orders_1h = orders_1h * kept_1h + weight_1h
    orders_1d = orders_1d * kept_1d + weight_1d
    orders_7d = orders_7d * kept_7d + weight_7d
    orders_30d = orders_30d * kept_30d + weight_30d
    amount = order.amount
    currency = history.currency or order.currency
    amounts = history.amounts
    counted = amount if currency == order.currency else 0
    spent_1h, spent_1d, spent_7d, spent_30d = history.spent
    spent_1h = spent_1h * kept_1h + counted * weight_1h
    spent_1d = spent_1d * kept_1d + counted * weight_1d
    spent_7d = spent_7d * kept_7d + counted * weight_7d
    spent_30d = spent_30d * kept_30d + counted * weight_30d
    (
        n_orders_1h,
        n_orders_1d,
        n_orders_7d,
        n_orders_30d,
        n_spent_1h,
        n_spent_1d,
        n_spent_7d,
        n_spent_30d,
        n_known,
        n_since,
        n_amount_z,
        n_frauds,
    ) = _NAMES[entity]
    # floor(x * 10000 + 0.5) / 10000 is round(x, 4) at a quarter of the cost (ties apart, which go up).
    signals = {
        n_orders_1h: floor(orders_1h * 1e4 + 0.5) / 1e4,
        n_orders_1d: floor(orders_1d * 1e4 + 0.5) / 1e4,
        n_orders_7d: floor(orders_7d * 1e4 + 0.5) / 1e4,
        n_orders_30d: floor(orders_30d * 1e4 + 0.5) / 1e4,
        n_spent_1h: floor(spent_1h * 1e4 + 0.5) / 1e4,
        n_spent_1d: floor(spent_1d * 1e4 + 0.5) / 1e4,
        n_spent_7d: floor(spent_7d * 1e4 + 0.5) / 1e4,
        n_spent_30d: floor(spent_30d * 1e4 + 0.5) / 1e4,
        n_known: (time - first_seen) / 1000 if time > first_seen else 0.0,
    }
    if last_order is not None:
        signals[n_since] = abs(time - last_order) / 1000
    if len(amounts) >= USUAL_ORDERS and currency == order.currency:
        signals[n_amount_z] = _robust_z(amounts, amount)
    if history.frauds:
        signals[n_frauds] = float(len(history.frauds))
    customers, devices, ips, recent = history.customers, history.devices, history.ips, history.recent
    sign_ups = history.sign_ups
    if sign_ups != _NONE:
        sign_ups = _add(sign_ups, kept, _NONE)
    if entity == "customer":
        devices, ips = _with(devices, order.device_id), _with(ips, order.ip)
        _of_customer(signals, history, time, order, devices, ips)
        recent = (*recent, order.order_id)[-MAX_RECENT:]
    else:
        customers = _sighted(customers, order.customer_id, time)
        _of_shared(signals, entity, order.customer_id, customers, sign_ups, as_of)
    return History(
        time if time < first_seen else first_seen,
        latest,
        as_of,
        history.signed_up,
        time if last_order is None or time > last_order else last_order,
        (orders_1h, orders_1d, orders_7d, orders_30d),
        (spent_1h, spent_1d, spent_7d, spent_30d),
        sign_ups,
        customers,
        devices,
        ips,
        currency,
        (*amounts, amount)[-MAX_AMOUNTS:] if currency == order.currency else amounts,
        recent,
        history.frauds,
        history.country,
        history.direct,
    ), signals


def _of_customer(
    signals: Signals, history: History, time: int, order: Order, devices: tuple[str, ...], ips: tuple[str, ...]
) -> None:
    """Add the signals of the order itself and those that only a customer has; the sets include this order's."""
    signals["order.amount"] = float(order.amount)
    minute = (time // 60_000 + (order.utc_offset_min or 0)) % 1440
    signals["order.night"] = 1.0 if minute < NIGHT_ENDS_MIN else 0.0
    if history.country is not None and order.ip_country is not None:
        signals["order.country_differs"] = 0.0 if history.country == order.ip_country else 1.0
    if history.signed_up is not None:
        signals["customer.account_age_s"] = (time - history.signed_up) / 1000
    if history.direct is not None:
        signals["customer.direct"] = 1.0 if history.direct else 0.0
    if order.device_id is not None:
        signals["customer.new_device"] = 0.0 if order.device_id in history.devices else 1.0
    signals["customer.devices"] = float(len(devices))
    signals["customer.ips"] = float(len(ips))


def _of_shared(signals: Signals, entity: str, customer_id: str, customers: Seen, sign_ups: Counter, as_of: int) -> None:
    """Add the signals of what customers may share; ``customers`` includes the one of this order."""
    n_customers, n_sign_ups_1d, n_sign_ups_30d, n_1h, n_1d, n_7d, n_30d, n_before = _SHARED[entity]
    signals[n_customers] = float(len(customers))
    if sign_ups != _NONE:
        signals[n_sign_ups_1d] = floor(sign_ups[1] * 1e4 + 0.5) / 1e4
        signals[n_sign_ups_30d] = floor(sign_ups[3] * 1e4 + 0.5) / 1e4
    if len(customers) > 1:
        of_1h = of_1d = of_7d = of_30d = 0.0
        for place, (known, last) in enumerate(customers):
            if place and known == customer_id:
                signals[n_before] = float(place)
            age = as_of - last
            of_1h += exp(-age / HOUR_MS)
            of_1d += exp(-age / DAY_MS)
            of_7d += exp(-age / WEEK_MS)
            of_30d += exp(-age / MONTH_MS)
        signals[n_1h] = floor(of_1h * 1e4 + 0.5) / 1e4
        signals[n_1d] = floor(of_1d * 1e4 + 0.5) / 1e4
        signals[n_7d] = floor(of_7d * 1e4 + 0.5) / 1e4
        signals[n_30d] = floor(of_30d * 1e4 + 0.5) / 1e4


_NONE = (0.0, 0.0, 0.0, 0.0)
_ONE = (1.0, 1.0, 1.0, 1.0)


def _fade(as_of: int, time: int) -> tuple[int, Counter, Counter]:
    """Return when the counters hold after an event at ``time``, what they keep, and what the event weighs by then."""
    elapsed = time - as_of
    if elapsed > 0:
        return time, _weights(-elapsed), _ONE
    if elapsed == 0:
        return time, _ONE, _ONE
    return as_of, _ONE, _weights(elapsed)


def _weights(age: int) -> Counter:
    return exp(age / HOUR_MS), exp(age / DAY_MS), exp(age / WEEK_MS), exp(age / MONTH_MS)


def _add(counter: Counter, kept: Counter, added: Counter) -> Counter:
    return (
        counter[0] * kept[0] + added[0],
        counter[1] * kept[1] + added[1],
        counter[2] * kept[2] + added[2],
        counter[3] * kept[3] + added[3],
    )


def _with(known: tuple[str, ...], one: str | None) -> tuple[str, ...]:
    if one is None or one in known:
        return known
    return (*known, one)[-MAX_DISTINCT:]


def _sighted(customers: Seen, customer_id: str, time: int) -> Seen:
    """Return the customers after a sighting of one; too many, and the one not seen for longest is forgotten."""
    if not customers:
        return ((customer_id, time),)
    for place, (known, last) in enumerate(customers):
        if known == customer_id:
            if time <= last:
                return customers
            return (*customers[:place], (customer_id, time), *customers[place + 1 :])
    if len(customers) >= MAX_DISTINCT:
        oldest = min(range(len(customers)), key=lambda place: customers[place][1])
        customers = (*customers[:oldest], *customers[oldest + 1 :])
    return (*customers, (customer_id, time))


def _robust_z(amounts: tuple[int, ...], amount: int) -> float:
    """Return how many usual spreads the amount lies above the median of the earlier ones."""
    median = _median(sorted(amounts))
    mad = _median(sorted([abs(one - median) for one in amounts]))
    spread = max(1.4826 * mad, 0.1 * median, 1.0)
    return floor((amount - median) / spread * 1e4 + 0.5) / 1e4


def _median(rising: list[int] | list[float]) -> float:
    middle = len(rising) // 2
    return rising[middle] if len(rising) % 2 else (rising[middle - 1] + rising[middle]) / 2
