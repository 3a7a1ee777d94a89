"""Which signals a scorecard may be learned from, in which direction each may speak, and where its bins may begin.

The edges are fixed numbers that a person would choose, not quantiles of the day: a bin keeps its meaning, and its code,
from version to version, and a support agent reads "less than 15 minutes" instead of "less than 871.4 seconds".

A signal speaks ``UP`` if more of it can only mean more like fraud, ``DOWN`` if less of it can, ``BOTH`` where either
end may be odd. What the data say against it is noise or an accident of their time, and is not learned: that fraudsters
of one January left long pauses must not make long pauses suspicious.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from order_fraud.signals import ADDRESS, CARD, DEVICE, IP, NAMES

Direction = Literal["up", "down", "both"]
UP, DOWN, BOTH = "up", "down", "both"

MINUTE, HOUR, DAY = 60, 3600, 86_400
FLAG = (1.0,)
AGES = (1.5, 10, 30, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, DAY, 3 * DAY, 7 * DAY, 30 * DAY, 90 * DAY)
COUNTS = (1.2, 1.5, 1.9, 2.5, 3.5, 5, 8, 12)
"""Of decaying counters: two events are a little less than 2 by the time of the second."""
SIGN_UPS = (0.3, 0.7, *COUNTS)
BEFORE = (1, 2, 3, 4, 8, 12)
DISTINCT = (2, 3, 4, 5, 8, 12, 16)
FRAUDS = (1, 2, 4, 8)
SPREADS = (2, 3, 4, 6, 10, 20)
MONEY = tuple(float(digit * 10**power) for power in range(1, 9) for digit in (1, 2, 5))
"""Minor units. Amounts of different currencies meet here; bins this coarse survive it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A signal that may enter a scorecard.

    Attributes:
        signal: its name on the order.
        direction: how it may speak.
        edges: where its bins may begin or end, rising.
    """

    signal: str
    direction: Direction
    edges: tuple[float, ...]


def _candidates() -> Iterator[Candidate]:
    yield Candidate("order.amount", BOTH, MONEY)
    yield Candidate("order.night", UP, FLAG)
    yield Candidate("order.country_differs", UP, FLAG)
    yield Candidate("customer.account_age_s", DOWN, AGES)
    yield Candidate("customer.direct", UP, FLAG)
    yield Candidate("customer.new_device", UP, FLAG)
    yield Candidate("customer.devices", UP, DISTINCT)
    yield Candidate("customer.ips", UP, DISTINCT)
    for entity in ("customer", DEVICE, IP, CARD, ADDRESS):
        yield Candidate(f"{entity}.orders_1h", UP, COUNTS)
        yield Candidate(f"{entity}.orders_1d", UP, COUNTS)
        yield Candidate(f"{entity}.orders_30d", UP, COUNTS)
        yield Candidate(f"{entity}.since_order_s", DOWN, AGES)
        yield Candidate(f"{entity}.amount_z", UP, SPREADS)
        yield Candidate(f"{entity}.frauds", UP, FRAUDS)
    for entity in (DEVICE, IP, CARD, ADDRESS):
        yield Candidate(f"{entity}.customers", UP, DISTINCT)
        yield Candidate(f"{entity}.customers_before", UP, BEFORE)
        yield Candidate(f"{entity}.customers_1h", UP, COUNTS)
        yield Candidate(f"{entity}.customers_1d", UP, COUNTS)
        yield Candidate(f"{entity}.customers_30d", UP, COUNTS)
    for entity in (DEVICE, IP):  # a sign-up names no card and no address
        yield Candidate(f"{entity}.sign_ups_1d", UP, SIGN_UPS)
        yield Candidate(f"{entity}.sign_ups_30d", UP, SIGN_UPS)


CANDIDATES: tuple[Candidate, ...] = tuple(_candidates())
"""All of them. E-mail domains are left out: one provider's domain is half of all customers."""

_unknown = [one.signal for one in CANDIDATES if one.signal not in NAMES]
if _unknown:
    raise LookupError(f"not in the catalogue of signals: {', '.join(_unknown)}")
