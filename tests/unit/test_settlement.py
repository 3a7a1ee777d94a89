"""The saga: whatever fails and wherever it is killed, an order ends settled, undone or with a person, never half."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lake.settle.carry import Carried, StillOpen, carry_out
from lake.settle.case import Case, Evidence, Job, Line, Result
from order_fraud.settlement import (
    CANCEL_ORDER,
    COMPENSATABLE,
    FINAL,
    FLAG_CUSTOMER,
    RETURN_MONEY,
    ROUTE,
    STEPS,
    STOP_DELIVERY,
    TELL_CUSTOMER,
    Entry,
    Plan,
    Step,
    came_too_late,
    is_same,
    plan,
)

CASE = Case("7-1", "7", datetime(2015, 3, 1, tzinfo=UTC), "a person confirmed the fraud")
OTHER = Case("8-1", "8", CASE.known_at, CASE.cause)

Fault = Literal["fine", "refused", "silent", "spent", "killed-before", "killed-after", "write-lost", "write-kept"]
FAULTS: tuple[Fault, ...] = ("fine", "refused", "silent", "spent", "killed-before", "killed-after")
WRITES: tuple[Fault, ...] = ("fine", "write-lost", "write-kept")


class Killed(BaseException):
    """kill -9."""


class Chance:
    """Faults in the order in which they strike; then everything is fine."""

    def __init__(self, calls: Iterable[Fault] = (), writes: Iterable[Fault] = ()) -> None:
        self.calls, self.writes = iter(calls), iter(writes)


class Book:
    """The ledger in memory; a kill strikes before or after a commit."""

    def __init__(self, chance: Chance) -> None:
        self.chance = chance
        self.entries: dict[str, list[Entry]] = {}

    def read(self, order_ids: Iterable[str]) -> dict[str, list[Entry]]:
        return {order_id: list(self.entries.get(order_id, ())) for order_id in order_ids}

    def add(self, lines: Sequence[Line]) -> None:
        if not lines:
            return
        fault = next(self.chance.writes, "fine")
        if fault == "write-lost":
            raise Killed
        for line in lines:
            entries = self.entries.setdefault(line.case.order_id, [])
            if not any(is_same(entry, line.entry) for entry in entries):
                entries.append(line.entry)
        if fault == "write-kept":
            raise Killed


class World:
    """All other systems: what is in effect, how often each effect was brought about, answers kept by key."""

    def __init__(self, chance: Chance) -> None:
        self.chance = chance
        self.effects: set[tuple[str, Step]] = set()
        self.times: dict[tuple[str, Step, bool], int] = {}
        self.answers: dict[str, Literal["done", "refused", "spent"]] = {}
        self.keys: list[str] = []

    def prepare(self, cases: Sequence[Case]) -> Mapping[str, Evidence]:
        return {case.order_id: {"before": "no"} for case in cases}

    def act(self, jobs: Sequence[Job]) -> Iterator[Result]:
        for job in jobs:
            fault = next(self.chance.calls, "fine")
            if fault == "killed-before":
                raise Killed
            answer = None if fault == "silent" else self._answer(job, fault)
            if fault == "killed-after":
                raise Killed
            yield Result(job, answer, {"said": str(answer)})

    def _answer(self, job: Job, fault: Fault) -> Literal["done", "refused", "spent"]:
        action = job.action
        effect = (job.case.order_id, action.step)
        if action.key in self.answers:
            return self.answers[action.key]
        self.keys.append(action.key)
        if (effect in self.effects) == (not action.undo):  # looked first: it is so already
            return "done"
        # What a provider has refused or failed for good it answers again; all else takes effect.
        if fault in ("refused", "spent") and not (fault == "spent" and action.step != RETURN_MONEY):
            self.answers[action.key] = fault  # type: ignore[assignment]
            return self.answers[action.key]
        (self.effects.discard if action.undo else self.effects.add)(effect)
        counted = (*effect, action.undo)
        self.times[counted] = self.times.get(counted, 0) + 1
        self.answers[action.key] = "done"
        return "done"


def run_of_the_dag(book: Book, world: World, cases: Sequence[Case]) -> None:
    """As dags/settle_fraud.py does it; a task that dies or gets no answer is tried again, then given up."""
    for step, undo in [*((step, False) for step in STEPS), *((step, True) for step in reversed(COMPENSATABLE))]:
        for _ in range(3):
            try:
                carry_out(book, cases, step, world, undo=undo)
                break
            except (Killed, StillOpen):
                continue


def found(book: Book, case: Case = CASE) -> Plan:
    return plan(case.order_id, book.read([case.order_id])[case.order_id])


def check(book: Book, world: World, case: Case) -> None:
    """What must hold at the end of an order."""
    ended = found(book, case)
    effects = {step for order_id, step in world.effects if order_id == case.order_id}
    assert ended.state in FINAL
    assert ended.due == ()
    assert set(ended.done) == effects, "the ledger says what is in effect, and nothing else"
    if ended.state == "settled":
        assert effects == set(STEPS)
    elif ended.state == "undone":
        assert effects == set()
    elif RETURN_MONEY in effects:
        assert set(ended.refused) & {CANCEL_ORDER, TELL_CUSTOMER}
    else:
        assert {name for name in ended.refused if name.startswith("undo ")}
    for (order_id, step, undo), times in world.times.items():
        assert order_id != case.order_id or times == 1, f"{step} {'undone' if undo else 'done'} {times} times"


calls = st.lists(st.sampled_from(FAULTS), max_size=25)
writes = st.lists(st.sampled_from(WRITES), max_size=25)


@given(calls, writes, st.none() | st.integers(0, 3))
@example(["killed-after"] * 25, ["write-lost", "write-kept"] * 12, None)
@example(["fine", "refused"], [], None)
@settings(max_examples=400, deadline=None)
def test_no_order_stays_half_whatever_fails_and_wherever_it_is_killed(
    calls: list[Fault], writes: list[Fault], cleared_before_run: int | None
) -> None:
    chance = Chance(calls, writes)
    book, world = Book(chance), World(chance)
    for run in range(60):
        if run == cleared_before_run and found(book).state not in FINAL:
            book.entries.setdefault(CASE.order_id, []).append(Entry("withdrawn"))
        run_of_the_dag(book, world, [CASE, OTHER])
        if found(book).state in FINAL and found(book, OTHER).state in FINAL:
            break
    check(book, world, CASE)
    check(book, world, OTHER)
    assert sum(times for (_, step, _), times in world.times.items() if step == RETURN_MONEY) <= 2  # one per order


@given(calls, writes)
@settings(max_examples=200, deadline=None)
def test_a_person_may_have_it_tried_again_until_all_is_done_and_the_money_goes_back_once(
    calls: list[Fault], writes: list[Fault]
) -> None:
    chance = Chance(calls, writes)
    book, world = Book(chance), World(chance)
    for _ in range(60):
        run_of_the_dag(book, world, [CASE])
        if found(book).state == "settled":
            break
        if found(book).state in FINAL:
            book.entries[CASE.order_id].append(Entry("reopened"))
    assert found(book).state == "settled"
    assert {step for _, step in world.effects} == set(STEPS)
    assert world.times[CASE.order_id, RETURN_MONEY, False] == 1
    assert len(set(world.keys)) == len(world.keys), "a key was used for two requests"


@given(st.lists(st.sampled_from(("killed-before", "killed-after", "silent", "fine")), max_size=20), writes)
@settings(max_examples=200, deadline=None)
def test_kills_and_silence_leave_the_ledger_as_if_nothing_had_happened(calls: list[Fault], writes: list[Fault]) -> None:
    calm = Book(Chance())
    run_of_the_dag(calm, World(calm.chance), [CASE])
    chance = Chance(calls, writes)
    book, world = Book(chance), World(chance)
    while found(book).state not in FINAL:
        run_of_the_dag(book, world, [CASE])
    run_of_the_dag(book, world, [CASE])

    def words(ledger: Book) -> set[tuple[str, str | None, bool, str | None]]:
        return {(entry.word, entry.step, entry.undo, entry.key) for entry in ledger.entries[CASE.order_id]}

    assert words(book) == words(calm)
    assert len(book.entries[CASE.order_id]) == len(calm.entries[CASE.order_id]) == 2 * len(STEPS)


def entries(*told: tuple[str, Step | None] | tuple[str, Step | None, bool]) -> list[Entry]:
    return [
        Entry(word, step, bool(undo), None if step is None else f"settle/7-1/{step}")  # type: ignore[arg-type]
        for word, step, *undo in told
    ]


def due(*told: tuple[str, Step | None] | tuple[str, Step | None, bool]) -> list[tuple[Step, bool]]:
    return [(action.step, action.undo) for action in plan("7-1", entries(*told)).due]


BOTH = (("done", STOP_DELIVERY), ("done", FLAG_CUSTOMER))


def test_what_can_be_undone_comes_before_the_pivot_and_what_cannot_after_it() -> None:
    kinds = [rule.kind for rule in ROUTE]
    assert kinds == sorted(kinds, key=["compensatable", "pivot", "retriable"].index)
    assert kinds.count("pivot") == 1
    assert due() == [(STOP_DELIVERY, False)], "what is urgent comes first"
    assert due(("done", STOP_DELIVERY)) == [(FLAG_CUSTOMER, False)]
    assert due(*BOTH) == [(RETURN_MONEY, False)]
    assert due(*BOTH, ("done", RETURN_MONEY)) == [(CANCEL_ORDER, False), (TELL_CUSTOMER, False)], "side by side"
    assert due(*BOTH, ("done", RETURN_MONEY), ("refused", CANCEL_ORDER)) == [(TELL_CUSTOMER, False)]


def test_a_refusal_up_to_the_pivot_undoes_the_last_step_first() -> None:
    refused = (*BOTH, ("begun", RETURN_MONEY), ("refused", RETURN_MONEY))
    assert due(*refused) == [(FLAG_CUSTOMER, True)]
    assert due(*refused, ("done", FLAG_CUSTOMER, True)) == [(STOP_DELIVERY, True)]
    assert (
        plan("7-1", entries(*refused, ("done", FLAG_CUSTOMER, True), ("done", STOP_DELIVERY, True))).state == "undone"
    )


def test_what_may_have_happened_is_found_out_before_it_is_undone() -> None:
    cleared = (("done", STOP_DELIVERY), ("begun", FLAG_CUSTOMER), ("withdrawn", None))
    assert due(*cleared) == [(FLAG_CUSTOMER, False)]
    assert plan("7-1", entries(*cleared)).due[0].begun


def test_a_refusal_after_the_pivot_waits_for_a_person() -> None:
    stuck = plan("7-1", entries(*BOTH, ("done", RETURN_MONEY), ("refused", CANCEL_ORDER), ("done", TELL_CUSTOMER)))
    assert (stuck.state, stuck.due, stuck.refused) == ("needs-a-person", (), (CANCEL_ORDER,))


def test_word_that_the_order_was_honest_counts_until_the_money_may_be_on_its_way() -> None:
    assert due(*BOTH, ("withdrawn", None)) == [(FLAG_CUSTOMER, True)]
    assert due(*BOTH, ("begun", RETURN_MONEY), ("withdrawn", None)) == [(RETURN_MONEY, False)]
    assert came_too_late(entries(*BOTH, ("begun", RETURN_MONEY), ("withdrawn", None)))
    assert not came_too_late(entries(*BOTH, ("withdrawn", None)))


def test_keys_follow_from_the_order_and_change_only_when_one_is_spent_or_refused() -> None:
    def key(*told: Entry) -> str:
        (action,) = plan("7-1", [*entries(*BOTH), *told]).due
        return action.key

    first = "settle/7-1/return-money"
    assert key() == first
    assert key(Entry("begun", RETURN_MONEY, False, first)) == first
    spent = [Entry("begun", RETURN_MONEY, False, first), Entry("spent", RETURN_MONEY, False, first)]
    assert key(*spent) == f"{first}/2"
    assert plan("7-1", [*entries(*BOTH), *spent]).state == "under-way"
    refused = [Entry("begun", RETURN_MONEY, False, first), Entry("refused", RETURN_MONEY, False, first)]
    undone = entries(("done", FLAG_CUSTOMER, True), ("done", STOP_DELIVERY, True))
    again = plan("7-1", [*entries(*BOTH), *refused, *undone, Entry("reopened")])
    assert [action.key for action in again.due] == ["settle/7-1/stop-delivery/2"]


def test_silence_of_one_order_keeps_what_the_others_answered() -> None:
    book = Book(Chance(["silent", "fine"]))
    with pytest.raises(StillOpen, match=r"stop-delivery: 1 of 2 orders got no answer, first 7-1"):
        carry_out(book, [CASE, OTHER], STOP_DELIVERY, World(book.chance))
    assert found(book, OTHER).done == (STOP_DELIVERY,)
    assert carry_out(book, [CASE, OTHER], STOP_DELIVERY, World(book.chance)) == Carried(1, 0)


def test_what_is_noted_before_the_call_is_there_to_undo_it_also_after_a_kill() -> None:
    book = Book(Chance(["fine", "killed-after"]))
    world = World(book.chance)
    carry_out(book, [CASE], STOP_DELIVERY, world)
    with pytest.raises(Killed):
        carry_out(book, [CASE], FLAG_CUSTOMER, world)
    carry_out(book, [CASE], FLAG_CUSTOMER, world)
    assert found(book).evidence[FLAG_CUSTOMER]["before"] == "no"
