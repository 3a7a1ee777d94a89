"""The composition root of the real-time half: which services run in a worker, and with what."""

import logging
from pathlib import Path

from faust.types import TP

from streams import delivery, fraud
from streams.batch_app import BatchApp
from streams.observer import Nobody, Observer
from streams.policies import Judging, bundled
from streams.settings import Settings
from streams.state import Tables

log = logging.getLogger(__name__)

SERVICES = {"fraud": fraud, "delivery": delivery}


def create_app(settings: Settings, observer: Observer | None = None, judging: Judging = bundled) -> BatchApp:
    """Return the Faust app of one worker with the services that its settings name.

    Args:
        settings: from outside.
        observer: hears of everything that happens.
        judging: says who judges; the scorecard that comes with the code unless told otherwise.
    """
    observer = observer or Nobody()
    services = [service for name, service in SERVICES.items() if name in settings.services]
    specs = [spec for service in services for spec in service.SPECS]
    app = BatchApp(settings, Tables(settings, specs, observer), observer, judging)
    for service in services:
        service.register(app)

    def on_ready(assigned: set[TP]) -> None:
        log.info("ready: %d partitions", len(assigned))
        if settings.ready_file is not None:
            Path(settings.ready_file).touch()

    app.on_ready = on_ready
    return app
