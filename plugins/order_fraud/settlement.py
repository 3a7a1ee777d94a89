"""Settling a confirmed fraud, as a saga: which step is due, given all that the order's ledger says.

Steps that can be undone come first, then the pivot, after which there is no way back, then steps that are tried until
they succeed (Garcia-Molina and Salem 1987, "Sagas"; the three kinds: Richardson, "Microservices Patterns", 4.2):

  stop-delivery     (can be undone)
  flag-customer     (can be undone)
  return-money      (the pivot: a refund cannot be taken back)
  cancel-order      (a cancelled order cannot be revived: tried until done)
  tell-customer     (what was said stays said: tried until done, beside cancel-order)

A step that is refused before or at the pivot undoes the earlier ones, last first. One that is refused later waits for a
person. Each call carries a key; ``begun`` is written before it and its outcome after it, so that after a crash the same
call is made again under the same key.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Step = Literal["stop-delivery", "flag-customer", "return-money", "cancel-order", "tell-customer"]
Kind = Literal["compensatable", "pivot", "retriable"]
Word = Literal["begun", "done", "refused", "spent", "withdrawn", "reopened"]
State = Literal["new", "under-way", "undoing", "settled", "undone", "needs-a-person"]

STOP_DELIVERY: Step = "stop-delivery"
FLAG_CUSTOMER: Step = "flag-customer"
RETURN_MONEY: Step = "return-money"
CANCEL_ORDER: Step = "cancel-order"
TELL_CUSTOMER: Step = "tell-customer"

FINAL: frozenset[State] = frozenset({"settled", "undone", "needs-a-person"})
"""Nothing more happens by itself."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One step: what kind it is, and which steps must be done before it."""

    step: Step
    kind: Kind
    after: tuple[Step, ...]


ROUTE: tuple[Rule, ...] = (
    Rule(STOP_DELIVERY, "compensatable", ()),
    Rule(FLAG_CUSTOMER, "compensatable", (STOP_DELIVERY,)),
    Rule(RETURN_MONEY, "pivot", (FLAG_CUSTOMER,)),
    Rule(CANCEL_ORDER, "retriable", (RETURN_MONEY,)),
    Rule(TELL_CUSTOMER, "retriable", (RETURN_MONEY,)),
)
STEPS: tuple[Step, ...] = tuple(rule.step for rule in ROUTE)
COMPENSATABLE: tuple[Step, ...] = tuple(rule.step for rule in ROUTE if rule.kind == "compensatable")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of an order's ledger.

    Attributes:
        word: ``begun`` before a call, then ``done``, ``refused`` (for good) or ``spent`` (the key's answer is stuck at
            a failure without effect, the next call takes another key). ``withdrawn`` and ``reopened`` are about the
            order: it is no fraud after all; a person wants it tried again.
        step: None for a word about the order.
        undo: whether the step is being undone.
        key: of the call, None for a word about the order.
        evidence: what the other side said, by name.
    """

    word: Word
    step: Step | None = None
    undo: bool = False
    key: str | None = None
    evidence: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Action:
    """A call that is due.

    Attributes:
        step: which step.
        undo: whether to undo it.
        key: idempotency key, ``settle/<order_id>/<step>[/undo][/<n>]``; ``n`` from the second key on.
        begun: whether the ledger has its ``begun``: perhaps the call was made.
    """

    step: Step
    undo: bool
    key: str
    begun: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """Where an order stands.

    Attributes:
        state: of the order.
        due: the calls that may be made now, side by side; none in a final state.
        done: steps that are done and not undone.
        refused: steps, or undoings of steps, that were refused for good.
        evidence: what was noted at the last word of each step, by step; of undone steps too.
    """

    state: State
    due: tuple[Action, ...]
    done: tuple[Step, ...]
    refused: tuple[str, ...]
    evidence: Mapping[Step, Mapping[str, str]]

    def action(self, step: Step, undo: bool) -> Action | None:
        """Return the call for this step if it is due."""
        return next((action for action in self.due if (action.step, action.undo) == (step, undo)), None)


@dataclass(slots=True)
class _Deed:
    """What is known of a step, or of its undoing."""

    keys: list[str] = field(default_factory=list)
    word: Literal["", "begun", "done", "refused"] = ""


class _Fold:
    """The ledger of one order, line by line."""

    def __init__(self, order_id: str) -> None:
        self.order_id = order_id
        self.deeds = {(step, undo): _Deed() for step in STEPS for undo in (False, True)}
        self.evidence: dict[Step, Mapping[str, str]] = {}
        self.withdrawn = False
        self.lines = 0

    def read(self, entry: Entry) -> None:
        self.lines += 1
        if entry.step is None:
            self._about_the_order(entry.word)
            return
        deed = self.deeds[entry.step, entry.undo]
        match entry.word:
            case "begun" | "done" | "refused":
                deed.word = entry.word
            case "spent":
                deed.word = ""
        if entry.key is not None and entry.key not in deed.keys:
            deed.keys.append(entry.key)
        if entry.evidence and not entry.undo and entry.word != "spent":
            self.evidence[entry.step] = entry.evidence

    def _about_the_order(self, word: Word) -> None:
        if word == "withdrawn":
            # Money that may be on its way back cannot be stopped: past the pivot's beginning the word comes too late.
            self.withdrawn = self.withdrawn or self.word(RETURN_MONEY) not in ("begun", "done")
        elif word == "reopened" and self.state == "undone":
            self.withdrawn = False
            for deed in self.deeds.values():
                deed.word = ""
        elif word == "reopened" and self.state == "needs-a-person":
            undoing = self.aborted
            for (_, undo), deed in self.deeds.items():
                if undo == undoing and deed.word == "refused":
                    deed.word = ""

    def word(self, step: Step, undo: bool = False) -> str:
        return self.deeds[step, undo].word

    @property
    def aborted(self) -> bool:
        refused = any(self.word(rule.step) == "refused" for rule in ROUTE if rule.kind != "retriable")
        return self.withdrawn or refused

    @property
    def due(self) -> list[tuple[Step, bool]]:
        if not self.aborted:
            return [
                (rule.step, False)
                for rule in ROUTE
                if self.word(rule.step) in ("", "begun") and all(self.word(step) == "done" for step in rule.after)
            ]
        # A call whose outcome is unknown is made to its end first: only what is known to be done can be undone.
        if begun := [step for step in COMPENSATABLE if self.word(step) == "begun"]:
            return [(step, False) for step in begun]
        left = [
            step
            for step in COMPENSATABLE
            if self.word(step) == "done" and self.word(step, undo=True) not in ("done", "refused")
        ]
        return [(left[-1], True)] if left else []

    @property
    def state(self) -> State:
        if not self.lines:
            return "new"
        if self.due:
            return "undoing" if self.aborted else "under-way"
        if self.aborted:
            refused = any(self.word(step, undo=True) == "refused" for step in COMPENSATABLE)
            return "needs-a-person" if refused else "undone"
        return "settled" if all(self.word(step) == "done" for step in STEPS) else "needs-a-person"

    def action(self, step: Step, undo: bool) -> Action:
        deed = self.deeds[step, undo]
        if deed.word == "begun":
            return Action(step, undo, deed.keys[-1], True)
        number = len(deed.keys) + 1
        tail = ("/undo" if undo else "") + (f"/{number}" if number > 1 else "")
        return Action(step, undo, f"settle/{self.order_id}/{step}{tail}", False)


def plan(order_id: str, ledger: Iterable[Entry]) -> Plan:
    """Return where an order stands, from all lines of its ledger in their order.

    Args:
        order_id: the order.
        ledger: its lines; none for an order of which nothing is known yet.
    """
    fold = _Fold(order_id)
    for entry in ledger:
        fold.read(entry)
    refused = tuple(
        f"undo {step}" if undo else step for (step, undo), deed in fold.deeds.items() if deed.word == "refused"
    )
    done = tuple(step for step in STEPS if fold.word(step) == "done" and fold.word(step, undo=True) != "done")
    due = tuple(fold.action(step, undo) for step, undo in fold.due)
    return Plan(fold.state, due, done, refused, MappingProxyType(fold.evidence))


def in_words(found: Plan) -> str:
    """Return how far the order got, for people."""
    done = f"done: {', '.join(found.done)}" if found.done else "nothing is in effect"
    refused = f"; refused: {', '.join(found.refused)}" if found.refused else ""
    return f"{found.state} ({done}{refused})"


def is_same(one: Entry, other: Entry) -> bool:
    """Whether two entries say the same of the same call; a word about the order may be said again."""
    if one.step is None or other.step is None:
        return False
    return (one.word, one.step, one.undo, one.key) == (other.word, other.step, other.undo, other.key)


def is_withdrawn(ledger: Sequence[Entry]) -> bool:
    """Whether the last word about the order itself is that it was honest after all."""
    return next((entry.word for entry in reversed(ledger) if entry.step is None), None) == "withdrawn"


def came_too_late(ledger: Sequence[Entry]) -> bool:
    """Whether that word came when the money was on its way back already."""
    fold = _Fold("")
    for entry in ledger:
        fold.read(entry)
    return is_withdrawn(ledger) and not fold.withdrawn
