"""Which scorecards judged which order: every verdict names them, and ``fraud.policies`` or the code has them."""

from collections import Counter
from collections.abc import Iterator, Mapping

from order_fraud import topics
from order_fraud.events import (
    BadEvent,
    NewOrder,
    NoFraudDetected,
    PolicyActivated,
    PolicyPublished,
    PossibleFraud,
    Verdict,
    decode,
)
from order_fraud.judge import Judge, Panel
from order_fraud.policy import BadScorecard, check
from order_fraud.relay import Relayed
from scorecards import PANEL
from tests.stack.chaos.topics import Log


class Panels:
    """The scorecards by version, and by order the versions that its verdict names.

    Attributes:
        judges: by version: the bundled one, and all that were published and are in order.
        unknown: order id to a version that its verdict names and nobody published.
        verdicts: how many each scorecard gave, by its version.
        unchosen: order id to the versions that its verdict names, of which nobody said that they judge, in these roles.
    """

    def __init__(self, log: Log) -> None:
        self.judges = {PANEL.active.version: PANEL.active, **_published(log)}
        self.unknown: dict[str, str] = {}
        self.unchosen: dict[str, tuple[str, ...]] = {}
        self.verdicts: Counter[str] = Counter()
        self._chosen = {(PANEL.active.version,), *_chosen(log, self.judges)}
        self._panels: dict[tuple[str, ...], Panel] = {}
        self._of_order: dict[str, Panel] = {}
        for record in log[topics.FRAUD_VERDICTS.name]:
            try:
                event = decode(record.value)
            except BadEvent:
                continue  # the checker says so
            if isinstance(event, PossibleFraud | NoFraudDetected):
                self._take(event.data)

    def __call__(self, event: Relayed) -> Panel:
        """Return who judges an order: whom its first verdict names; without a verdict, the bundled panel."""
        if isinstance(event, NewOrder):
            return self._of_order.get(event.data.order_id, PANEL)
        return PANEL

    def _take(self, verdict: Verdict) -> None:
        versions = (verdict.scorecard_version, *(shadow.scorecard_version for shadow in verdict.shadows))
        self.verdicts[verdict.scorecard_version] += 1
        for version in versions:
            if version not in self.judges:
                self.unknown[verdict.order_id] = version
                return
        if versions not in self._chosen:
            self.unchosen[verdict.order_id] = versions
        panel = self._panels.get(versions)
        if panel is None:
            active, *shadows = (self.judges[version] for version in versions)
            panel = self._panels[versions] = Panel(active, tuple(shadows))
        self._of_order.setdefault(verdict.order_id, panel)


def _chosen(log: Log, judges: Mapping[str, Judge]) -> Iterator[tuple[str, ...]]:
    """Yield active version and shadows of all activations that name what there is, and nothing twice."""
    for record in log[topics.FRAUD_POLICIES.name]:
        try:
            event = decode(record.value)
        except BadEvent:
            continue
        if isinstance(event, PolicyActivated):
            versions = (event.data.active, *event.data.shadows)
            if len(set(versions)) == len(versions) and judges.keys() >= set(versions):
                yield versions


def _published(log: Log) -> dict[str, Judge]:
    """Return the judges of all scorecards that were published; of two under one version, the first counts."""
    found: dict[str, Judge] = {}
    for record in log[topics.FRAUD_POLICIES.name]:
        try:
            event = decode(record.value)
            if isinstance(event, PolicyPublished) and event.subject == event.data.version not in found:
                found[event.data.version] = Judge(check(event.data))
        except (BadEvent, BadScorecard):
            continue  # a worker must ignore it as well
    return found
