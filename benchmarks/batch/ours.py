"""Countersign: the reconciliation as the task runs it, ``python -m benchmarks.batch.ours OUT`` (Airflow side)."""

import json
import logging
import sys
from pathlib import Path
from time import monotonic

from lake.reconcile import run
from lake.reconcile.allowances import Allowances

PATIENT = Allowances(held_hours=1e6)
"""The orders are years old, and nobody decides on those held: every one of them would be overdue."""


def main(out: Path) -> None:
    """Reconcile all days from the lake to the stored outcome."""
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)6d ms %(name)s: %(message)s")
    started = monotonic()
    outcome = run.reconcile("bench-batch", None, None, PATIENT, dry_run=True)
    seconds = monotonic() - started
    told = {
        "seconds": seconds,
        "findings": outcome.counts,
        "orders": outcome.summary.orders,
        "verdicts": outcome.parity.verdicts,
        "verdicts_equal": outcome.parity.verdicts_equal,
    }
    out.write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
