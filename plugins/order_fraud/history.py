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

NIGHT_ENDS_MS = 6 * HOUR_MS

DIRECT = "direct"
"""The channel, in lower case, of a customer whom neither an advertisement nor a search engine sent."""

_ENTITIES = ("customer", "device", "ip", "card", "email_domain", "address")

_NAMES = {
    entity: tuple(
        f"{entity}.{name}"
        for name in (
            *(f"{kind}_{window}" for kind in ("orders", "spent") for window in ("1h", "1d", "7d", "30d")),
            "known_s",
            "since_order_s",
            "amount_z",
        )
    )
    for entity in _ENTITIES
}
"""The names of the signals that every entity has, made once; so are the others."""

_FRAUDS = {entity: f"{entity}.frauds" for entity in _ENTITIES}

_SHARED = {
    entity: tuple(f"{entity}.{name}" for name in ("customers", "sign_ups_1d", "sign_ups_30d")) for entity in _ENTITIES
}
_COMPANY = {
    entity: tuple(f"{entity}.customers_{what}" for what in ("1h", "1d", "7d", "30d", "before")) for entity in _ENTITIES
}
"""The names of the signals of what customers may share, and of what several do share."""

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
    entity: str,
    history: History | None,
    time: int,
    seen: Customer | Order,
    latest: int,
    signals: Signals | None = None,
) -> tuple[History, Signals]:
    """Return the history after one sighting, and the signals of that sighting.

    Args:
        entity: ``customer``, ``device``, ``ip`` …; prefixes the names of the signals.
        history: what was remembered so far, None for an entity never seen.
        time: event time, ms since 1970.
        seen: what the entity had to do with: a sign-up or an order.
        latest: the latest event time of the hop and partition, this event's included, ms.
        signals: where to add those of this sighting; a new dict if left out.

    Returns:
        The new history (the old one is left as it was) and the signals, none for a sign-up. Signals are rounded to
        four decimals; their meanings stand in :mod:`order_fraud.signals`.
    """
    if signals is None:
        signals = {}
    if type(seen) is not Customer:  # an order, sealed or not
        history = history or History(time, latest, time)
        return _order(entity, history, time, seen, latest, signals), signals
    if history is None:
        return _first_sign_up(entity, time, seen, latest), signals
    return _sign_up(entity, history, time, seen, latest), signals


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


def _first_sign_up(entity: str, time: int, customer: Customer, latest: int) -> History:
    """Return what :func:`_sign_up` makes of no history: nearly every sign-up brings its entities along."""
    of_customer = entity == "customer"
    device_id, ip, channel = customer.device_id, customer.ip, customer.channel
    return History(
        time,
        latest,
        time,
        time if of_customer else None,
        None,
        _NONE,
        _NONE,
        _ONE,
        () if of_customer else ((customer.customer_id, time),),
        (device_id,) if of_customer and device_id is not None else (),
        (ip,) if of_customer and ip is not None else (),
        "",
        (),
        (),
        (),
        customer.country if of_customer else None,
        channel.lower() == DIRECT if of_customer and channel is not None else None,
    )


def _sign_up(entity: str, history: History, time: int, customer: Customer, latest: int) -> History:
    as_of, kept, weight = _fade(history.as_of, time)
    of_customer = entity == "customer"
    return History(
        min(time, history.first_seen),
        latest,
        as_of,
        time if of_customer and history.signed_up is None else history.signed_up,
        history.last_order,
        _faded(history.orders, kept),
        _faded(history.spent, kept),
        _add(_faded(history.sign_ups, kept), weight),
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


def _order(entity: str, history: History, time: int, order: Order, latest: int, signals: Signals) -> History:
    first_seen, last_order, amounts = history.first_seen, history.last_order, history.amounts
    as_of, kept, weight = _fade(history.as_of, time)
    currency = history.currency or order.currency
    same_currency = currency == order.currency
    amount = float(order.amount)
    if last_order is None:
        orders, spent = _first(signals, entity, history, time, weight, amount)
    else:
        orders, spent = _next(signals, entity, history, time, last_order, kept, weight, amount, same_currency)
    if history.frauds:
        signals[_FRAUDS[entity]] = float(len(history.frauds))
    sign_ups = history.sign_ups
    if sign_ups != _NONE and kept is not _ONE:
        sign_ups = _faded(sign_ups, kept)
    customers, devices, ips, recent = history.customers, history.devices, history.ips, history.recent
    if entity == "customer":
        devices, ips = _of_customer(signals, history, time, order, amount)
        recent = (*recent[1 - MAX_RECENT :], order.order_id)
    else:
        customers = _sighted(customers, order.customer_id, time)
        _of_shared(signals, entity, order.customer_id, customers, sign_ups, as_of)
    return History(
        time if time < first_seen else first_seen,
        latest,
        as_of,
        history.signed_up,
        time if last_order is None or time > last_order else last_order,
        orders,
        spent,
        sign_ups,
        customers,
        devices,
        ips,
        currency,
        (*amounts[1 - MAX_AMOUNTS :], order.amount) if same_currency else amounts,
        recent,
        history.frauds,
        history.country,
        history.direct,
    )


def _first(
    signals: Signals, entity: str, history: History, time: int, weight: Counter, amount: float
) -> tuple[Counter, Counter]:
    """Return the counters of orders and money after an entity's first order, and add the signals that all have.

    Half of all orders are an entity's first, and hardly any of them late: there is nothing to add, nothing to round.
    """
    orders_1h, orders_1d, orders_7d, orders_30d, spent_1h, spent_1d, spent_7d, spent_30d, known, _, _ = _NAMES[entity]
    if weight is not _ONE:
        return _next(signals, entity, history, time, None, _ONE, weight, amount, True)
    signals[orders_1h] = signals[orders_1d] = signals[orders_7d] = signals[orders_30d] = 1.0
    signals[spent_1h] = signals[spent_1d] = signals[spent_7d] = signals[spent_30d] = amount
    signals[known] = (time - history.first_seen) / 1000  # not late, so not before it
    return _ONE, (amount, amount, amount, amount)


def _next(
    signals: Signals,
    entity: str,
    history: History,
    time: int,
    last_order: int | None,
    kept: Counter,
    weight: Counter,
    amount: float,
    same_currency: bool,
) -> tuple[Counter, Counter]:
    """Return the counters of orders and money after one more order, and add the signals that all have."""
    kept_1h, kept_1d, kept_7d, kept_30d = kept
    weight_1h, weight_1d, weight_7d, weight_30d = weight
    orders_1h, orders_1d, orders_7d, orders_30d = history.orders
    spent_1h, spent_1d, spent_7d, spent_30d = history.spent
    counted = amount if same_currency else 0.0
    orders_1h = orders_1h * kept_1h + weight_1h
    orders_1d = orders_1d * kept_1d + weight_1d
    orders_7d = orders_7d * kept_7d + weight_7d
    orders_30d = orders_30d * kept_30d + weight_30d
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
    ) = _NAMES[entity]
    # floor(x * 10000 + 0.5) / 10000 is round(x, 4) at a quarter of the cost (ties apart, which go up).
    signals[n_orders_1h] = floor(orders_1h * 1e4 + 0.5) / 1e4
    signals[n_orders_1d] = floor(orders_1d * 1e4 + 0.5) / 1e4
    signals[n_orders_7d] = floor(orders_7d * 1e4 + 0.5) / 1e4
    signals[n_orders_30d] = floor(orders_30d * 1e4 + 0.5) / 1e4
    signals[n_spent_1h] = floor(spent_1h * 1e4 + 0.5) / 1e4
    signals[n_spent_1d] = floor(spent_1d * 1e4 + 0.5) / 1e4
    signals[n_spent_7d] = floor(spent_7d * 1e4 + 0.5) / 1e4
    signals[n_spent_30d] = floor(spent_30d * 1e4 + 0.5) / 1e4
    first_seen, amounts = history.first_seen, history.amounts
    signals[n_known] = (time - first_seen) / 1000 if time > first_seen else 0.0
    if last_order is not None:
        signals[n_since] = abs(time - last_order) / 1000
    if len(amounts) >= USUAL_ORDERS and same_currency:
        signals[n_amount_z] = _robust_z(amounts, amount)
    return (orders_1h, orders_1d, orders_7d, orders_30d), (spent_1h, spent_1d, spent_7d, spent_30d)


def _of_customer(
    signals: Signals, history: History, time: int, order: Order, amount: float
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the customer's devices and ips, this order's included, and add the signals of the order itself and those
    that only a customer has.
    """
    device_id, devices = order.device_id, history.devices
    known_device = device_id in devices
    if not known_device:
        devices = _with(devices, device_id)
    ips = _with(history.ips, order.ip)
    offset_min, country, signed_up, direct = order.utc_offset_min, history.country, history.signed_up, history.direct
    there = time if offset_min is None else time + offset_min * 60_000
    signals["order.amount"] = amount
    signals["order.night"] = 1.0 if there % DAY_MS < NIGHT_ENDS_MS else 0.0
    if country is not None and order.ip_country is not None:
        signals["order.country_differs"] = 0.0 if country == order.ip_country else 1.0
    if signed_up is not None:
        signals["customer.account_age_s"] = (time - signed_up) / 1000
    if direct is not None:
        signals["customer.direct"] = 1.0 if direct else 0.0
    if device_id is not None:
        signals["customer.new_device"] = 0.0 if known_device else 1.0
    signals["customer.devices"] = float(len(devices))
    signals["customer.ips"] = float(len(ips))
    return devices, ips


def _of_shared(signals: Signals, entity: str, customer_id: str, customers: Seen, sign_ups: Counter, as_of: int) -> None:
    """Add the signals of what customers may share; ``customers`` includes the one of this order."""
    n_customers, n_sign_ups_1d, n_sign_ups_30d = _SHARED[entity]
    signals[n_customers] = float(len(customers))
    if sign_ups != _NONE:
        signals[n_sign_ups_1d] = floor(sign_ups[1] * 1e4 + 0.5) / 1e4
        signals[n_sign_ups_30d] = floor(sign_ups[3] * 1e4 + 0.5) / 1e4
    if len(customers) > 1:
        _of_company(signals, entity, customer_id, customers, as_of)


def _of_company(signals: Signals, entity: str, customer_id: str, customers: Seen, as_of: int) -> None:
    """Add the signals of what several customers do share."""
    n_1h, n_1d, n_7d, n_30d, n_before = _COMPANY[entity]
    of_1h = of_1d = of_7d = of_30d = 0.0
    for place, (known, last) in enumerate(customers):
        if place and known == customer_id:
            signals[n_before] = float(place)
        age = float(last - as_of)  # negative, and a float: to divide integers takes twice as long
        of_1h += exp(age / _HOUR)
        of_1d += exp(age / _DAY)
        of_7d += exp(age / _WEEK)
        of_30d += exp(age / _MONTH)
    signals[n_1h] = floor(of_1h * 1e4 + 0.5) / 1e4
    signals[n_1d] = floor(of_1d * 1e4 + 0.5) / 1e4
    signals[n_7d] = floor(of_7d * 1e4 + 0.5) / 1e4
    signals[n_30d] = floor(of_30d * 1e4 + 0.5) / 1e4


_NONE = (0.0, 0.0, 0.0, 0.0)
_ONE = (1.0, 1.0, 1.0, 1.0)
_HOUR, _DAY, _WEEK, _MONTH = map(float, WINDOWS_MS)


def _fade(as_of: int, time: int) -> tuple[int, Counter, Counter]:
    """Return when the counters hold after an event at ``time``, what they keep, and what the event weighs by then."""
    if time == as_of:
        return time, _ONE, _ONE
    age = float(as_of - time if time > as_of else time - as_of)  # see _of_company
    weights = exp(age / _HOUR), exp(age / _DAY), exp(age / _WEEK), exp(age / _MONTH)
    return (time, weights, _ONE) if time > as_of else (as_of, _ONE, weights)


def _faded(counter: Counter, kept: Counter) -> Counter:
    of_1h, of_1d, of_7d, of_30d = counter
    kept_1h, kept_1d, kept_7d, kept_30d = kept
    return of_1h * kept_1h, of_1d * kept_1d, of_7d * kept_7d, of_30d * kept_30d


def _add(counter: Counter, added: Counter) -> Counter:
    return counter[0] + added[0], counter[1] + added[1], counter[2] + added[2], counter[3] + added[3]


def _with(known: tuple[str, ...], one: str | None) -> tuple[str, ...]:
    if one is None or one in known:
        return known
    return (*known[1 - MAX_DISTINCT :], one)


def _sighted(customers: Seen, customer_id: str, time: int) -> Seen:
    """Return the customers after a sighting of one; too many, and the one not seen for longest is forgotten."""
    if len(customers) < 2:
        if not customers:
            return ((customer_id, time),)
        known, last = customers[0]
        if known == customer_id:
            return customers if time <= last else ((customer_id, time),)
    for place, (known, last) in enumerate(customers):
        if known == customer_id:
            if time <= last:
                return customers
            return (*customers[:place], (customer_id, time), *customers[place + 1 :])
    if len(customers) >= MAX_DISTINCT:
        oldest = min(range(len(customers)), key=lambda place: customers[place][1])
        customers = (*customers[:oldest], *customers[oldest + 1 :])
    return (*customers, (customer_id, time))


def _robust_z(amounts: tuple[int, ...], amount: float) -> float:
    """Return how many usual spreads the amount lies above the median of the earlier ones."""
    rising = sorted(amounts)
    median = _median(rising)
    mad = _median(sorted([one - median if one > median else median - one for one in rising]))
    spread, least = 1.4826 * mad, 0.1 * median  # compared one by one: `max` takes twice as long
    if spread < least:
        spread = least
    if spread < 1.0:
        spread = 1.0
    return floor((amount - median) / spread * 1e4 + 0.5) / 1e4


def _median(rising: list[int] | list[float]) -> float:
    middle = len(rising) // 2
    return rising[middle] if len(rising) % 2 else (rising[middle - 1] + rising[middle]) / 2
