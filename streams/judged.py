"""Metrics of the scorecards: which judge, what they say, and where those on trial would have said something else."""

import threading
from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from itertools import product
from typing import get_args

import msgspec
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from order_fraud.events import Outcome
from order_fraud.judge import Panel
from order_fraud.policies import Why

MOST_VERSIONS = 8
"""So many versions, the latest ones, have time series at a time; those of others are no longer told of. One activation
names five at most."""

_BEGIN, _END = b'},"scorecard_version":"', b',"specversion":"'
"""Between them stands who judged, and what: behind the signals, before the rest of the envelope. Inside a text the
quotes would be escaped, and before a shadow's version stands another bracket."""


class _Shadow(msgspec.Struct, gc=False):
    """A part of a shadow."""

    scorecard_version: str
    outcome: Outcome


class _Judged(msgspec.Struct, gc=False):
    """A part of a verdict."""

    scorecard_version: str
    outcome: Outcome
    shadows: tuple[_Shadow, ...] = ()


_decoder = msgspec.json.Decoder(_Judged)


class Scorecards:
    """Counts judgements by scorecard. Every method may be called from any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lock = threading.Lock()
        self._latest: dict[str, None] = {}
        self._seats = _Seats()
        registry.register(self._seats)
        self._verdicts = Counter("countersign_verdicts", "Verdicts written", ["version", "outcome"], registry=registry)
        self._tried = Counter(
            "countersign_shadow_judgements",
            "Orders on which a scorecard on trial was asked",
            ["version", "shadow"],
            registry=registry,
        )
        self._disagreed = Counter(
            "countersign_shadow_disagreements",
            "Orders of which a scorecard on trial would have said something else",
            ["version", "shadow", "outcome", "shadow_outcome"],
            registry=registry,
        )
        self._refused = Counter(
            "countersign_policies_refused", "Records of the policies that were of no use", ["reason"], registry=registry
        )
        for why in get_args(Why):
            self._refused.labels(why)

    def judging(self, panel: Panel) -> None:
        """These judge from now on."""
        self._seats.panel = panel
        active = panel.active.version
        versions = (active, *(judge.version for judge in panel.shadows))
        self._keep(versions)
        for outcome in get_args(Outcome):  # 0 is an answer too, and without it the first one would be no increase
            self._verdicts.labels(active, outcome)
        for shadow in versions[1:]:
            self._tried.labels(active, shadow)
            for outcome, other in product(get_args(Outcome), repeat=2):
                if outcome != other:
                    self._disagreed.labels(active, shadow, outcome, other)

    def refused(self, why: str) -> None:
        """A record of the policies was of no use."""
        self._refused.labels(why).inc()

    def count(self, verdicts: Iterable[bytes]) -> None:
        """Add verdicts, as they were written.

        That part is the same in all but a few as long as nobody is on trial, and is decoded once for all that share it.
        """
        parts = Tally([value[value.rindex(_BEGIN) + 2 : value.rindex(_END)] for value in verdicts])
        said: Tally[tuple[str, str]] = Tally()
        tried: Tally[tuple[str, str, str, str]] = Tally()
        for part, count in parts.items():
            one = _decoder.decode(b"{" + part)
            said[one.scorecard_version, one.outcome] += count
            for shadow in one.shadows:
                tried[one.scorecard_version, shadow.scorecard_version, one.outcome, shadow.outcome] += count
        self._keep({version for version, _ in said} - self._latest.keys())
        for labels, count in said.items():
            self._verdicts.labels(*labels).inc(count)
        for (version, other, outcome, other_outcome), count in tried.items():
            self._tried.labels(version, other).inc(count)
            if other_outcome != outcome:
                self._disagreed.labels(version, other, outcome, other_outcome).inc(count)

    def _keep(self, versions: Iterable[str]) -> None:
        """Note the latest versions, and let go of the time series of one that is too many."""
        with self._lock:
            for version in versions:
                self._latest.pop(version, None)
                self._latest[version] = None
            too_many = list(self._latest)[:-MOST_VERSIONS]
            for oldest in too_many:
                del self._latest[oldest]
        for oldest in too_many:
            for counter in (self._verdicts, self._tried, self._disagreed):
                counter.remove_by_labels({"version": oldest})
            for counter in (self._tried, self._disagreed):
                counter.remove_by_labels({"shadow": oldest})


class _Seats(Collector):
    """Gauge of those who judge now; one that judges no longer is not told of."""

    panel: Panel | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield 1 for each."""
        gauge = GaugeMetricFamily(
            "countersign_scorecard", "Who judges: active with effect, shadow on trial", labels=["version", "role"]
        )
        if (panel := self.panel) is not None:
            gauge.add_metric([panel.active.version, "active"], 1)
            for judge in panel.shadows:
                gauge.add_metric([judge.version, "shadow"], 1)
        yield gauge
