"""The report for programs: everything the page shows, and every finding."""

from typing import Any

import msgspec

from lake.reconcile.corrections import Emitted
from lake.reconcile.outcome import Outcome
from lake.report.page import sums


def document(outcome: Outcome, emitted: Emitted) -> bytes:
    """Return the report as JSON."""
    content: dict[str, Any] = {
        "run": outcome.run_id,
        "made_at": outcome.made_at,
        "from_day": outcome.first,
        "to_day": outcome.last,
        "dry_run": outcome.dry_run,
        "orders": outcome.summary.orders,
        "verdicts": outcome.summary.verdicts,
        "verdicts_compared": outcome.parity.verdicts,
        "verdicts_equal": outcome.parity.verdicts_equal,
        "not_reproducible": outcome.not_reproducible,
        "pending": outcome.parity.pending,
        "counts": outcome.counts,
        "at_stake": sums(outcome.differences),
        "findings_emitted": emitted.findings,
        "corrections_emitted": emitted.corrections,
        "known_events": emitted.known,
        "findings_closed": emitted.closed,
        "snapshots": outcome.snapshots,
        "settled": outcome.settled,
        "allowances": outcome.allowances,
        "repeats": outcome.repeats,
        "scorecards": outcome.scorecards,
        "summary": outcome.summary,
        "parity": outcome.parity,
        "findings": [
            {**msgspec.structs.asdict(one.finding), "time": one.time, "state": one.state} for one in outcome.differences
        ],
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=1)
