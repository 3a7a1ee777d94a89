"""What was there before a measured run: ``python -m benchmarks.batch.before FOLDER nothing|yesterday`` (Airflow side).

``nothing`` removes all checkpoints, so that everything is folded. ``yesterday`` then reconciles the archive without its
last day's worth of events, which leaves a checkpoint as the run of the day before would have.
"""

import json
import logging
import sys
from datetime import date
from pathlib import Path

from lake.catalog import open_catalog
from lake.reconcile import resume, sharded
from lake.reconcile.checkpoints import Checkpoints
from lake.reconcile.read import Lake
from lake.reconcile.resume import Carry
from lake.settings import from_environment
from scorecards import PANEL


def main(folder: Path, what: str) -> None:
    """Make it so."""
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)6d ms %(name)s: %(message)s")
    settings = from_environment()
    store = Checkpoints.in_bucket(settings)
    if store.files.exists(store.root):
        store.files.rm(store.root, recursive=True)
    if what == "yesterday":
        lake = Lake(open_catalog(settings), json.loads((folder / "before.json").read_text()))
        ever = date(2000, 1, 1), date(2100, 1, 1)
        resume.compare(lake, PANEL, *ever, sharded.processors(), Carry(store, "the day before"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
