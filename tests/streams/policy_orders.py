"""Scorecards that judge differently, and orders without end on which they do."""

import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

from order_fraud import events
from order_fraud.scorecard import Band, Bin, Condition, Line, ListEntry, Rule, Scorecard
from order_fraud.topics import FRAUD_VERDICTS
from tests.stack.chaos.topics import follow
from tests.streams.witness import send

CHUNK = 200
BACKLOG = 3_000
"""So many orders wait at most: enough to keep two workers busy, few enough to be through soon."""
ENOUGH = 300
Names = tuple[str, ...]
"""The version that judged, and those on trial."""

_START = datetime(2026, 1, 1, tzinfo=UTC)
_CROWDS = (("alone", 0, 2, 0), ("shared", 2, 4, 40), ("crowd", 4, None, 60))


def scorecard(version: str, number: int) -> Scorecard:
    """Return a scorecard whose points, reasons, bands, rule and list are its own: no other gives the same verdicts."""
    bins = tuple(
        Bin(
            code=code, low=low, high=high, points=points + number, text=f"{version}: {{value}} customers on the device."
        )
        for code, low, high, points in _CROWDS
    )
    party = Condition(signal="device.customers", low=5 + number % 2)
    trusted = ListEntry(
        code="trusted",
        effect="allow",
        entity="customer",
        value=f"c{number}",
        reason=f"known to {version}",
        owner="test",
    )
    return Scorecard(
        version=version,
        owner="test",
        reason="to be told from the others",
        lines=(Line(signal="device.customers", bins=bins),),
        rules=(Rule(code="party", when=(party,), outcome="block", text=f"{version}: {{value}} is a party."),),
        bands=(Band(at=40, outcome="review", priority=number), Band(at=91 + number, outcome="block")),
        lists=(trusted,),
    )


def order(number: int) -> events.NewOrder:
    """Return order ``number``: six customers share a device, and all that an order can come from is there."""
    customer, order_id = f"c{number % 1_000}", f"policy-{number}"
    data = events.Order(
        order_id=order_id,
        customer_id=customer,
        amount=number * 7 % 10_000,
        currency="EUR",
        device_id=f"d{number // 6}",
        ip=f"10.0.{number % 200}.1",
        card=f"card-{number % 900}",
        email_domain=f"{number % 30}.example",
        address=f"address-{number % 700}",
    )
    at = _START + timedelta(seconds=number)
    return events.NewOrder(id=f"order/{order_id}", source="/shop", subject=order_id, time=at, data=data)


def send_orders(bootstrap: str, first: int, end: int) -> None:
    """Send the orders from ``first`` to before ``end``."""
    made = [order(number) for number in range(first, end)]
    send(bootstrap, [(one.data.customer_id.encode(), events.encode(one)) for one in made])


class Ledger:
    """Reads verdicts as they come, and counts them by all versions that they name. One thread reads."""

    def __init__(self, bootstrap: str) -> None:
        self.judged: Counter[Names] = Counter()
        self._consumer = follow(bootstrap, [FRAUD_VERDICTS])

    def read(self) -> int:
        """Take what has come, and return how many verdicts there are."""
        for message in self._consumer.consume(5_000, 0.1):
            if message.error() is None:
                event = events.decode(message.value())
                assert isinstance(event, events.PossibleFraud | events.NoFraudDetected)
                shadows = (one.scorecard_version for one in event.data.shadows)
                self.judged[event.data.scorecard_version, *shadows] += 1
        return self.judged.total()

    def wait_for(self, names: Names, more: int = ENOUGH, seconds: float = 90.0) -> None:
        """Wait until so many more orders have been judged by these."""
        wanted = self.judged[names] + more
        until = time.monotonic() + seconds
        while self.judged[names] < wanted:
            assert time.monotonic() < until, f"{names}: not {wanted} verdicts after {seconds:.0f} s; {self.judged}"
            self.read()

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()


class Shop:
    """Sends orders in a thread of its own until it is told to close: so that the workers always have some to do."""

    def __init__(self, bootstrap: str, ledger: Ledger) -> None:
        self.sold = 0
        self._bootstrap = bootstrap
        self._ledger = ledger
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sell)

    def __enter__(self) -> "Shop":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sell(self) -> None:
        while not self._over.is_set():
            if self.sold - self._ledger.judged.total() > BACKLOG:
                time.sleep(0.05)
                continue
            send_orders(self._bootstrap, self.sold, self.sold + CHUNK)
            self.sold += CHUNK
