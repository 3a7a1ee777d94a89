"""The kernel works record by record: how a topic is cut into batches, and which are done twice, changes nothing."""

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from order_fraud.events import NewOrder, decode
from order_fraud.relay import ROUTE, Relayed
from order_fraud.topics import FRAUD_VERDICTS
from tests.unit.kernel_tape import (
    Record,
    as_records,
    new_table,
    order,
    pass_in_batches,
    sign_up,
    tapes,
    through_all_hops,
)

CUTS = st.sets(st.integers(0, 60), max_size=20)


@given(tapes(), CUTS)
def test_any_split_into_batches_gives_the_same_bytes(tape: list[Relayed], cuts: set[int]) -> None:
    assert through_all_hops(tape, cuts) == through_all_hops(tape)


@given(tapes(), CUTS, st.sets(st.integers(0, 60)))
def test_a_batch_that_was_aborted_and_is_redone_gives_the_same_bytes(
    tape: list[Relayed], cuts: set[int], aborted: set[int]
) -> None:
    assert through_all_hops(tape, cuts, aborted | {0}) == through_all_hops(tape)


@given(tapes(), CUTS)
def test_every_order_is_judged_once_or_refused_with_a_reason(tape: list[Relayed], cuts: set[int]) -> None:
    done = through_all_hops(tape, cuts)
    judged = [
        decode(value).subject for hop in ROUTE for _, value in done[hop.entity].outputs.get(FRAUD_VERDICTS.name, [])
    ]
    assert sorted(judged) == sorted({event.subject for event in tape if isinstance(event, NewOrder)})
    at_the_door = done["customer"].refused
    repeats = len([event for event in tape if isinstance(event, NewOrder)]) - len(judged)
    assert len([reason for _, reason in at_the_door if reason.startswith("order/")]) == repeats
    assert all("is a repeat" in reason for _, reason in at_the_door)
    assert not any(done[hop.entity].refused for hop in ROUTE[1:])


def test_a_record_that_is_no_event_stops_nothing_and_changes_nothing() -> None:
    good = as_records([sign_up("7"), order("7-1", minute=1), order("7-2", minute=2)])
    bad = [(b"7", b"\xff{"), (None, None), (b"8", good[1][1])]
    alone = pass_in_batches(ROUTE[0], good)
    between = pass_in_batches(ROUTE[0], [bad[0], good[0], bad[1], good[1], bad[2], good[2]], cuts=[2, 3])
    assert (between.outputs, between.histories) == (alone.outputs, alone.histories)
    assert [offset for offset, _ in between.refused] == [0, 2, 4]
    assert between.refused[1][1] == "the record has no value"
    assert between.refused[2][1] == "order/7-1 has key '8' instead of its customer_id"


def test_histories_restored_from_their_changelog_go_on_as_if_nothing_had_happened() -> None:
    tape = [sign_up("7"), *(order(f"7-{n}", minute=n * 7.3, amount=n * 1_111) for n in range(1, 9))]
    records = as_records(tape)
    whole = pass_in_batches(ROUTE[0], records)
    first = pass_in_batches(ROUTE[0], records[:5])
    table = new_table(ROUTE[0])
    table.load(cast(Any, [Record(place, *record) for place, record in enumerate(first.histories.items())]))
    table.loaded()
    rest = pass_in_batches(ROUTE[0], records[5:], table=table)
    sent = whole.outputs[ROUTE[1].reads.name]
    assert sent == first.outputs[ROUTE[1].reads.name] + rest.outputs[ROUTE[1].reads.name]
    assert rest.histories == whole.histories
