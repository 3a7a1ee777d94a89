"""One reconciliation from the lake to its outcome; the tasks of ``reconcile_orders`` call these functions."""

import logging
from datetime import UTC, date, datetime

import msgspec

from lake.catalog import open_catalog
from lake.errors import Hopeless
from lake.reconcile import outcome, resume, sharded
from lake.reconcile.allowances import Allowances
from lake.reconcile.checkpoints import Checkpoints
from lake.reconcile.facts import Facts
from lake.reconcile.late import would_change
from lake.reconcile.match import match
from lake.reconcile.outcome import Outcome
from lake.reconcile.panels import Panels
from lake.reconcile.parity import Parity, compare, read_panels
from lake.reconcile.read import Lake
from lake.reconcile.resume import Carry
from lake.reconcile.scope import Scope
from lake.reconcile.sources import kinds
from lake.reconcile.summary import figures, summarize
from lake.report.names import RECONCILE, safe_run_id
from lake.report.store import OUTCOME, NoSuchReport, ReportStore
from lake.settings import from_environment
from order_fraud.topics import CUSTOMER_EVENTS
from scorecards import PANEL

log = logging.getLogger(__name__)


class BadDays(Hopeless):
    """The days asked for make no sense; the message says why."""


class NoSuchRun(Hopeless):
    """There is no outcome of the run that is to be repeated."""


def parse_days(from_day: str | None, to_day: str | None) -> tuple[date | None, date | None]:
    """Return the days of the form; None means the first or last landed day.

    Raises:
        BadDays: not a date, or the first lies after the last.
    """
    days: list[date | None] = []
    for name, text in (("from_day", from_day), ("to_day", to_day)):
        try:
            days.append(None if not text else date.fromisoformat(text))
        except ValueError as error:
            raise BadDays(f"{name} {text!r} is no date: write it as YYYY-MM-DD") from error
    first, last = days
    if first is not None and last is not None and first > last:
        raise BadDays(f"from_day {first} lies after to_day {last}")
    return first, last


def chosen_days(landed: tuple[date, date], first: date | None, last: date | None) -> tuple[date, date]:
    """Return the days asked for; None means the first or last of ``landed``.

    Raises:
        BadDays: ``first`` lies after the last landed day, or ``last`` before the first.
    """
    earliest, latest = landed
    first, last = first or earliest, last or latest
    if first > last:
        raise BadDays(f"the days {first} to {last} hold nothing: orders have landed for {earliest} to {latest}")
    return first, last


def compared(lake: Lake, first: date, last: date, carry: Carry | None = None) -> tuple[Parity, Facts, Panels]:
    """Return what re-folding brings to light, what all systems say, and who judged each order.

    Many records are shared out to processes, which go on from a checkpoint if ``carry`` says so.
    """
    workers = sharded.processors()
    if workers > 1 and lake.rows(CUSTOMER_EVENTS.name) >= sharded.WORTH:
        found = (
            sharded.compare(lake, PANEL, first, last, workers)
            if carry is None
            else resume.compare(lake, PANEL, first, last, workers, carry)
        )
        return found.parity, found.facts, found.panels
    panels = read_panels(lake.archive, PANEL)
    return compare(lake.archive, panels, first, last), lake.facts(), panels


def reconcile(
    run_id: str,
    first: date | None,
    last: date | None,
    allowances: Allowances,
    *,
    dry_run: bool,
    repeat: str | None = None,
    sources: list[str] | None = None,
    full_fold: bool = False,
) -> Outcome:
    """Re-fold, match, and store the outcome beside the report to come.

    Args:
        run_id: Airflow's id of the run.
        first, last: business days, both included; None means the first or last landed day.
        allowances: how long what is late is waited for.
        dry_run: only noted in the outcome; nothing is emitted here in any case.
        sources: tables of sources to compare with, None for all; see :mod:`lake.reconcile.sources`.
        repeat: id of an earlier run, to look again at what it looked at: its snapshots, days and allowances instead of
            those given. That is a dry run: what was found then need not be true today. It folds everything and leaves
            no checkpoint.
        full_fold: fold everything, although a checkpoint fits, and see that both agree.

    Raises:
        NothingLanded: there is no order in the lake.
        BadDays: ``first`` lies after the last landed day, or ``last`` before the first.
        NoSuchRun: there is no outcome of the run to repeat.
        SnapshotGone: what it read is not in the lake any more.
        CheckpointDiffers: see :mod:`lake.reconcile.resume`.
    """
    settings = from_environment()
    catalog = open_catalog(settings)
    carry = None if repeat else Carry(Checkpoints.in_bucket(settings), run_id, full_fold)
    if repeat:
        earlier = _earlier(repeat)
        lake = Lake(catalog, earlier.snapshots)
        first, last, allowances, sources = earlier.first, earlier.last, earlier.allowances, earlier.sources
    else:
        lake = Lake(catalog)
        first, last = chosen_days(lake.days(), first, last)
    result = look(
        lake, run_id, first, last, allowances, dry_run=dry_run or bool(repeat), repeats=repeat or None, carry=carry
    )
    told = kinds(sources, lake.snapshots)
    kept = [one for one in result.differences if one.finding.kind in told]
    result = msgspec.structs.replace(result, differences=kept, sources=sources)
    ReportStore(settings, RECONCILE).put(safe_run_id(run_id), OUTCOME, outcome.dump(result))
    log.info("%d findings: %s", len(result.differences), result.counts)
    return result


def look(
    lake: Lake,
    run_id: str,
    first: date,
    last: date,
    allowances: Allowances,
    *,
    dry_run: bool,
    repeats: str | None = None,
    carry: Carry | None = None,
) -> Outcome:
    """Return what there is to be found on the days ``first`` to ``last`` of a lake: re-fold, and match."""
    log.info("reconciling %s to %s on snapshots %s", first, last, lake.snapshots)
    parity, facts, panels = compared(lake, first, last, carry)
    changed = would_change(lake.archive, parity, panels, first, last, allowances.late, lake.values_at)
    scope = Scope(facts, parity, first, last, lake.settled, lake.snapshots, allowances, changed)
    return Outcome(
        run_id=run_id,
        made_at=datetime.now(UTC),
        first=first,
        last=last,
        dry_run=dry_run,
        settled=scope.settled,
        allowances=allowances,
        repeats=repeats,
        scorecards=list(parity.judged),
        snapshots=lake.snapshots,
        parity=figures(parity),
        summary=summarize(scope),
        differences=match(scope),
    )


def _earlier(run_id: str) -> Outcome:
    try:
        return stored(run_id)
    except NoSuchReport as error:
        raise NoSuchRun(f"there is no reconciliation {run_id!r} to repeat: its id stands in its report") from error


def stored(run_id: str) -> Outcome:
    """Return the outcome that :func:`reconcile` stored for a run."""
    return outcome.load(ReportStore(from_environment(), RECONCILE).get(safe_run_id(run_id), OUTCOME))
