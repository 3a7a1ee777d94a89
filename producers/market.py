"""What generated orders are made of: people, devices, addresses, cards, mail domains, countries and moments."""

import math
import random
from datetime import UTC, datetime, timedelta

from producers.book import Row

START = datetime(2015, 1, 1, tzinfo=UTC)
DAYS = 180
FIRST_USER_ID = 1_000_001

_HOURS = (2, 1, 1, 1, 1, 2, 4, 7, 9, 10, 11, 12, 13, 12, 11, 11, 12, 13, 15, 17, 18, 16, 10, 5)
"""How busy each hour of the day (UTC) is."""

_NETWORKS = tuple(sorted(set(range(1, 224)) - {10, 100, 127, 169, 172, 192, 198, 203}))
"""First numbers of public IPv4 addresses."""

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CHANNELS = (("SEO", "Ads", "Direct"), (40, 39, 21))
_BROWSERS = (("Chrome", "IE", "Safari", "FireFox", "Opera"), (41, 24, 16, 16, 3))
_COUNTRIES = (("United States", "Germany", "United Kingdom", "France", "Japan", "Brazil"), (46, 14, 14, 10, 9, 7))
"""As a range table names them; customers live there, and so do their ips."""

_MAIL = (("gmail.example", "outlook.example", "yahoo.example", "icloud.example", "web.example"), (45, 20, 15, 10, 2))
_OWN_MAIL = 0.08
"""Part of the customers who write from a company's domain, or their own."""


class Person:
    """One account: what stays the same from order to order."""

    def __init__(self, market: "Market", signup: datetime) -> None:
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
        self.card = market.card()
        self.address = market.address()
        self.country = draw.choices(*_COUNTRIES)[0]
        self.mail = f"{market.word()}.example" if draw.random() < _OWN_MAIL else draw.choices(*_MAIL)[0]

    def order(
        self,
        when: datetime,
        amount: float,
        truth: str,
        *,
        device: str | None = None,
        ip: str | None = None,
        card: str | None = None,
        ip_country: str | None = None,
    ) -> Row:
        """An order with what the person has, or with what is named here instead; ``amount`` in cents."""
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
            card=card or self.card,
            email_domain=self.mail,
            address=self.address,
            country=self.country,
            ip_country=ip_country or self.country,
        )


class Market:
    """The seeded source of everything.

    Attributes:
        draw: where all chance comes from.
    """

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self._last_user_id = FIRST_USER_ID - 1

    def next_user_id(self) -> int:
        """A customer id that nobody has."""
        self._last_user_id += 1
        return self._last_user_id

    def device(self) -> str:
        """A new device's fingerprint."""
        return "".join(self.draw.choices(_LETTERS, k=13))

    def card(self) -> str:
        """A new card's fingerprint."""
        return f"card_{self.draw.getrandbits(64):016x}"

    def address(self) -> str:
        """A new shipping address's fingerprint."""
        return f"addr_{self.draw.getrandbits(64):016x}"

    def word(self) -> str:
        """Eight small letters."""
        return "".join(self.draw.choices(_LETTERS, k=8)).lower()

    def ip(self) -> str:
        """An address that could be a household's: no block with private or reserved parts."""
        rest = self.draw.randrange(1 << 24)
        return f"{self.draw.choice(_NETWORKS)}.{rest >> 16}.{rest >> 8 & 255}.{rest & 255}"

    def abroad(self, country: str) -> str:
        """Another country."""
        return self.draw.choice([other for other in _COUNTRIES[0] if other != country])

    def moment(self, first_day: float = 0, last_day: float = DAYS) -> datetime:
        """A whole second on one of these days, at an hour as busy as people make it."""
        day = self.draw.uniform(first_day, last_day)
        hour = self.draw.choices(range(24), _HOURS)[0]
        return START + timedelta(days=int(day), hours=hour, seconds=self.draw.randrange(3600))

    def later(self, after: datetime, median: timedelta, spread: float) -> datetime:
        """A moment after another one, by a log-normal pause."""
        pause = median.total_seconds() * self.draw.lognormvariate(0, spread)
        return after + timedelta(seconds=max(1, round(min(pause, DAYS * 86_400))))
