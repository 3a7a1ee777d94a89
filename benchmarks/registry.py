"""Who is measured: each does the same three hops with the same kernel, and is started by the same few settings.

A contender is a command that gets ``--index N`` and, from the environment, ``COUNTERSIGN_KAFKA`` and ``BENCH_FOLDER``
(for files of its own). It reads, writes and partitions the topics of the registry, keeps histories by
``order_fraud.history.pack`` or as objects, and writes a changelog record for each entity that changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from stack.site import PYTHON, ROOT

QUIX_PYTHON = ROOT / ".venv" / "quix" / "bin" / "python"


@dataclass(frozen=True)
class Contender:
    """How one of them is started.

    Attributes:
        name: in the results.
        command: without ``--index``.
        group: its consumer group, by which one sees from outside that it is ready.
        environ: its settings.
        files: settings that name a file of each process's own; ``{}`` is its index.
        most_orders: more would take minutes; 0 means as many as are asked for.
        processes: numbers of processes it is measured with.
        guarantee: what holds if a process is killed at any moment.
    """

    name: str
    command: tuple[str, ...]
    group: str
    guarantee: str
    environ: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    most_orders: int = 0
    processes: tuple[int, ...] = (1, 2)


def _ours(name: str, guarantee: str) -> Contender:
    return Contender(
        name,
        (str(PYTHON), "-m", "streams", "worker"),
        group="countersign",
        guarantee=guarantee,
        # Only the three hops, as the others: no deliveries, no metrics server.
        environ={
            "COUNTERSIGN_SERVICES": "fraud",
            "COUNTERSIGN_GUARANTEE": guarantee,
            "COUNTERSIGN_METRICS_PORT": "0",
        },
        files={"COUNTERSIGN_READY_FILE": "ready-{}"},
    )


def _quix(name: str, guarantee: str) -> Contender:
    return Contender(
        name,
        (str(QUIX_PYTHON), "-m", "benchmarks.contenders.quix"),
        group="bench-quix",
        guarantee=guarantee,
        environ={"BENCH_GUARANTEE": guarantee},
    )


CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        _ours("countersign_exactly_once", "exactly-once"),
        _ours("countersign_at_least_once", "at-least-once"),
        Contender(
            "confluent_loop",
            (str(PYTHON), "-m", "benchmarks.contenders.confluent_loop"),
            group="bench-loop",
            guarantee="exactly-once",
        ),
        _quix("quix_exactly_once", "exactly-once"),
        _quix("quix_at_least_once", "at-least-once"),
        Contender(
            "faust",
            (str(PYTHON), "-m", "benchmarks.contenders.faust_tables"),
            group="bench-faust",
            guarantee="at-least-once",
            most_orders=10_000,
            processes=(1,),
        ),
    )
}
OURS = CONTENDERS["countersign_exactly_once"]


def phased(ours: Contender) -> Contender:
    """Return our worker with a stop watch around each phase (:mod:`benchmarks.phases`)."""
    return replace(ours, name=f"{ours.name}_phases", command=(str(PYTHON), "-m", "benchmarks.phases"))
