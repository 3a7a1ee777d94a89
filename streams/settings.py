"""What a stream worker is told from outside: environment variables, read once at start.

:class:`Settings` is the only table of them: types, defaults, explanations, ``python -m streams worker --help`` and the
messages about wrong values all come from it.
"""

import os
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

import kafka_access
from kafka_access import Access
from order_fraud.rights import GROUP
from order_fraud.topics import DELIVERY, FRAUD

Service = Literal["fraud", "delivery"]
Guarantee = Literal["exactly-once", "at-least-once"]
State = Literal["memory", "rocksdb"]

PREFIX = "COUNTERSIGN_"
_REGISTERED: Mapping[Service, str] = {"fraud": FRAUD, "delivery": DELIVERY}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one worker; each stands in the variable ``COUNTERSIGN_<FIELD>``.

    Attributes:
        kafka: the brokers and what lets us in, which has variables of its own (:mod:`kafka_access.settings`).

    Raises:
        ValueError: settings do not go together; the message names their variables and the remedy.
    """

    kafka: Access = Access()
    group: Annotated[
        str,
        Meta(
            min_length=1,
            description="Consumer group of all workers. Another name is another pipeline that starts at the oldest "
            "records and writes every verdict again.",
        ),
    ] = GROUP
    instance: Annotated[
        str,
        Meta(
            min_length=1,
            description="This worker's lasting name, different from all others' (default: worker-<--index>). A "
            "restarted worker that keeps its name gets its partitions back at once and aborts the transaction that "
            "its predecessor left open.",
        ),
    ] = "worker-1"
    services: Annotated[
        frozenset[Service],
        Meta(min_length=1, description="Which services this worker runs. All workers of a group must run the same."),
    ] = frozenset(get_args(Service))
    guarantee: Annotated[
        Guarantee,
        Meta(
            description="exactly-once: outputs, state and progress of a poll are one Kafka transaction. at-least-once: "
            "no transactions, so less waiting; after a crash orders are judged again and verdicts repeated. Only for "
            "comparing speed: the delivery service and the reconciliation count on the former.",
        ),
    ] = "exactly-once"
    batch_records: Annotated[
        int,
        Meta(
            ge=1,
            description="Most records in one poll, hence in one transaction. More: higher throughput, as the cost of "
            "a transaction is shared by more records, but a longer wait for the first of them, more memory, and more "
            "to do again after a crash. Fewer: lower latency under load, lower throughput.",
        ),
    ] = 10_000
    batch_wait_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000,
            description="How long in ms a poll waits for a fuller batch. It adds to the decision latency at each of "
            "the three hops while there is little to do, and costs nothing under load, when batches fill at once. "
            "More: fewer, larger transactions at the same number of orders. 0 is no quicker than 3: the broker is not "
            "through with the last transaction yet and refuses the next.",
        ),
    ] = 3
    session_timeout_ms: Annotated[
        int,
        Meta(
            ge=100,
            description="Silence in ms after which the group gives a worker's partitions to others. Shorter: a killed "
            "worker is replaced sooner, but one that is only slow is thrown out. The broker refuses less than its "
            "group.min.session.timeout.ms (6000 unless set).",
        ),
    ] = 6_000
    transaction_timeout_ms: Annotated[
        int,
        Meta(
            ge=1_000,
            description="Time in ms after which the broker aborts the open transaction of a dead worker that does not "
            "come back; readers of its partitions wait that long, and until the broker next looks for such "
            "transactions. A worker frozen for longer is fenced off.",
        ),
    ] = 6_000
    state: Annotated[
        State,
        Meta(
            description="Where the histories are kept while the worker runs: in memory, or in RocksDB on disk for more "
            "of them than fit. Both are exact; the changelog topics on the broker are what counts.",
        ),
    ] = "memory"
    state_dir: Annotated[
        str | None,
        Meta(
            description="Folder for state=rocksdb; workers on one machine may share it, each has a folder of its own "
            "in there.",
        ),
    ] = None
    overdue_s: Annotated[
        float,
        Meta(
            gt=0,
            le=2_592_000,  # as long as an order stays on its topic
            description="Seconds, by the worker's clock, that an order may be without a verdict before the delivery "
            "service reports VerdictOverdue.",
        ),
    ] = 60.0
    metrics_port: Annotated[
        int, Meta(ge=0, le=65_535, description="Port of /metrics, /health and /ready; 0: none of them.")
    ] = 0
    metrics_host: Annotated[
        str,
        Meta(
            min_length=1,
            description="Address they are served on. There is no authentication: change it only where nobody else can "
            "reach the port, in a pod of its own, say.",
        ),
    ] = "127.0.0.1"
    stalled_s: Annotated[
        float,
        Meta(
            gt=0,
            le=86_400,
            description="Seconds that the oldest unprocessed record may have been waiting in one of the worker's "
            "partitions before /health answers 503. Below the time that a poll of batch_records takes it cries wolf.",
        ),
    ] = 30.0
    ready_file: Annotated[
        str | None, Meta(description="File touched when the worker has its first partitions and their histories.")
    ] = None

    @property
    def registered(self) -> list[str]:
        """The services that this worker runs, as the registry of topics calls them."""
        return [_REGISTERED[service] for service in self.services]

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.state == "rocksdb" and self.state_dir is None:
            raise ValueError(f"{variable('state')}=rocksdb needs a folder: set {variable('state_dir')}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting, as people see it.

    Attributes:
        field: of :class:`Settings`.
        variable: of the environment.
        default: as it would be written there; empty for none.
        allowed: the values that it takes, in words.
        meaning: what it does.
    """

    field: str
    variable: str
    default: str
    allowed: str
    meaning: str


def variable(field: str) -> str:
    """Return the name of a setting's environment variable."""
    return f"{PREFIX}{field.upper()}"


def entries() -> Iterator[Entry]:
    """Yield all settings but those of Kafka in the order of their declaration."""
    types = get_type_hints(Settings, include_extras=True)
    for field, default in zip(Settings.__struct_fields__, Settings.__struct_defaults__, strict=True):
        if field == "kafka":
            continue
        kind, meta = get_args(types[field])
        yield Entry(field, variable(field), _written(default), _allowed(kind, meta), meta.description)


def explain(width: int = 100) -> str:
    """Return the settings as a text for ``--help``."""
    return (
        kafka_access.settings.explain(width)
        + "\n"
        + "\n".join(
            f"  {entry.variable}  ({entry.allowed}; default {entry.default or 'none'})\n"
            + textwrap.fill(entry.meaning, width, initial_indent="      ", subsequent_indent="      ")
            for entry in entries()
        )
    )


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings that the environment holds, defaults elsewhere. An empty variable counts as not set.

    Raises:
        ValueError: a variable has no allowed value, or two do not go together; the message names variable and remedy.
    """
    environment = os.environ if environment is None else environment
    types = get_type_hints(Settings, include_extras=True)
    given: dict[str, Any] = {"kafka": kafka_access.access(environment)}
    for entry in entries():
        text = environment.get(entry.variable, "").strip()
        if not text:
            continue
        kind, _ = get_args(types[entry.field])
        value = [word.strip() for word in text.split(",") if word.strip()] if _is_list(kind) else text
        try:
            given[entry.field] = msgspec.convert(value, types[entry.field], strict=False)
        except msgspec.ValidationError as error:
            default = f"; leave it out for {entry.default}" if entry.default else ""
            raise ValueError(f"{entry.variable}={text!r}: must be {entry.allowed}{default}") from error
    return Settings(**given)


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is frozenset


def _written(default: Any) -> str:
    if isinstance(default, frozenset):
        return ",".join(service for service in get_args(Service) if service in default)
    return "" if default is None else f"{default:g}" if isinstance(default, float) else str(default)


def _allowed(kind: Any, meta: Meta) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    if _is_list(kind):
        return f"one or more, with commas, of {', '.join(get_args(get_args(kind)[0]))}"
    if kind is int or kind is float:
        noun = "a whole number" if kind is int else "a number"
        lowest = f"from {meta.ge}" if meta.gt is None else f"above {meta.gt}"
        return f"{noun} {lowest}" + ("" if meta.le is None else f" to {meta.le}")
    return "a text"
