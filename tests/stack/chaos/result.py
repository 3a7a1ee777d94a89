"""The figures of a run: ``chaos.json``, the tables for people, and whether it is clean."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.stack.chaos.plan import MEANING, Plan
from tests.stack.chaos.run import Played

SHOWN = 5
"""Sentences of one check that people are shown; the file has more."""
KEPT = 100
CHECKS = {
    "input_wrong": "the load lies on the topics as planned",
    "verdicts_missing": "every order has a verdict",
    "verdicts_repeated": "no order has two",
    "verdicts_unasked": "no verdict without an order",
    "versions_unknown": "each verdict names scorecards that exist",
    "versions_not_chosen": "and that were activated, in those roles",
    "deliveries_wrong": "one delivery outcome each, which agrees with the verdict",
    "alarms_wrong": "no record is reported overdue twice, and none that nobody sent",
    "not_reproducible": "the hops folded again, each order by its scorecards, give the same bytes",
    "out_of_order": "in the same order",
    "record_times_wrong": "each with the time stamp of the record that it came from",
    "histories_wrong": "and the same histories",
    "dead_letters_wrong": "dead letters are the planned ones, with reason and origin",
}


@dataclass(frozen=True)
class Result:
    """A plan and what came of it."""

    plan: Plan
    played: Played

    @property
    def clean(self) -> bool:
        """Whether nothing is missing and nothing is wrong."""
        return self.played.judgement.clean and not self.played.stalled

    def figures(self) -> dict[str, Any]:
        """What ``chaos.json`` holds."""
        judgement, played = self.played.judgement, self.played
        return {
            "seed": self.plan.seed,
            "plan": self.plan.fingerprint,
            "clean": self.clean,
            "seconds": round(played.seconds, 1),
            "seconds_waited": round(played.waited, 1),
            "faults": dict(sorted(self.plan.kinds.items())),
            "records": len(self.plan.tape),
            "orders": judgement.orders,
            **{check: judgement.count(check) for check in CHECKS},
            "alarms": judgement.alarms,
            "verdicts_by_scorecard": dict(sorted(judgement.scorecards.items())),
            "dead_letters_expected": judgement.letters_expected,
            "dead_letters_found": judgement.letters_found,
            "takeover_seconds": played.takeover,
            "workers_ended_by_themselves": sum(played.ended.values()),
            "exit_codes_of_leavers": {str(code): times for code, times in sorted(played.left.items())},
            "exit_codes_at_the_end": {str(index): code for index, code in sorted(played.exits.items())},
            "stalled": played.stalled,
            "wrong": {check: said[:KEPT] for check, said in judgement.wrong.items() if said},
        }

    def write(self, path: Path) -> None:
        """Write ``chaos.json``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.figures(), indent=2) + "\n")

    def show(self, screen: Console) -> None:
        """Print the faults, the checks, and what is wrong."""
        faults = Table(title=f"{len(self.plan.faults)} faults", title_justify="left")
        for column in ("fault", "count", "what it is"):
            faults.add_column(column, justify="right" if column == "count" else "left")
        for kind, meaning in MEANING.items():
            faults.add_row(kind, str(self.plan.kinds[kind]), meaning)
        screen.print(faults)
        judgement = self.played.judgement
        checks = Table(title="what must hold", title_justify="left")
        for column in ("check", "wrong", "what it says"):
            checks.add_column(column, justify="right" if column == "wrong" else "left")
        for check, meaning in CHECKS.items():
            count = judgement.count(check)
            checks.add_row(check, f"[{'red' if count else 'green'}]{count:,}", meaning)
        screen.print(checks)
        for check, said in judgement.wrong.items():
            for sentence in said[:SHOWN]:
                screen.print(f"{check}: {sentence}", style="red", markup=False)
            if len(said) > SHOWN:
                screen.print(f"{check}: and {len(said) - SHOWN:,} more", style="red", markup=False)
        if self.played.stalled:
            screen.print(self.played.stalled, style="red", markup=False)
        screen.print(self._summary(), markup=False)

    def _summary(self) -> str:
        judgement, played = self.played.judgement, self.played
        lines = [
            f"{judgement.orders:,} orders, {len(self.plan.tape):,} records, {played.seconds:.0f} s "
            f"(of which load and faults waited {played.waited:.0f} s for the first outcome after a fault); "
            f"{judgement.letters_found} of {judgement.letters_expected} dead letters; "
            f"{judgement.alarms:,} orders reported overdue; "
            f"{sum(played.ended.values())} times a worker ended by itself and was started again",
        ]
        for kind, seconds in played.takeover.items():
            lines.append(
                f"after {kind} the partitions were worked on again in {seconds['median']:.1f} s (median), at most "
                f"{seconds['max']:.1f} s, of {seconds['measured']:.0f} measured"
            )
        return "\n".join(lines)
