"""A table of state: what is committed stays, what is not goes, and expiry changes no answer."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_fraud.history import EXPIRY_MS, History, pack
from streams.state import Codec, Spec, Table, Unreadable
from streams.state import table as table_module
from streams.state.codecs import HISTORIES
from streams.state.memory import MemoryStore
from streams.state.store import DAY_MS
from tests.unit.state_log import Log, Record, restored, transaction

SPEC = Spec("log", "input", HISTORIES)
PLAIN: Codec[int] = Codec(msgspec.msgpack.encode, msgspec.msgpack.decode)
NOW = 50 * EXPIRY_MS


def new_table() -> Table[History]:
    return Table(SPEC, 1, MemoryStore(HISTORIES.as_of))


def seen(time: int) -> History:
    return History(time, time, time)


def test_what_was_not_committed_is_forgotten_and_latest_with_it() -> None:
    table = new_table()
    table["a"], table.latest = seen(1), 1
    table.changes()
    table.commit()
    table["a"], table["b"], table.latest = seen(2), seen(2), 2
    assert (table.get("a"), table.get("b"), len(table)) == (seen(2), seen(2), 2)
    table.changes()
    table.rollback()
    assert (table.get("a"), table.get("b"), table.latest, len(table)) == (seen(1), None, 1, 1)
    assert table.changes() == []


def test_the_changelog_gets_the_last_value_of_every_key() -> None:
    table = new_table()
    table["a"] = seen(1)
    table["b"] = seen(1)
    table["a"] = seen(2)
    expected = [
        {"key": b"a", "value": pack(seen(2)), "partition": 1},
        {"key": b"b", "value": pack(seen(1)), "partition": 1},
    ]
    assert table.changes() == expected
    assert table.changes() == expected, "asking twice changes nothing"
    table.commit()
    assert table.changes() == []


def test_a_deleted_key_leaves_a_tombstone_unless_nobody_ever_saw_it() -> None:
    table, log = new_table(), Log()
    transaction(table, log, ("a", seen(1)), ("b", seen(1)))
    del table["a"]
    del table["never"]
    table["brief"] = seen(3)
    del table["brief"]
    assert "a" not in table
    assert len(table) == 1
    assert table.changes() == [{"key": b"a", "value": None, "partition": 1}]
    table.rollback()
    assert "a" in table
    transaction(table, log, ("a", None))
    table["a"] = seen(4)
    assert dict(table.items()) == {"a": seen(4), "b": seen(1)}
    assert "a" not in restored(SPEC, log, MemoryStore(HISTORIES.as_of))


def test_items_may_be_walked_through_while_the_table_is_changed() -> None:
    table, log = new_table(), Log()
    transaction(table, log, *((str(number), seen(number)) for number in range(5)))
    table["9"] = seen(9)
    for key, value in table.items():
        if value.seen_at % 2:
            del table[key]
        else:
            table[key] = seen(value.seen_at + 10)
    assert {key: value.seen_at for key, value in table.items()} == {"0": 10, "2": 12, "4": 14}


def test_values_that_cooled_down_are_the_committed_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values move hot -> warm -> packed; at no point may an older one come back."""
    monkeypatch.setattr(table_module, "HOT", 2)
    table, log = new_table(), Log()
    for turn in range(1, 8):
        for number in range(4):
            key = str((turn + number) % 5)
            before = table.get(key)
            assert before is None or before.seen_at < turn
            transaction(table, log, (key, seen(turn)))
            table[key] = seen(99)
            table.changes()
            table.rollback()
            assert table.get(key) == seen(turn)
    again = restored(SPEC, log, MemoryStore(HISTORIES.as_of))
    assert dict(again.items()) == dict(table.items())


def test_a_deleted_value_does_not_come_back_from_where_it_was_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "HOT", 1)
    table, log = new_table(), Log()
    transaction(table, log, ("a", seen(1)), ("b", seen(1)))  # too many to be hot: both are warm now
    transaction(table, log, ("a", seen(2)))
    transaction(table, log, ("a", None))
    assert table.get("a") is None
    assert "a" not in dict(table.items())


def test_what_has_expired_is_dropped_bit_by_bit_and_latest_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "LOOKS", 3)
    table, log = new_table(), Log()
    transaction(table, log, *((f"old {number}", seen(NOW)) for number in range(8)))
    transaction(table, log, ("kept", seen(NOW)))
    transaction(table, log, ("kept", seen(NOW + DAY_MS)))
    sizes = []
    for turn in range(4):
        table.latest = NOW + EXPIRY_MS + DAY_MS
        transaction(table, log, ("last", seen(table.latest)))
        sizes.append(len(table))
        if turn == 0:
            table["last"] = seen(table.latest + 1)
            assert any(record["value"] is None for record in table.changes())
            table.rollback()
            assert len(table) == sizes[-1], "a drop is rolled back with its transaction"
    assert sizes == [6, 2, 2, 2], (
        "five looks a transaction: three, and two for the key changed; one falls on what lives"
    )
    assert set(dict(table.items())) == {"kept", "last"}
    assert "old 0" not in table, "it was hot when it was dropped"
    log.compact(0, tombstones=True)
    again = restored(SPEC, log, MemoryStore(HISTORIES.as_of))
    assert (dict(again.items()), again.latest) == (dict(table.items()), table.latest)


def test_a_restored_table_goes_on_dropping() -> None:
    table, log = new_table(), Log()
    transaction(table, log, ("old", seen(NOW)), ("new", seen(NOW + 2 * DAY_MS)))
    table = restored(SPEC, log, MemoryStore(HISTORIES.as_of))
    assert table.latest == NOW + 2 * DAY_MS
    table.latest = NOW + EXPIRY_MS + DAY_MS
    transaction(table, log, ("new", seen(table.latest)))
    assert set(dict(table.items())) == {"new"}


def test_values_without_an_as_of_never_expire() -> None:
    spec, log = Spec("log", "input", PLAIN), Log()
    table: Table[int] = Table(spec, 1, MemoryStore(None))
    transaction(table, log, ("a", 0))
    table.latest = 10 * EXPIRY_MS
    transaction(table, log, ("b", 5))
    again = restored(spec, log, MemoryStore(None))
    assert (dict(again.items()), again.latest) == ({"a": 0, "b": 5}, 0)


def test_a_changelog_of_another_version_is_named_with_the_remedy() -> None:
    """The first changelogs held JSON."""
    table = new_table()
    table.load([Record(b"7", msgspec.json.encode(seen(1)))])
    with pytest.raises(Unreadable, match=r"changelog log, partition 1: value of '7' .*delete and create the topic"):
        table.loaded()
    with pytest.raises(Unreadable, match=r"partition 1: key at offset 5"):
        new_table().load([Record(None, b"?", 5)])
    plain: Table[int] = Table(Spec("log", "input", PLAIN), 1, MemoryStore(None))
    plain.load([Record(b"7", b"\xc1")])
    with pytest.raises(Unreadable, match=r"value of '7'"):
        plain.get("7")


@given(st.builds(History, *([st.integers(0, 2**60)] * 3), recent=st.lists(st.text(), max_size=32).map(tuple)))
def test_the_as_of_is_read_without_the_rest(history: History) -> None:
    assert HISTORIES.as_of is not None
    assert HISTORIES.as_of(pack(history)) == history.seen_at
    assert HISTORIES.unpack(pack(history)) == history
