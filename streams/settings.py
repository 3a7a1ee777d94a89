"""What a stream worker is told from outside: environment variables, read once at start."""

import os
from collections.abc import Mapping

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one worker.

    Attributes:
        bootstrap: Kafka brokers, ``host:port`` with commas (``COUNTERSIGN_KAFKA``).
        group: consumer group of all workers (``COUNTERSIGN_GROUP``).
        instance: this worker's lasting name; a restarted worker that keeps it gets its partitions back at once, and
            takes
            over (aborts) the transaction that its predecessor left open (``COUNTERSIGN_INSTANCE``).
        batch_records: most records in one poll, so in one transaction (``COUNTERSIGN_BATCH_RECORDS``). More means
            higher
            throughput, a longer wait for the first of them, and more to do again after a crash.
        batch_wait_ms: how long a poll waits for a fuller batch (``COUNTERSIGN_BATCH_WAIT_MS``): adds to latency at
            each hop
            when there is little to do, costs nothing under load.
        session_timeout_ms: silence after which the group gives a worker's partitions to others
            (``COUNTERSIGN_SESSION_TIMEOUT_MS``; the broker's own minimum is 6,000).
        transaction_timeout_ms: after which the broker aborts an open transaction of a dead worker; readers wait that
            long
            at most (``COUNTERSIGN_TRANSACTION_TIMEOUT_MS``).
        ready_file: touched when the worker has its first partitions and their histories (``COUNTERSIGN_READY_FILE``).
    """

    bootstrap: str = "127.0.0.1:19092"
    group: str = "countersign"
    instance: str = "worker-1"
    batch_records: int = 10_000
    batch_wait_ms: int = 10
    session_timeout_ms: int = 6_000
    transaction_timeout_ms: int = 8_000
    ready_file: str | None = None


_VARIABLES = {"bootstrap": "COUNTERSIGN_KAFKA"} | {
    field: f"COUNTERSIGN_{field.upper()}" for field in Settings.__struct_fields__ if field != "bootstrap"
}


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings that the environment holds, defaults elsewhere.

    Raises:
        ValueError: a variable that should be a whole number is not; the message names it.
    """
    environment = os.environ if environment is None else environment
    given = {field: environment[variable] for field, variable in _VARIABLES.items() if environment.get(variable)}
    try:
        return msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"{', '.join(_VARIABLES[field] for field in given)}: {error}") from error
