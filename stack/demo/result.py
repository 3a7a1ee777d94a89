"""What a demo run is judged by: ``demo.json``, and whether all is well."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sandbox import faults

ALL_WELL, NOT_WELL, ROWS_REJECTED = 0, 1, 3


@dataclass
class Result:
    """The counts of one demo run; the fields are those of ``demo.json``."""

    customers: int = 0
    orders: int = 0
    rejected_rows: int = 0
    verdicts: dict[str, int] = field(default_factory=lambda: {"NoFraudDetected": 0, "PossibleFraud": 0})
    orders_without_verdict: int = 0
    orders_with_several_verdicts: int = 0
    deliveries: dict[str, int] = field(default_factory=lambda: {"released": 0, "held": 0})
    released_without_clearance: int = 0
    dag_runs: dict[str, str] = field(default_factory=dict)
    findings: dict[str, int] = field(default_factory=dict)
    corrections_first_run: int = 0
    corrections_second_run: int = 0
    new_findings_second_run: int = 0
    not_reproducible: int = 0
    notes: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write ``demo.json``."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


@dataclass(frozen=True)
class Comparison:
    """Planted and found faults of one kind, order by order."""

    kind: str
    planted: int
    found: int
    missed: tuple[str, ...]
    invented: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether exactly what was planted was found."""
        return not self.missed and not self.invented


def compare(planted: Mapping[str, Iterable[str]], findings: Iterable[Mapping[str, str]]) -> list[Comparison]:
    """Return planted against found for every kind that is in either; an order found twice counts as invented once."""
    found: dict[str, Counter[str]] = {}
    for finding in findings:
        found.setdefault(finding["kind"], Counter())[finding["order_id"]] += 1
    rows = []
    for kind in sorted(set(planted) | set(found)):
        wanted, got = Counter(planted.get(kind, ())), found.get(kind, Counter())
        missed, invented = tuple((wanted - got).elements()), tuple((got - wanted).elements())
        rows.append(Comparison(kind, wanted.total(), got.total(), missed, invented))
    return rows


def complaints(result: Result, comparisons: Iterable[Comparison], planted: Mapping[str, Collection[str]]) -> list[str]:
    """Return one line for everything that is not well, rejected rows apart."""
    forged, repeated, without = (
        len(planted.get(kind, ())) for kind in (faults.FORGED_RELEASE, faults.VERDICT_REPEATED, faults.VERDICT_FORGED)
    )
    several = result.orders_with_several_verdicts
    checks = {
        f"{result.orders_without_verdict} orders have no verdict": result.orders_without_verdict,
        f"{several} orders have several verdicts, {repeated} of them were planted": several != repeated,
        f"{result.not_reproducible} verdicts could not be re-derived, {without} of them were planted": (
            result.not_reproducible != without
        ),
        f"the second run emitted {result.corrections_second_run} corrections": result.corrections_second_run,
        f"the second run found {result.new_findings_second_run} things new": result.new_findings_second_run,
        f"{result.released_without_clearance} orders released without clearance, {forged} of them were planted": (
            result.released_without_clearance != forged
        ),
    }
    lines = [line for line, bad in checks.items() if bad]
    lines += [f"DAG {dag_id}: {state}" for dag_id, state in result.dag_runs.items() if state != "success"]
    for row in comparisons:
        if row.missed:
            lines.append(f"{row.kind}: planted but not found: {', '.join(row.missed[:10])}")
        if row.invented:
            lines.append(f"{row.kind}: found but not planted: {', '.join(row.invented[:10])}")
    return lines
