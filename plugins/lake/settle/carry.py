"""Carries out one step for many orders, such that a crash at any point and another try end alike.

1. Read the ledger: for which orders is the step due, and under which key.
2. Write ``begun`` for those that have it not, with what is needed to undo the step, in one commit.
3. Make the calls under the keys. Each port looks first whether the effect is there already.
4. Write what came of them, in one commit.

A crash before 2 leaves nothing. One between 2 and 4 leaves ``begun``: the next try makes the same calls under the same
keys. One after 4 leaves the result, and the next try finds nothing due.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lake.settle.case import NOTHING, REASON, Case, Job, Line, Port, Result
from order_fraud.settlement import Entry, Step, plan

log = logging.getLogger(__name__)

MOST_KEYS = 3
"""So many keys are tried for one step in one go, should the other side keep failures under them."""


class Book(Protocol):
    """What is needed of the ledger."""

    def read(self, order_ids: Iterable[str]) -> dict[str, list[Entry]]:
        """Return the entries of orders."""

    def add(self, lines: Sequence[Line]) -> None:
        """Append words."""


class StillOpen(RuntimeError):
    """Some calls got no answer; what the others gave is written down, and trying again is safe."""


@dataclass(frozen=True, slots=True)
class Carried:
    """How many orders the step is done or refused for now; those that earlier tries did do not count."""

    done: int = 0
    refused: int = 0


def carry_out(ledger: Book, cases: Sequence[Case], step: Step, port: Port, *, undo: bool = False) -> Carried:
    """Make the calls of a step that are due.

    Args:
        ledger: of all orders.
        cases: the orders to look at.
        step: which step.
        port: makes the calls.
        undo: whether to undo the step instead.

    Raises:
        StillOpen: some calls got no answer.
        Hopeless: no order can be served.
    """
    done = refused = 0
    for _ in range(MOST_KEYS):
        results = _round(ledger, cases, step, port, undo)
        done += sum(result.word == "done" for result in results)
        refused += sum(result.word == "refused" for result in results)
        silent = [result for result in results if result.word is None]
        if silent:
            first = silent[0]
            raise StillOpen(
                f"{_name(step, undo)}: {len(silent)} of {len(results)} orders got no answer, first "
                f"{first.job.case.order_id}: {first.evidence.get(REASON)}"
            )
        if not any(result.word == "spent" for result in results):
            return Carried(done, refused)
    raise StillOpen(f"{_name(step, undo)}: {MOST_KEYS} keys in a row keep a failed answer; try again later")


def _round(ledger: Book, cases: Sequence[Case], step: Step, port: Port, undo: bool) -> list[Result]:
    history = ledger.read(case.order_id for case in cases)  # Step 1
    plans = [(case, plan(case.order_id, history[case.order_id])) for case in cases]
    due = [(case, found, action) for case, found in plans if (action := found.action(step, undo)) is not None]
    if not due:
        return []
    fresh = [(case, action) for case, _, action in due if not action.begun]
    notes = {} if undo else port.prepare([case for case, _ in fresh])
    begun = [
        Line(case, Entry("begun", step, undo, action.key, notes.get(case.order_id, NOTHING))) for case, action in fresh
    ]
    ledger.add(begun)  # Step 2
    jobs = []
    for case, found, action in due:
        evidence = dict(found.evidence)
        if notes.get(case.order_id):
            evidence[step] = notes[case.order_id]
        jobs.append(Job(case, action, evidence))
    results: list[Result] = []
    try:
        for result in port.act(jobs):  # Step 3
            results.append(result)  # one by one: what is known when a later call raises must be written down
    finally:
        ledger.add([_line(result) for result in results if result.word is not None])  # Step 4
    return results


def _line(result: Result) -> Line:
    job = result.job
    action = job.action
    assert result.word is not None  # noqa: S101 - for the type checker: silence is not written down
    # The notes of `begun` go along: undoing needs them, and reads the last word.
    noted = {name: said for name, said in job.evidence.get(action.step, NOTHING).items() if name != REASON}
    evidence = noted | dict(result.evidence)
    return Line(job.case, Entry(result.word, action.step, action.undo, action.key, evidence))


def _name(step: Step, undo: bool) -> str:
    return f"undo {step}" if undo else step
