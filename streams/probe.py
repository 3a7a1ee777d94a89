"""Asks the broker, beside the worker's own clients, where the worker's partitions end.

The worker's consumer goes on telling the last end that it heard of while the broker is out of reach, and calls itself
done. A second, independent client cannot be fooled by whatever ails the first.
"""

import contextlib
import threading
from collections.abc import Iterator

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from kafka_access import client as client_settings
from streams.progress import Progress
from streams.settings import Settings

MOST_S = 5.0
"""Longest time between two questions."""


@contextlib.contextmanager
def probing(settings: Settings, progress: Progress) -> Iterator[None]:
    """Ask until the end of the ``with`` block, several times within the limit of ``/health``."""
    every_s = min(MOST_S, settings.stalled_s / 4)
    over = threading.Event()
    thread = threading.Thread(target=_ask, args=(settings, progress, every_s, over), name="probe", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


def _say_nothing(error: KafkaError) -> None:
    """Librdkafka would write it to the worker's standard error, again and again."""


def _ask(settings: Settings, progress: Progress, every_s: float, over: threading.Event) -> None:
    client = AdminClient(
        client_settings(settings.kafka)
        | {
            "client.id": f"{settings.instance}/health",
            "log_level": 0,  # /health says it in words
            "error_cb": _say_nothing,
        }
    )
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    while not over.wait(every_s):
        asked = {TopicPartition(*place): latest for place in progress.places}
        if not asked:
            _ask_for_anything(client, progress, every_s)
            continue
        ends, trouble = {}, {}
        try:
            answers = client.list_offsets(
                asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=max(1.0, every_s)
            )
        except KafkaException as error:
            progress.probed({}, dict.fromkeys(progress.places, error.args[0].str()))
            continue
        for place, answer in answers.items():
            try:
                ends[place.topic, place.partition] = answer.result().offset
            except KafkaException as error:
                trouble[place.topic, place.partition] = error.args[0].str()
        progress.probed(ends, trouble)


def _ask_for_anything(client: AdminClient, progress: Progress, every_s: float) -> None:
    """Without partitions there is no end to ask for; a worker loses its partitions when the broker is out of reach."""
    try:
        client.list_topics(timeout=max(1.0, every_s))
    except KafkaException as error:
        progress.reached(error.args[0].str())
    else:
        progress.reached()
