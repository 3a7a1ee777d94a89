"""Generates orders: honest customers plus named kinds of fraud, with ground truth. The same seed gives the same orders.

Honest customers follow a daily rhythm, come back after log-normal pauses, and spend log-normal amounts around a habit
of their own; some share a device, an ip, a card or an address at home, some have a second device or card, some order
while they travel. About one order in sixteen is fraud.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

from producers.book import Book, Row, book
from producers.market import FIRST_USER_ID, Market, Person

__all__ = ["FIRST_USER_ID", "FRAUD_SHARE", "PATTERNS", "generate", "rows"]

FRAUD_SHARE = 0.06
"""Part of the orders that belong to a fraud pattern; each pattern gets the same part of it."""


def honest(market: Market) -> Iterator[Row]:
    """One household: one or two customers and all that they order."""
    draw = market.draw
    people = [Person(market, market.moment())]
    if draw.random() < 0.06:
        people.append(_partner(market, people[0]))
    for person in people:
        phone = market.device() if draw.random() < 0.15 else None
        second_card = market.card() if draw.random() < 0.1 else None
        when = market.later(person.signup, timedelta(days=3), 1.6)
        while True:
            away = draw.random() < 0.1
            yield person.order(
                when,
                person.habit * draw.lognormvariate(0, 0.35),
                "normal",
                device=phone if draw.random() < 0.4 else None,
                ip=market.ip() if away else None,
                card=second_card if draw.random() < 0.3 else None,
                ip_country=market.abroad(person.country) if away and draw.random() < 0.05 else None,
            )
            if draw.random() > 0.45:
                break
            when = market.later(when, timedelta(days=14), 0.8)


def _partner(market: Market, person: Person) -> Person:
    """Another customer of the same household."""
    draw = market.draw
    partner = Person(market, market.later(person.signup, timedelta(days=10), 1))
    partner.ip, partner.address, partner.country = person.ip, person.address, person.country
    # As often as in the public set, where one honest order in eighty comes from a device that others use as well.
    if draw.random() < 0.17:
        partner.device = person.device
    if draw.random() < 0.3:
        partner.card = person.card
    return partner


def device_ring(market: Market) -> Iterator[Row]:
    """Many fresh accounts on one device, each from an address of its own, all ordering within minutes."""
    device, start = market.device(), market.moment()
    for _ in range(market.draw.randint(5, 12)):
        start += timedelta(seconds=market.draw.randint(20, 240))
        person = Person(market, start)
        person.device = device
        yield person.order(market.later(start, timedelta(seconds=90), 0.5), 2.5 * person.habit, "device-ring")


def card_testing(market: Market) -> Iterator[Row]:
    """One account tries stolen cards: a burst of tiny orders, seconds apart, from one ip, a few to each card."""
    draw = market.draw
    tester = Person(market, market.moment())
    when = market.later(tester.signup, timedelta(minutes=5), 0.5)
    for _ in range(draw.randint(8, 20)):
        if draw.random() < 0.7:
            tester.card = market.card()
        yield tester.order(when, draw.uniform(50, 300), "card-testing")
        when += timedelta(seconds=draw.randint(2, 25))


def account_takeover(market: Market) -> Iterator[Row]:
    """An old customer with a habit; then, from another device and address, far more money within minutes."""
    victim = Person(market, market.moment(0, 60))
    when = market.later(victim.signup, timedelta(days=4), 0.6)
    for _ in range(market.draw.randint(2, 4)):
        yield victim.order(when, victim.habit * market.draw.lognormvariate(0, 0.3), "normal")
        when = market.later(when, timedelta(days=20), 0.4)
    device, ip = market.device(), market.ip()
    for _ in range(market.draw.randint(1, 3)):
        amount = victim.habit * market.draw.uniform(6, 15)
        yield victim.order(when, amount, "account-takeover", device=device, ip=ip)
        when += timedelta(seconds=market.draw.randint(30, 300))


def ip_farm(market: Market) -> Iterator[Row]:
    """Many fresh accounts, each on a device of its own, all behind one address, over some hours."""
    ip, start = market.ip(), market.moment()
    for _ in range(market.draw.randint(8, 20)):
        start += timedelta(seconds=market.draw.randint(60, 1200))
        person = Person(market, start)
        person.ip = ip
        yield person.order(market.later(start, timedelta(minutes=15), 0.7), 1.8 * person.habit, "ip-farm")


def instant_order(market: Market) -> Iterator[Row]:
    """An account made by a script: the order follows the sign-up within seconds."""
    person = Person(market, market.moment())
    when = person.signup + timedelta(seconds=market.draw.randint(1, 15))
    yield person.order(when, 2 * person.habit, "instant-order")


def stolen_card(market: Market) -> Iterator[Row]:
    """One card, sold to several people: fresh accounts with nothing else in common spend on it within two days."""
    card, start = market.card(), market.moment()
    for _ in range(market.draw.randint(4, 8)):
        start += timedelta(minutes=market.draw.randint(30, 600))
        person = Person(market, start)
        person.card = card
        yield person.order(market.later(start, timedelta(minutes=40), 0.7), 3 * person.habit, "stolen-card")


def shared_address(market: Market) -> Iterator[Row]:
    """One drop address: for a week, fresh accounts of one throw-away mail domain send parcels there."""
    draw = market.draw
    address, mail, start = market.address(), f"{market.word()}.example", market.moment()
    for _ in range(draw.randint(6, 14)):
        start += timedelta(minutes=draw.randint(60, 1_440))
        person = Person(market, start)
        person.address, person.mail = address, mail
        yield person.order(market.later(start, timedelta(hours=1), 0.7), 2 * person.habit, "shared-address")


def foreign_ip(market: Market) -> Iterator[Row]:
    """An account in a stolen name: it says to live in one country and orders from another, soon and for much."""
    person = Person(market, market.moment())
    away = market.abroad(person.country)
    when = market.later(person.signup, timedelta(minutes=45), 0.7)
    for _ in range(market.draw.randint(1, 3)):
        yield person.order(when, market.draw.uniform(2, 5) * person.habit, "foreign-ip", ip_country=away)
        when = market.later(when, timedelta(hours=3), 0.7)


PATTERNS: dict[str, Callable[[Market], Iterator[Row]]] = {
    "device-ring": device_ring,
    "card-testing": card_testing,
    "account-takeover": account_takeover,
    "ip-farm": ip_farm,
    "instant-order": instant_order,
    "stolen-card": stolen_card,
    "shared-address": shared_address,
    "foreign-ip": foreign_ip,
}


def rows(orders: int, seed: int) -> list[Row]:
    """Return exactly ``orders`` rows in purchase order.

    Args:
        orders: how many; from about 300 on every pattern occurs, below that as many as find room.
        seed: the same seed and number give the same rows.

    Raises:
        ValueError: ``orders`` is below 1.
    """
    if orders < 1:
        raise ValueError(f"the number of orders must be 1 or more, not {orders}")
    market = Market(seed)
    made: list[Row] = []
    share = orders * FRAUD_SHARE / len(PATTERNS)
    for pattern, episode in PATTERNS.items():
        have = 0
        # At least one episode where there is room, since a pattern that never occurs shows nothing.
        while have < share and len(made) < orders // 3:
            episode_rows = list(episode(market))
            have += sum(row.truth == pattern for row in episode_rows)
            made += episode_rows
    while len(made) < orders:
        made += honest(market)
    del made[orders:]
    made.sort(key=lambda row: (row.purchase_time, row.user_id))
    return [_hide(row, market) for row in made]


def _hide(row: Row, market: Market) -> Row:
    """Now and then the shop does not learn the address, the device or the card of an honest order."""
    if row.truth != "normal":
        return row
    chance = market.draw.random()
    if chance < 0.021:
        return replace(row, ip=None, ip_country=None)
    if chance < 0.03:
        return replace(row, device_id=None)
    return replace(row, card=None) if chance < 0.05 else row  # paid by invoice


def generate(orders: int, seed: int) -> Book:
    """Return a generated book of exactly ``orders`` sales; see :func:`rows`."""
    return book(rows(orders, seed))
