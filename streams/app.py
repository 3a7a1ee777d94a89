"""The composition root of the real-time half: which services run in a worker, and with what."""

import logging
from pathlib import Path

from faust.types import TP

from order_fraud.relay import ROUTE
from streams import delivery, fraud
from streams.histories import Histories
from streams.settings import Settings
from streams.transport import BatchApp

log = logging.getLogger(__name__)


def create_app(settings: Settings) -> BatchApp:
    """Return the Faust app of one worker with the fraud and the delivery service."""
    histories = Histories(settings.bootstrap, {hop.reads.name: hop.changelog.name for hop in ROUTE})
    app = BatchApp(settings, histories)
    fraud.register(app)
    delivery.register(app)

    def on_ready(assigned: set[TP]) -> None:
        log.info("ready: %d partitions", len(assigned))
        if settings.ready_file is not None:
            Path(settings.ready_file).touch()

    app.on_ready = on_ready
    return app
