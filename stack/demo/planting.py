"""Plants the faults of a demo: what can be planned goes out with the orders, the rest when the stream has judged."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lake.reconcile.allowances import Allowances
from order_fraud.events import DeliveryReleased, Event, PossibleFraud
from order_fraud.topics import DELIVERY_EVENTS, FRAUD_VERDICTS, Topic
from producers.book import Book
from sandbox import faults, faults_in_time
from scorecards import PANEL
from stack.demo.tally import Tally

LATE_SECONDS = 0.1
"""What comes in so much later counts as late in a demo, which cannot wait for a minute; the shop sends by date."""

HELD_SINCE = timedelta(days=10)
"""For so long orders have been on hold that were held for too long."""

WORDS = ("chargeback", "confirmed")
"""What is said of frauds that the stream has missed."""

Call = Callable[..., None]
"""Runs one of the project's own commands: module, arguments."""


@dataclass
class Planting:
    """What is planted in one demo.

    Attributes:
        book: the orders.
        seed: of all choices.
        folder: where the files lie that tell producers and sandbox what to do.
        planted: order ids by kind of finding; ``planted.json``.
        returned: orders whose money goes back as it should, so that a refund alone is no finding.
    """

    book: Book
    seed: int
    folder: Path
    planted: dict[str, list[str]] = field(default_factory=dict)
    returned: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many faults of one kind, at most."""
        return faults.size(len(self.book.sales))

    @property
    def plan_file(self) -> Path:
        """What was planted so far; the sandbox is fed by it."""
        return self.folder / "planted.json"

    def plan(self) -> None:
        """Choose what must be known before the orders go out."""
        self.planted = faults.plan((sale.order_id for sale in self.book.sales), self.seed)
        self.planted[faults_in_time.CUSTOMER_UNKNOWN] = faults_in_time.strangers(
            self.book, self.planted, self.seed, self.count
        )
        self.planted[faults_in_time.WOULD_CHANGE] = faults_in_time.late_sign_ups(
            self.book, self.planted, self.seed, self.count
        )
        self.planted[faults.CUSTOMER_DIFFERS] = faults_in_time.first_orders(
            faults.CUSTOMER_DIFFERS, self.book, self.planted, self.seed, self.count
        )
        every = [sale.order_id for sale in self.book.sales]
        self._choose(
            faults.VERDICT_MISSING, faults.choose(faults.VERDICT_MISSING, every, self.planted, self.seed, self.count)
        )
        self._choose(faults.VERDICT_FORGED, faults.invented(every, self.count, faults.FORGED_FROM))

    def write(self) -> None:
        """Write the files."""
        self.plan_file.write_text(json.dumps(self.planted, indent=2) + "\n")
        self._list("withheld.txt", self.planted.get(faults.NOT_STREAMED, ()))
        self._list("misdirected.txt", self.planted.get(faults.VERDICT_MISSING, ()))
        unknown, late = (
            self._customers(kind) for kind in (faults_in_time.CUSTOMER_UNKNOWN, faults_in_time.WOULD_CHANGE)
        )
        self._list("no-sign-ups.txt", [*unknown, *late])
        self._list("late-sign-ups.txt", late)

    @property
    def to_shop(self) -> list[str]:
        """Options that make the shop withhold what is to be missing, and misdirect what is to be refused."""
        files = {
            "--withhold": "withheld.txt",
            "--withhold-sign-ups": "no-sign-ups.txt",
            "--misdirect": "misdirected.txt",
        }
        return [word for option, name in files.items() for word in (option, str(self.folder / name))]

    def after_verdicts(self, tally: Tally, call: Call, orders_from: Iterable[str], sandbox: str) -> None:
        """Plant what depends on verdicts, by the project's own commands.

        Args:
            tally: what the stream has said of every order.
            call: runs a command.
            orders_from: options that name the orders.
            sandbox: its address.
        """
        orders = [*orders_from, "--seed", str(self.seed)]
        self._keep_changed(tally)
        self._choose(faults.FORGED_RELEASE, faults.forgeable(tally.suspects, self.planted, self.seed, self.count))
        for kind in (faults.HELD_OVERDUE, faults.CHARGED_REJECTED, faults.VERDICT_REPEATED):
            self._choose(kind, faults.choose(kind, tally.suspects, self.planted, self.seed, self.count))
        free = tally.cleared & set(tally.released)
        for kind in (faults.FRAUD_MISSED, faults.REFUND_MISSING, faults.RELEASED_TWICE):
            self._choose(kind, faults.choose(kind, free, self.planted, self.seed, self.count))
        self.returned = faults.choose("returned", free, self.planted, self.seed, self.count)
        moment = self._skew(tally)
        self.write()
        if self._customers(faults_in_time.WOULD_CHANGE):
            call("producers.shop", *orders, "--only-sign-ups", str(self.folder / "late-sign-ups.txt"), well=(0, 3))
        self._tell(tally, call, faults.FORGED_RELEASE)
        self._forge_clearances(tally, call)
        self._repeat(call, faults.VERDICT_REPEATED, FRAUD_VERDICTS, PossibleFraud)
        self._repeat(call, faults.RELEASED_TWICE, DELIVERY_EVENTS, DeliveryReleased)
        since = (datetime.now(UTC) - HELD_SINCE).isoformat()
        self._tell(tally, call, faults.HELD_OVERDUE, "--what", "held", "--stamped", since)
        if any(self._missed(word) for word in WORDS):
            call("producers.feedback", *orders, "--labels", str(self._labels()), "--by", "demo", well=(0, 3))
        returned, disputed = self._list("returned.txt", self.returned), self._list("disputed.txt", self._missed(None))
        told = ["--plan", str(self.plan_file), "--returned", str(returned), "--disputed", str(disputed)]
        if self.count:
            call("sandbox.feed", *orders, "--url", sandbox, *told)
        if moment is not None:
            call("producers.forge_policy", "--stamped", moment.isoformat())

    def _choose(self, kind: str, order_ids: list[str]) -> None:
        self.planted[kind] = order_ids

    def _keep_changed(self, tally: Tally) -> None:
        """A late sign-up is a fault only where the outcome would have been another with it."""
        sales = {sale.order_id: sale for sale in self.book.sales}
        signed_up = {row.user_id: row.signup_time.timestamp() for row in self.book.signups}
        self.planted[faults_in_time.WOULD_CHANGE] = [
            order_id
            for order_id in self.planted[faults_in_time.WOULD_CHANGE]
            if order_id in tally.said
            and faults_in_time.would_change(tally.said[order_id], sales[order_id], signed_up, PANEL.active)
        ]

    def _skew(self, tally: Tally) -> datetime | None:
        """Choose the orders that came in last, and return when the scorecard that judged them was to be replaced."""
        self.planted[faults_in_time.POLICY_SKEW] = []
        if not self.count or len(tally.came_in) < self.count:
            return None
        last, order_ids = faults_in_time.judged_last(tally.came_in, self.count)
        self.planted[faults_in_time.POLICY_SKEW] = order_ids
        return datetime.fromtimestamp(last / 1000, UTC) - Allowances().skew

    def _tell(self, tally: Tally, call: Call, kind: str, *options: str) -> None:
        """Forge what the warehouse is told of the orders of a kind."""
        if not self.planted[kind]:
            return
        times = {sale.order_id: sale.row.purchase_time.isoformat() for sale in self.book.sales}
        lines = [f"{order_id},{tally.customers[order_id]},{times[order_id]}" for order_id in self.planted[kind]]
        call("producers.forge", "--orders-file", str(self._list(f"{kind}.csv", lines)), *options)

    def _forge_clearances(self, tally: Tally, call: Call) -> None:
        """Forge verdicts on orders that never came in; their records seem as old as the first, or they were skewed."""
        if not self.planted[faults.VERDICT_FORGED] or not tally.came_in:
            self.planted[faults.VERDICT_FORGED] = []
            return
        time = self.book.sales[0].row.purchase_time.isoformat()
        lines = [f"{order_id},nobody,{time}" for order_id in self.planted[faults.VERDICT_FORGED]]
        first = datetime.fromtimestamp(min(tally.came_in.values()) / 1000, UTC).isoformat()
        file = self._list(f"{faults.VERDICT_FORGED}.csv", lines)
        call("producers.forge", "--orders-file", str(file), "--what", "cleared", "--stamped", first)

    def _repeat(self, call: Call, kind: str, topic: Topic, event: type[Event]) -> None:
        """Send records a second time, as a worker would that does not know it was given up."""
        if self.planted[kind]:
            file = self._list(f"{kind}.txt", self.planted[kind])
            call("producers.repeat", "--topic", topic.name, "--type", event.__name__, "--subjects", str(file))

    def _labels(self) -> Path:
        """Write what is said of the orders: all of it when the last order had been placed, so that nothing is late."""
        moment = min(datetime.now(UTC), self.book.sales[-1].row.purchase_time + timedelta(days=1)).isoformat()
        lines = [f"{order_id},{word},{moment}" for word in WORDS for order_id in self._missed(word)]
        return self._list("labels.csv", lines)

    def _missed(self, word: str | None) -> list[str]:
        """Missed frauds of which this word is said; None: no word, only the bank's dispute at the payment provider."""
        said = (*WORDS, None)
        missed = self.planted[faults.FRAUD_MISSED]
        return [order_id for number, order_id in enumerate(missed) if said[number % len(said)] == word]

    def _customers(self, kind: str) -> list[str]:
        chosen = set(self.planted.get(kind, ()))
        return sorted(sale.row.user_id for sale in self.book.sales if sale.order_id in chosen)

    def _list(self, name: str, lines: Iterable[str]) -> Path:
        path = self.folder / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path


def shortfalls(planted: Mapping[str, list[str]], count: int) -> list[str]:
    """Return one line for every kind of which fewer were planted than there might be."""
    return [
        f"only {len(order_ids)} of {count} faults {kind} were planted: no more orders lent themselves to it"
        for kind, order_ids in planted.items()
        if len(order_ids) < count
    ]
