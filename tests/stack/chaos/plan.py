"""The schedule: which fault, when, on whom. A pure function of the seed and the number of faults."""

import hashlib
import random
from collections import Counter
from dataclasses import dataclass, field

from tests.stack.chaos.tape import InputFault, Sent, record

LEAD_IN_S = 4.0
"""Load before the first fault and after the last."""
SPACING_S = 2.0
"""Seconds from fault to fault, on the average: most of them take longer than that, so that they overlap."""
RATE = 450.0
"""Records a second of the load: about 290 orders and 160 sign-ups."""
MOST_WORKERS = 5
"""One more than there are partitions: it stands by."""

INPUT = ("duplicates", "reordering", "poison", "policy-change")
SHARES = {
    "worker-kill": 22,
    "worker-lost": 7,
    "worker-pause": 10,
    "worker-join": 8,
    "worker-leave": 8,
    "broker-kill": 8,
    "duplicates": 13,
    "reordering": 12,
    "poison": 12,
    "policy-change": 12,
}
MEANING = {
    "worker-kill": "kill -9, started again within two seconds",
    "worker-lost": "kill -9, started again after the group has given its partitions away",
    "worker-pause": "SIGSTOP beyond the session timeout of 6 s, then SIGCONT: a zombie",
    "worker-join": "one more worker",
    "worker-leave": "SIGTERM, gone until it joins again",
    "broker-kill": "kill -9 of the only broker, started again on its data",
    "duplicates": "records sent again, at once or long after",
    "reordering": "a stretch shuffled, records held back, sign-ups after their orders, an old date",
    "poison": "records that no service may use",
    "policy-change": "a new scorecard judges, others are on trial; half of them with records that must change nothing",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        at: seconds after the start.
        kind: see ``MEANING``.
        worker: whom it hits, by index; 0 where it is no worker's.
        seconds: until the worker or broker is started again or goes on; 0 where nothing does.
    """

    at: float
    kind: str
    worker: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        target = f" of worker {self.worker}" if self.worker else ""
        return f"{self.kind}{target}" + (f", for {self.seconds:.1f} s" if self.seconds else "")


@dataclass(frozen=True, slots=True)
class Plan:
    """All that happens in one run.

    Attributes:
        seed: that it was made from.
        workers: indexes of those that are there at the start.
        seconds: until the last record is sent and the last fault over.
        faults: in their order.
        tape: the records, in their order.
    """

    seed: int
    workers: tuple[int, ...]
    seconds: float
    faults: tuple[Fault, ...]
    tape: tuple[Sent, ...]

    @property
    def kinds(self) -> Counter[str]:
        """How many faults of each kind."""
        return Counter(fault.kind for fault in self.faults)

    @property
    def fingerprint(self) -> str:
        """Eight characters that differ where two plans differ."""
        return hashlib.sha256(repr((self.workers, self.faults, self.tape)).encode()).hexdigest()[:8]


def make(faults: int, seed: int, workers: int = 2, rate: float = RATE, spacing: float = SPACING_S) -> Plan:
    """Return the plan of a seed.

    Raises:
        ValueError: fewer than one fault or worker, or more workers than ``MOST_WORKERS``.
    """
    if faults < 1:
        raise ValueError(f"the number of faults must be 1 or more, not {faults}")
    if not 1 <= workers <= MOST_WORKERS:
        raise ValueError(f"the number of workers must be 1 to {MOST_WORKERS}, not {workers}")
    draw = random.Random(f"plan {seed}")
    seconds = 2 * LEAD_IN_S + faults * spacing
    crew = _Crew(draw, workers)
    schedule = []
    for place, kind in enumerate(_deal(draw, faults)):
        at = LEAD_IN_S + spacing * (place + draw.random())
        schedule.append(Fault(round(at, 2), kind) if kind in INPUT else crew.fault(round(at, 2), kind))
    load = record(seed, seconds, rate, [InputFault(one.kind, one.at) for one in schedule if one.kind in INPUT])
    end = max([load[-1].at, *(fault.at + fault.seconds for fault in schedule)])
    return Plan(seed, tuple(range(1, workers + 1)), end, tuple(schedule), load)


def _deal(draw: random.Random, faults: int) -> list[str]:
    """Return the kinds in their order: each has its share, and the broker's are spread evenly."""
    total = sum(SHARES.values())
    exact = {kind: faults * share / total for kind, share in SHARES.items()}
    count = {kind: int(wanted) for kind, wanted in exact.items()}
    for kind in sorted(exact, key=lambda kind: count[kind] - exact[kind])[: faults - sum(count.values())]:
        count[kind] += 1
    broker = count.pop("broker-kill")
    others = [kind for kind, number in count.items() for _ in range(number)]
    draw.shuffle(others)
    # Not at random: two in a row would be one long outage, and a long outage is not worth two faults.
    for number in range(broker):
        others.insert(round((number + 0.5) * faults / broker), "broker-kill")
    return others


@dataclass
class _Crew:
    """Who is there, as far as the plan can know: keeps faults from hitting nobody."""

    draw: random.Random
    workers: int
    away_until: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.away_until = dict.fromkeys(range(1, self.workers + 1), 0.0)

    def fault(self, at: float, kind: str) -> Fault:
        """Return one fault on the broker or a worker.

        Where a kind has no room (nobody may leave, nobody can join), its counterpart takes its place.
        """
        if kind == "broker-kill":
            return Fault(at, kind, seconds=round(self.draw.uniform(0.2, 3.0), 2))
        there = [worker for worker, until in self.away_until.items() if until <= at]
        if kind == "worker-join" and len(self.away_until) == MOST_WORKERS:
            kind = "worker-leave"
        if kind == "worker-leave" and len(self.away_until) <= 2:
            kind = "worker-join"
        if kind in ("worker-leave", "worker-lost", "worker-pause") and len(there) < 2:
            kind = "worker-join" if len(self.away_until) < MOST_WORKERS else "worker-kill"
        if kind == "worker-join":
            worker = min(set(range(1, MOST_WORKERS + 1)) - self.away_until.keys())
            self.away_until[worker] = at
            return Fault(at, kind, worker)
        # A worker that is frozen or gone for longer is hit by nothing but a kill, which finds it frozen or starting.
        worker = self.draw.choice(there or sorted(self.away_until))
        if kind == "worker-leave":
            del self.away_until[worker]
            return Fault(at, kind, worker)
        shortest, longest = {"worker-kill": (0.1, 2.0), "worker-lost": (8.0, 12.0), "worker-pause": (6.5, 10.0)}[kind]
        seconds = round(self.draw.uniform(shortest, longest), 2)
        self.away_until[worker] = at + seconds
        return Fault(at, kind, worker, seconds)
