"""Generates orders: honest customers plus named kinds of fraud, with ground truth. The same seed gives the same orders.

Honest customers follow a daily rhythm, come back after log-normal pauses, and spend log-normal amounts around a habit
of their own; some share a device or an ip at home, some have a second device. About one order in sixteen is fraud.
"""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from producers.book import Book, Row, book

START = datetime(2015, 1, 1, tzinfo=UTC)
DAYS = 180
FRAUD_SHARE = 0.06
"""Part of the orders that belong to a fraud pattern; each pattern gets the same part of it."""

FIRST_USER_ID = 1_000_001

_HOURS = (2, 1, 1, 1, 1, 2, 4, 7, 9, 10, 11, 12, 13, 12, 11, 11, 12, 13, 15, 17, 18, 16, 10, 5)
"""How busy each hour of the day (UTC) is."""

_NETWORKS = tuple(sorted(set(range(1, 224)) - {10, 100, 127, 169, 172, 192, 198, 203}))
"""First numbers of public IPv4 addresses."""

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CHANNELS = (("SEO", "Ads", "Direct"), (40, 39, 21))
_BROWSERS = (("Chrome", "IE", "Safari", "FireFox", "Opera"), (41, 24, 16, 16, 3))


class _Person:
    """One account: what stays the same from order to order."""

    def __init__(self, market: "_Market", signup: datetime) -> None:
        draw = market.draw
        self.user_id = str(market.next_user_id())
        self.signup = signup
        self.device = market.device()
        self.ip = market.ip()
        self.habit = draw.lognormvariate(math.log(3_300), 0.45)
        self.channel = draw.choices(*_CHANNELS)[0]
        self.browser = draw.choices(*_BROWSERS)[0]
        self.sex = draw.choice("MF")
        self.age = str(round(min(78, max(18, draw.gauss(33, 9)))))

    def order(
        self,
        when: datetime,
        amount: float,
        truth: str,
        *,
        device: str | None = None,
        ip: str | None = None,
    ) -> Row:
        return Row(
            line=0,
            user_id=self.user_id,
            signup_time=self.signup,
            purchase_time=max(when, self.signup),
            amount=max(50, round(amount)),
            device_id=device or self.device,
            source=self.channel,
            browser=self.browser,
            ip=ip or self.ip,
            sex=self.sex,
            age=self.age,
            truth=truth,
        )


class _Market:
    """The seeded source of people, devices, addresses and moments."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self._last_user_id = FIRST_USER_ID - 1

    def next_user_id(self) -> int:
        self._last_user_id += 1
        return self._last_user_id

    def device(self) -> str:
        return "".join(self.draw.choices(_LETTERS, k=13))

    def ip(self) -> str:
        """An address that could be a household's: no block with private or reserved parts."""
        rest = self.draw.randrange(1 << 24)
        return f"{self.draw.choice(_NETWORKS)}.{rest >> 16}.{rest >> 8 & 255}.{rest & 255}"

    def moment(self, first_day: float = 0, last_day: float = DAYS) -> datetime:
        """A whole second on one of these days, at an hour as busy as people make it."""
        day = self.draw.uniform(first_day, last_day)
        hour = self.draw.choices(range(24), _HOURS)[0]
        return START + timedelta(days=int(day), hours=hour, seconds=self.draw.randrange(3600))

    def later(self, after: datetime, median: timedelta, spread: float) -> datetime:
        """A moment after another one, by a log-normal pause."""
        pause = median.total_seconds() * self.draw.lognormvariate(0, spread)
        return after + timedelta(seconds=max(1, round(min(pause, DAYS * 86_400))))


def honest(market: _Market) -> Iterator[Row]:
    """One household: one or two customers and all that they order."""
    draw = market.draw
    people = [_Person(market, market.moment())]
    if draw.random() < 0.06:
        people.append(_Person(market, market.later(people[0].signup, timedelta(days=10), 1)))
        people[1].ip = people[0].ip
        # As often as in the public set, where one honest order in eighty comes from a device that others use as well.
        if draw.random() < 0.17:
            people[1].device = people[0].device
    for person in people:
        phone = market.device() if draw.random() < 0.15 else None
        when = market.later(person.signup, timedelta(days=3), 1.6)
        while True:
            away = draw.random() < 0.1
            yield person.order(
                when,
                person.habit * draw.lognormvariate(0, 0.35),
                "normal",
                device=phone if draw.random() < 0.4 else None,
                ip=market.ip() if away else None,
            )
            if draw.random() > 0.45:
                break
            when = market.later(when, timedelta(days=14), 0.8)


def device_ring(market: _Market) -> Iterator[Row]:
    """Many fresh accounts on one device, each from an address of its own, all ordering within minutes."""
    device, start = market.device(), market.moment()
    for _ in range(market.draw.randint(5, 12)):
        start += timedelta(seconds=market.draw.randint(20, 240))
        person = _Person(market, start)
        person.device = device
        yield person.order(market.later(start, timedelta(seconds=90), 0.5), 2.5 * person.habit, "device-ring")


def card_testing(market: _Market) -> Iterator[Row]:
    """One account tries stolen cards: a burst of tiny orders, seconds apart, from one address."""
    tester = _Person(market, market.moment())
    when = market.later(tester.signup, timedelta(minutes=5), 0.5)
    for _ in range(market.draw.randint(8, 20)):
        yield tester.order(when, market.draw.uniform(50, 300), "card-testing")
        when += timedelta(seconds=market.draw.randint(2, 25))


def account_takeover(market: _Market) -> Iterator[Row]:
    """An old customer with a habit; then, from another device and address, far more money within minutes."""
    victim = _Person(market, market.moment(0, DAYS / 3))
    when = market.later(victim.signup, timedelta(days=4), 0.6)
    for _ in range(market.draw.randint(2, 4)):
        yield victim.order(when, victim.habit * market.draw.lognormvariate(0, 0.3), "normal")
        when = market.later(when, timedelta(days=20), 0.4)
    device, ip = market.device(), market.ip()
    for _ in range(market.draw.randint(1, 3)):
        amount = victim.habit * market.draw.uniform(6, 15)
        yield victim.order(when, amount, "account-takeover", device=device, ip=ip)
        when += timedelta(seconds=market.draw.randint(30, 300))


def ip_farm(market: _Market) -> Iterator[Row]:
    """Many fresh accounts, each on a device of its own, all behind one address, over some hours."""
    ip, start = market.ip(), market.moment()
    for _ in range(market.draw.randint(8, 20)):
        start += timedelta(seconds=market.draw.randint(60, 1200))
        person = _Person(market, start)
        person.ip = ip
        yield person.order(market.later(start, timedelta(minutes=15), 0.7), 1.8 * person.habit, "ip-farm")


def instant_order(market: _Market) -> Iterator[Row]:
    """An account made by a script: the order follows the sign-up within seconds."""
    person = _Person(market, market.moment())
    when = person.signup + timedelta(seconds=market.draw.randint(1, 15))
    yield person.order(when, 2 * person.habit, "instant-order")


PATTERNS: dict[str, Callable[[_Market], Iterator[Row]]] = {
    "device-ring": device_ring,
    "card-testing": card_testing,
    "account-takeover": account_takeover,
    "ip-farm": ip_farm,
    "instant-order": instant_order,
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
    market = _Market(seed)
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


def _hide(row: Row, market: _Market) -> Row:
    """Now and then the shop does not learn the address or the device of an honest order."""
    if row.truth != "normal" or market.draw.random() > 0.03:
        return row
    return replace(row, ip=None) if market.draw.random() < 0.7 else replace(row, device_id=None)


def generate(orders: int, seed: int) -> Book:
    """Return a generated book of exactly ``orders`` sales; see :func:`rows`."""
    return book(rows(orders, seed))
