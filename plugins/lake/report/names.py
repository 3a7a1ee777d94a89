"""How a run is named where its report lies, in S3 and in a URL. Light, since every Airflow process loads it."""

import hashlib
import re

SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}\Z")
"""One path segment that means the same in S3 and in a URL, and never another folder."""


RECONCILE, BACKTEST, TRAIN, TELL = "reconcile_orders", "backtest_scorecard", "train_scorecard", "tell_order"
REPORTING = (RECONCILE, BACKTEST, TRAIN, TELL)
"""The DAGs whose runs have a report."""


def safe_run_id(run_id: str) -> str:
    """Return a run id as one path segment: other characters are replaced, and a digest keeps different ids apart."""
    if SAFE.match(run_id):
        return run_id
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', run_id).lstrip('_.-')[:150]}-{digest}".lstrip("-")
