"""The signals once more, straight from their definitions: sums over all events that an entity has ever seen."""

from datetime import UTC, datetime
from math import exp
from statistics import median

from order_fraud.events import FraudCleared, NewCustomer, NewOrder, Order
from order_fraud.relay import Relayed

HOUR_S = 3_600.0
WINDOWS = {"1h": HOUR_S, "1d": 24 * HOUR_S, "7d": 7 * 24 * HOUR_S, "30d": 30 * 24 * HOUR_S}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def seconds(event: Relayed) -> float:
    """Event time, s since 1970."""
    return (event.time - EPOCH).total_seconds()


def of_order(order: Order, time: float, known: list[Relayed]) -> dict[str, float]:
    """Return the signals of the order itself; ``known`` is what its customer did before it."""
    found = {"amount": float(order.amount)}
    minute = (time // 60 + (order.utc_offset_min or 0)) % 1440
    found["night"] = float(minute < 6 * 60)
    countries = [event.data.country for event in known if isinstance(event, NewCustomer) and event.data.country]
    if countries and order.ip_country:
        found["country_differs"] = float(countries[0] != order.ip_country)
    return found


def of_entity(known: list[Relayed]) -> dict[str, float]:
    """Return the signals that every entity has; ``known`` is all that it has seen, the order in hand at the end.

    Word of what an order was is no sighting, unless nothing else was known of the entity.
    """
    event = known[-1]
    assert isinstance(event, NewOrder)
    time, order = seconds(event), event.data
    sightings = [one for n, one in enumerate(known) if n == 0 or isinstance(one, NewCustomer | NewOrder)]
    orders = [one for one in known if isinstance(one, NewOrder)]
    now = max(map(seconds, sightings))
    currency = orders[0].data.currency
    same = [one for one in orders if one.data.currency == currency]
    found = {"known_s": time - min(map(seconds, sightings))}
    for short, window in WINDOWS.items():
        found[f"orders_{short}"] = sum(exp(-(now - seconds(one)) / window) for one in orders)
        found[f"spent_{short}"] = sum(one.data.amount * exp(-(now - seconds(one)) / window) for one in same)
    if len(orders) > 1:
        found["since_order_s"] = abs(time - max(map(seconds, orders[:-1])))
    if order.currency == currency and len(same) > 3:
        earlier = [one.data.amount for one in same[:-1]][-11:]
        usual = median(earlier)
        spread = max(1.4826 * median(abs(amount - usual) for amount in earlier), usual / 10, 1)
        found["amount_z"] = (order.amount - usual) / spread
    frauds: set[str] = set()
    for one in known:
        if not isinstance(one, NewCustomer | NewOrder):
            (frauds.discard if isinstance(one, FraudCleared) else frauds.add)(one.data.order_id)
    if frauds:
        found["frauds"] = float(min(len(frauds), 16))
    return found


def of_customer(known: list[Relayed]) -> dict[str, float]:
    """Return the signals that only customers have."""
    event = known[-1]
    assert isinstance(event, NewOrder)
    sign_ups = [one for one in known if isinstance(one, NewCustomer)]
    here = [one for one in known if isinstance(one, NewCustomer | NewOrder)]
    found = {
        "devices": float(len({one.data.device_id for one in here} - {None})),
        "ips": float(len({one.data.ip for one in here} - {None})),
    }
    if event.data.device_id:
        found["new_device"] = float(event.data.device_id not in {one.data.device_id for one in here[:-1]})
    if sign_ups:
        found["account_age_s"] = seconds(event) - seconds(sign_ups[0])
        if sign_ups[0].data.channel:
            found["direct"] = float(sign_ups[0].data.channel == "Direct")
    return found


def of_shared(known: list[Relayed]) -> dict[str, float]:
    """Return the signals of what customers may share."""
    event = known[-1]
    sightings = [one for n, one in enumerate(known) if n == 0 or isinstance(one, NewCustomer | NewOrder)]
    now = max(map(seconds, sightings))
    last: dict[str, float] = {}
    for one in known:
        if isinstance(one, NewCustomer | NewOrder):
            last[one.data.customer_id] = max(seconds(one), last.get(one.data.customer_id, seconds(one)))
    found = {"customers": float(len(last))}
    if before := list(last).index(event.data.customer_id):  # a dict keeps the order of arrival
        found["customers_before"] = float(before)
    sign_ups = [one for one in known if isinstance(one, NewCustomer)]
    for short, window in WINDOWS.items():
        if len(last) > 1:
            found[f"customers_{short}"] = sum(exp(-(now - at) / window) for at in last.values())
        if sign_ups and short in ("1d", "30d"):
            found[f"sign_ups_{short}"] = sum(exp(-(now - seconds(one)) / window) for one in sign_ups)
    return found
