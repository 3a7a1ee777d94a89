"""What a run has to say: the question before it begins, and how far each order got at its end. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lake.settle.case import Case
from lake.settle.choose import Chosen
from order_fraud.settlement import FINAL, Entry, came_too_late, in_words, plan

SHOWN = 50


class Unfinished(RuntimeError):
    """Some orders are neither settled, nor undone, nor a person's; running the DAG again goes on with them."""


@dataclass(frozen=True, slots=True)
class Summary:
    """How far the orders of a run got.

    Attributes:
        document: counts by state, the orders that need a person, and those cleared too late, as JSON.
        lines: the same for people.
        unfinished: orders with something left to do.
    """

    document: dict[str, Any]
    lines: tuple[str, ...]
    unfinished: tuple[str, ...]


def summarize(cases: Sequence[Case], history: Mapping[str, Sequence[Entry]], left: int) -> Summary:
    """Return how far each order got.

    Args:
        cases: the orders of the run.
        history: the ledger's entries of each.
        left: orders that wait for a later run.
    """
    plans = {case.order_id: plan(case.order_id, history[case.order_id]) for case in cases}
    states = Counter(found.state for found in plans.values())
    people = {
        order_id: {
            "state": in_words(found),
            "why": "; ".join(
                f"{entry.step}: {entry.evidence.get('reason')}"
                for entry in history[order_id]
                if entry.word == "refused"
            ),
        }
        for order_id, found in plans.items()
        if found.state in ("needs-a-person", "undone")
    }
    late = [case.order_id for case in cases if came_too_late(history[case.order_id])]
    counted = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no order to settle"
    lines = [
        f"{counted}; {left} left for later runs",
        *(f"order {order_id}: {found['state']}: {found['why']}" for order_id, found in people.items()),
        *(f"order {order_id}: cleared as honest when the money was on its way back already" for order_id in late),
    ]
    return Summary(
        document={"orders": len(cases), "states": dict(states), "for_people": people, "too_late": late, "left": left},
        lines=tuple(lines),
        unfinished=tuple(order_id for order_id, found in plans.items() if found.state not in FINAL),
    )


def question(chosen: Chosen) -> dict[str, str]:
    """Return the question that a person is asked before a run: its subject, and its body as Markdown."""
    count = len(chosen.cases)
    withdrawn = {case.order_id for case in chosen.withdrawn}
    rows = [
        f"| {case.order_id} | {case.customer_id} | {case.known_at:%Y-%m-%d %H:%M} | "
        f"{'cleared since: is undone' if case.order_id in withdrawn else case.cause} |"
        for case in chosen.cases[:SHOWN]
    ]
    more = [f"\n… and {count - SHOWN} more."] if count > SHOWN else []
    head = [
        "Their parcels are stopped, the customers flagged, the money is given back, the orders are cancelled in the "
        "shop and the customers told. **Money that has gone back and a cancelled order cannot be taken back.**\n",
        "| order | customer | known since (UTC) | why |",
        "|---|---|---|---|",
    ]
    return {"subject": f"Settle {count} order{'s' * (count != 1)} as fraud?", "body": "\n".join([*head, *rows, *more])}
