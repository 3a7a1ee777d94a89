"""Plays a plan on a real broker: one loop sends the load, does the faults when they are due, and watches."""

import heapq
import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer

from order_fraud import topics
from order_fraud.events import DeliveryHeld, DeliveryReleased, decode
from order_fraud.relay import ROUTE
from stack import Ports, Stack
from tests.stack.chaos.checker import NUMBER, Judgement, judge
from tests.stack.chaos.cluster import Broker, Crew
from tests.stack.chaos.plan import Fault, Plan
from tests.stack.chaos.takeover import Takeovers
from tests.stack.chaos.tape import Sent
from tests.stack.chaos.topics import follow, read_all, unread

TICK_S = 0.02
DRAIN_S = 120.0
"""Without a new outcome for so long after the last fault, what is missing will not come."""
SILENCE_S = 10.0
"""Without a new outcome for so long, load and faults wait: on a slow machine they would only pile up on what has not
come back yet. What was killed or frozen comes back all the same."""
READY_S = 60.0
GROUP = "countersign"
PARTITION_UA = -1
"""The key decides (librdkafka's RD_KAFKA_PARTITION_UA)."""
READ = (*(hop.reads for hop in ROUTE), topics.FRAUD_VERDICTS, topics.RECONCILIATION_FINDINGS, topics.DEAD_LETTERS)
"""What the workers read."""
OVERDUE_S = 15
"""Short, so that the watchdog has something to report: poison, and what an outage delays."""
OUTCOMES = (topics.DELIVERY_EVENTS, topics.DEAD_LETTERS)


class ChaosFailed(Exception):
    """The run could not be played to its end; the message says what is missing and where to look."""


@dataclass
class Played:
    """What happened in a run.

    Attributes:
        judgement: of the topics.
        seconds: from the first record to the last outcome.
        waited: of these, how long load and faults waited for an outcome.
        takeover: see :meth:`Takeovers.summary`.
        ended: how often each worker ended by itself.
        left: exit codes of workers that were asked to leave in between, and how often.
        exits: exit code of each worker that was stopped at the end.
        stalled: what was still missing when the waiting was given up; empty if all came.
    """

    judgement: Judgement
    seconds: float
    waited: float
    takeover: dict[str, dict[str, float]]
    ended: dict[int, int]
    left: dict[int, int]
    exits: dict[int, int]
    stalled: str = ""


@dataclass
class Progress:
    """How far a run is."""

    second: float = 0.0
    faults: int = 0
    sent: int = 0
    orders: int = 0
    missing: set[str] = field(default_factory=set)
    letters: int = 0

    @property
    def decided(self) -> int:
        """Orders that have an outcome."""
        return self.orders - len(self.missing)


Watcher = Callable[[Progress, str], None]
"""Told of the progress a few times a second, and of each thing that happens in words (empty if nothing did)."""


def play(plan: Plan, folder: Path, settings: Mapping[str, str], watch: Watcher) -> Played:
    """Run a plan on a stack of its own in ``folder`` and judge what came of it.

    Args:
        plan: what to do.
        folder: empty; gets the broker's data and all logs.
        settings: further environment of the workers.
        watch: told of the progress.

    Raises:
        ChaosFailed: records could not be sent, or a worker cannot even start.
        StackError: the broker cannot be started, at first or again.
    """
    with Stack(
        folder, ports=Ports.free(), parts=("kafka", "topics"), tell=lambda line: watch(Progress(), line)
    ) as stack:
        game = _Game(plan, stack, settings, watch)
        try:
            game.begin()
            game.play()
            stalled = game.drain()
            seconds = time.monotonic() - game.started
            exits = game.crew.stop()
        finally:
            game.end()
        watch(game.progress, "reading all topics")
        log = read_all(stack.env["COUNTERSIGN_KAFKA"], lambda line: watch(game.progress, line))
        watch(game.progress, "folding all hops again and judging")
        judgement = judge(plan, log)
        crew, takeover = game.crew, game.takeovers.summary()
        return Played(judgement, seconds, game.waited, takeover, crew.ended, dict(crew.left), exits, stalled)


class _Game:
    """One run."""

    def __init__(self, plan: Plan, stack: Stack, settings: Mapping[str, str], watch: Watcher) -> None:
        bootstrap = stack.env["COUNTERSIGN_KAFKA"]
        self.plan = plan
        self._bootstrap = bootstrap
        orders = {sent.order_id for sent in plan.tape if sent.order_id}
        self.progress = Progress(orders=len(orders), missing=orders)
        self.broker = Broker(stack)
        self.crew = Crew(stack, {"COUNTERSIGN_GROUP": GROUP, "COUNTERSIGN_OVERDUE_S": str(OVERDUE_S), **settings})
        self.takeovers = Takeovers(bootstrap, GROUP)
        self.waited = 0.0
        self.started = self._clock = self._decided = time.monotonic()
        self._watch = watch
        self._failed: list[str] = []
        self._order = itertools.count()
        self._ends: list[tuple[float, int, Callable[[], None]]] = []
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._load = iter(plan.tape)
        self._next = next(self._load, None)
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 5,
                "log_level": 0,  # it would tell the terminal about each outage
            }
        )
        self._outcomes = follow(bootstrap, OUTCOMES)

    def begin(self) -> None:
        """Start the workers and the clock; faults come when they are due."""
        for index in self.plan.workers:
            self.crew.start(index)
        self._wait_for_all()
        self.takeovers.start()
        self.started = self._clock = self._decided = time.monotonic()
        for fault in self.plan.faults:
            strike: Callable[[], None] = partial(self._strike, fault)
            heapq.heappush(self._due, (fault.at, next(self._order), strike))

    def _wait_for_all(self) -> None:
        """Until every worker has said that it is ready."""
        until = time.monotonic() + READY_S
        while not all(self.crew.ready(index) for index in self.plan.workers):
            if ended := self.crew.supervise():
                raise ChaosFailed(f"worker {ended[0]} ended before the first fault{self.crew.last_words(ended[0])}")
            if time.monotonic() > until:
                raise ChaosFailed(f"the workers are not ready after {READY_S:.0f} s; logs in {self.crew.folder}")
            time.sleep(0.1)

    def play(self) -> None:
        """Go on until the last record is sent and the last fault is over."""
        while self._due or self._ends or self._next is not None:
            self._tick()
            if self._clock - self._decided > DRAIN_S:
                return  # drain() says what is missing
        if left := self._producer.flush(60):
            raise ChaosFailed(f"{left} records of the load were not acknowledged in 60 s; logs in {self.crew.folder}")

    def drain(self) -> str:
        """Wait until everything sent is worked on; return what is missing if nothing comes any more."""
        letters = sum(bool(sent.reason) for sent in self.plan.tape)
        self._watch(self.progress, "the last fault is over: waiting for the last outcomes")
        state, since = (0, 0), time.monotonic()
        while True:
            self._tick()
            now = (self.progress.decided, self.progress.letters)
            if not self.progress.missing and self.progress.letters >= letters:
                if not unread(self._bootstrap, GROUP, READ):
                    return ""
                time.sleep(0.5)
            if now != state:
                state, since = now, time.monotonic()
            elif time.monotonic() - since > DRAIN_S:
                some = ", ".join(sorted(self.progress.missing)[:5]) or "none"
                return (
                    f"nothing came for {DRAIN_S:.0f} s after the last fault: {len(self.progress.missing):,} of "
                    f"{self.progress.orders:,} orders have no delivery outcome (the first of them: {some}), "
                    f"{self.progress.letters} of {letters} dead letters are there; not worked on: "
                    f"{', '.join(unread(self._bootstrap, GROUP, READ)) or 'nothing'}"
                )

    def end(self) -> None:
        """Leave no worker behind."""
        self.takeovers.stop()
        self.crew.kill_all()
        self._outcomes.close()

    def _end_in(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._ends, (time.monotonic() + seconds, next(self._order), action))

    def _tick(self) -> None:
        before, self._clock = self._clock, time.monotonic()
        if self._clock - self._decided < SILENCE_S:
            self.progress.second += self._clock - before
        else:
            self.waited += self._clock - before
        now = self.progress.second
        while self._ends and self._ends[0][0] <= self._clock:
            heapq.heappop(self._ends)[2]()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()
        while self._next is not None and self._next.at <= now and self._send(self._next):
            self._next = next(self._load, None)
        self._producer.poll(0)
        if self._failed:
            raise ChaosFailed(
                f"{len(self._failed)} records of the load were not taken by the broker: {self._failed[0]}"
            )
        for message in self._outcomes.consume(1_000, TICK_S):
            self._count(message)
        for index in self.crew.supervise():
            self._watch(self.progress, f"worker {index} ended by itself; started again ({self.crew.log(index).name})")
        self.broker.check()
        self._watch(self.progress, "")

    def _send(self, sent: Sent) -> bool:
        try:
            self._producer.produce(
                sent.topic,
                sent.value,
                sent.key,
                PARTITION_UA if sent.partition is None else sent.partition,
                headers=[(NUMBER, str(sent.number).encode())],
                on_delivery=self._on_delivery,
            )
        except BufferError:  # the queue is full while the broker is down: later
            return False
        self.progress.sent += 1
        return True

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed.append(f"{message.topic()}: {error}")

    def _count(self, message: Message) -> None:
        if message.error() is not None:
            return  # an outage; the client goes on by itself
        if message.topic() == topics.DEAD_LETTERS.name:
            self.progress.letters += 1
        else:
            event = decode(message.value())
            if isinstance(event, DeliveryReleased | DeliveryHeld):
                self.progress.missing.discard(event.data.order_id)
                self._decided = time.monotonic()

    def _strike(self, fault: Fault) -> None:
        """Do a fault, and plan its end."""
        self.progress.faults += 1
        self._watch(self.progress, str(fault))
        match fault.kind:
            case "worker-kill" | "worker-lost":
                self.takeovers.killed(fault.kind)
                self.crew.kill(fault.worker)
                self._end_in(fault.seconds, partial(self.crew.start, fault.worker))
            case "worker-pause":
                self.crew.freeze(fault.worker)
                self._end_in(fault.seconds, partial(self.crew.thaw, fault.worker))
            case "worker-join":
                self.crew.start(fault.worker)
            case "worker-leave":
                self.crew.leave(fault.worker)
            case "broker-kill":
                self.takeovers.spoilt()
                self.broker.kill()
                self._end_in(fault.seconds, self.broker.start)
            case _:
                pass  # it lies on the tape
