"""What a worker tells Prometheus, gathered from what the transport reports to its observer.

Called once per batch or poll, never per record: counters of a batch are added in one go, and verdicts are told apart by
the initial of their type, which was written first, instead of being decoded again. ``docs/operations.md`` says what
each metric means.
"""

import time
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import itemgetter

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from order_fraud.events import NoFraudDetected, PossibleFraud, VerdictOverdue
from order_fraud.judge import Panel
from order_fraud.topics import DELIVERY_EVENTS, FRAUD_VERDICTS
from streams import __version__
from streams.batch import Batch, Output
from streams.judged import Scorecards
from streams.observer import Place
from streams.progress import Progress

LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
TRANSACTION_BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
RECORDS_BUCKETS = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)

_OUTCOMES = {ord(kind.__name__[0]): kind.__name__ for kind in (PossibleFraud, NoFraudDetected)}
_OVERDUE = ord(VerdictOverdue.__name__[0])  # the others of its topic begin with Delivery
_value, _timestamp, _initial = itemgetter(0), itemgetter(2), itemgetter(len('{"type":"'))


class Latencies(Collector):
    """A histogram that takes a batch of time stamps at once.

    prometheus_client's own takes one value at a time and a lock for each: at tens of thousands of orders a second that
    is a tenth of the worker's time.
    """

    def __init__(self, name: str, meaning: str, bounds: Sequence[float]) -> None:
        self._name, self._meaning, self._bounds = name, meaning, bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, now_ms: int, stamps_ms: Iterable[int]) -> None:
        """Add ``now_ms`` minus each time stamp.

        A clock that runs ahead of ours counts as no time at all, a record without time stamp does not count.
        """
        for stamp, count in Tally(stamps_ms).items():
            if stamp <= 0:
                continue
            seconds = max(0, now_ms - stamp) / 1000
            self._counts[bisect_left(self._bounds, seconds)] += count
            self._sum += seconds * count

    def collect(self) -> Iterator[Metric]:
        """Yield the histogram as it stands."""
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(list(self._counts))), strict=True))
        yield HistogramMetricFamily(self._name, self._meaning, buckets=buckets, sum_value=self._sum)


class Partitions(Collector):
    """Gauges of the partitions that are the worker's now; one that it has lost is no longer told of."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.places: dict[Place, tuple[int, int]] = {}

    def collect(self) -> Iterator[Metric]:
        """Yield position, lag and standstill of each partition."""
        labels = ("topic", "partition")
        position = GaugeMetricFamily("countersign_position", "Next offset that the worker processes", labels=labels)
        lag = GaugeMetricFamily("countersign_lag_records", "Offsets between there and the end", labels=labels)
        standstill = GaugeMetricFamily(
            "countersign_standstill_seconds",
            "For how long the oldest unprocessed offset has been the same; 0 with nothing unprocessed",
            labels=labels,
        )
        stood = {(each.topic, each.partition): each.seconds for each in self._progress.standing()}
        places = self.places  # replaced as a whole by the other thread
        for place in sorted(places.keys() | stood.keys()):
            names = [place[0], str(place[1])]
            standstill.add_metric(names, stood.get(place, 0.0))
            if place in places:
                at, end = places[place]
                position.add_metric(names, at)
                lag.add_metric(names, max(0, end - at))
        yield from (position, lag, standstill)


class Restore(Collector):
    """Gauges of histories being read back, and how long the last time took."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.last: tuple[int, float] = (0, 0.0)

    def collect(self) -> Iterator[Metric]:
        """Yield the running restore, or the last one."""
        running = self._progress.restoring_now()
        records, seconds = self.last if running is None else (running.records, running.seconds)
        to_go = 0 if running is None else running.partitions_to_go
        yield GaugeMetricFamily("countersign_restore_records", "Changelog records read, now or last", records)
        yield GaugeMetricFamily("countersign_restore_partitions_to_go", "Changelog partitions still to be read", to_go)
        yield GaugeMetricFamily("countersign_restore_seconds", "Time that it takes, or took last", seconds)


class Metrics:
    """Observer of the transport that keeps the numbers of one worker.

    Attributes:
        registry: what ``/metrics`` shows.
        progress: what ``/health`` judges.
    """

    def __init__(self, progress: Progress | None = None, now_ms: Callable[[], int] = lambda: time.time_ns() // 10**6):
        """Start with nothing.

        Args:
            progress: gets every word too.
            now_ms: wall clock, as the brokers and producers have it that stamp the records.
        """
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second time series for each counter and histogram, which nobody asks for
        self.registry = registry = CollectorRegistry()
        self.progress = progress or Progress()
        self._now_ms = now_ms
        self._partitions, self._restore = Partitions(self.progress), Restore(self.progress)
        self._latency = Latencies(
            "countersign_decision_latency_seconds",
            "From the order's entry into the pipeline until its verdict was committed",
            LATENCY_BUCKETS_S,
        )
        for collector in (self._partitions, self._restore, self._latency):
            registry.register(collector)
        ProcessCollector(registry=registry)
        self._records = Counter("countersign_records", "Records processed", ["topic"], registry=registry)
        self._decided = Counter("countersign_orders_decided", "Verdicts written", ["outcome"], registry=registry)
        self._overdue = Counter("countersign_verdicts_overdue", "VerdictOverdue said", registry=registry)
        self._dead = Counter("countersign_dead_letters", "Records refused", ["topic"], registry=registry)
        self._aborted = Counter("countersign_transactions_aborted", "Transactions done again", registry=registry)
        self._batch = Histogram(
            "countersign_batch_records", "Records of one partition batch", buckets=RECORDS_BUCKETS, registry=registry
        )
        self._transaction = Histogram(
            "countersign_transaction_seconds",
            "From the begin of a transaction to its commit",
            buckets=TRANSACTION_BUCKETS_S,
            registry=registry,
        )
        self._assigned = Gauge("countersign_partitions_assigned", "Partitions of this worker", registry=registry)
        self._ready = Gauge("countersign_ready", "1 with partitions and histories in place", registry=registry)
        self._ready.set_function(lambda: float(self.progress.is_ready))
        Info("countersign_build", "What runs here", registry=registry).info({"version": __version__})
        self._scorecards = Scorecards(registry)
        for outcome in _OUTCOMES.values():
            self._decided.labels(outcome)

    def assigned(self, places: Iterable[Place]) -> None:
        """These partitions, and no others, are the worker's."""
        ours = {(topic, partition) for topic, partition in places}
        self._assigned.set(len(ours))
        for topic, _ in ours:  # 0 is an answer too, and without it the first one would be no increase
            self._records.labels(topic)
            self._dead.labels(topic)
        self._partitions.places = {place: at for place, at in self._partitions.places.items() if place in ours}
        self.progress.assigned(ours)

    def restoring(self, records: int, partitions_to_go: int) -> None:
        """So much of the changelogs has been read."""
        self.progress.restoring(records, partitions_to_go)

    def restored(self, records: int, seconds: float) -> None:
        """All of the changelogs has been read."""
        self._restore.last = (records, seconds)
        self.progress.restored()

    def ready(self) -> None:
        """The partitions and their histories are there."""
        self.progress.ready()

    def judging(self, panel: Panel) -> None:
        """These scorecards judge from now on."""
        self._scorecards.judging(panel)

    def policy_refused(self, why: str) -> None:
        """A record of the policies was of no use."""
        self._scorecards.refused(why)

    def polled(self, batches: Sequence[Batch]) -> None:
        """These batches go to their agents."""
        self.progress.polled({(batch.topic, batch.partition): batch.first_offset for batch in batches if batch.records})

    def committed(self, batches: Sequence[Batch], seconds: float) -> None:
        """These batches are processed for good; their transaction took so long."""
        self._transaction.observe(seconds)
        now_ms = self._now_ms()
        for batch in batches:
            if batch.records:
                self._batch.observe(len(batch.records))
                self._records.labels(batch.topic).inc(len(batch.records))
            if batch.dead_letters:
                self._dead.labels(batch.topic).inc(len(batch.dead_letters))
            if verdicts := batch.outputs.get(FRAUD_VERDICTS.name):
                self._count(verdicts, now_ms)
            if deliveries := batch.outputs.get(DELIVERY_EVENTS.name):
                self._overdue.inc(_initials(deliveries)[_OVERDUE])
        self.progress.committed(_places(batches))

    def _count(self, verdicts: list[Output], now_ms: int) -> None:
        self._latency.observe(now_ms, map(_timestamp, verdicts))
        for initial, count in _initials(verdicts).items():
            self._decided.labels(_OUTCOMES[initial]).inc(count)
        self._scorecards.count(map(_value, verdicts))

    def aborted(self, batches: Sequence[Batch]) -> None:
        """The transaction of these batches was aborted; they come again."""
        self._aborted.inc()
        self.progress.aborted(_places(batches))

    def lag(self, places: Mapping[Place, tuple[int, int]]) -> None:
        """Position and end of each partition, about once a second; an end that is not known yet is below 0."""
        known = {place: at for place, at in places.items() if at[1] >= 0}
        self._partitions.places = known
        self.progress.lag(known)


def _initials(outputs: list[Output]) -> Tally[int]:
    """Count events by the initial of their type."""
    return Tally(map(_initial, map(_value, outputs)))


def _places(batches: Iterable[Batch]) -> list[Place]:
    """Return where records were read; a batch without any stands for no progress of its partition."""
    return [(batch.topic, batch.partition) for batch in batches if batch.records]
