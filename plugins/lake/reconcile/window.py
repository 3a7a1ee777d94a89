"""The window of a reconciliation that nobody gave any days: from where the last ones got to, up to what there is."""

import logging
from collections.abc import Iterable
from datetime import date
from itertools import islice
from typing import Any

from lake.reconcile.outcome import Outcome, load
from lake.report.names import RECONCILE
from lake.report.store import OUTCOME, NoSuchReport, ReportStore
from lake.settings import from_environment

log = logging.getLogger(__name__)

RUNS = 20
"""So many of the newest reports are looked into. If all of them were dry runs, everything is looked at again."""


def watermark(outcomes: Iterable[Outcome]) -> date | None:
    """Return the last day that a reconciliation with effect has covered, None if there is none.

    A day counts as far as the sources had been read by then. It is looked at again: some of its business may have been
    under way.
    """
    days = [min(one.last, one.settled.date()) for one in outcomes if not one.dry_run]
    return max(days, default=None)


def own_window() -> dict[str, Any]:
    """Return the first day to reconcile, as the form has it: ``from_day``, None for everything."""
    store = ReportStore(from_environment(), RECONCILE)
    day = watermark(_newest(store))
    log.info("from %s on", day or "the first day on which an order has landed")
    return {"from_day": day and day.isoformat()}


def _newest(store: ReportStore) -> Iterable[Outcome]:
    for run in islice(store.runs(), RUNS):
        try:
            yield load(store.get(run.run, OUTCOME))
        except NoSuchReport:
            continue
