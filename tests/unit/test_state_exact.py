"""Expiry, restarts, aborts and compaction, at whatever moment, give the answers of a shelf that forgets nothing.

The orders pass the relay's own device hop, whose rule it is that an entity not seen for long counts as never seen.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from order_fraud.events import encode
from order_fraud.history import EXPIRY_MS
from order_fraud.relay import Shelf, step
from scorecards import PANEL
from streams.state import Spec, Table
from streams.state import table as table_module
from streams.state.codecs import HISTORIES
from streams.state.memory import MemoryStore
from streams.state.rocks import Past, RocksStore, new_cache, open_store
from streams.state.store import Store
from tests.unit.kernel_tape import HOPS, order
from tests.unit.state_log import Log, restored

SPEC = Spec("log", "input", HISTORIES)
HOP = HOPS["device"]
MINUTES_TO_EXPIRY = EXPIRY_MS // 60_000
KEYS = 5

# A scenario is a list of steps: (what, entity, advance of the clock in 1/8 of the expiry time, how late the event is)
ORDER, COMMIT, ABORT, RESTART, CRASH, COMPACT = "order", "commit", "abort", "restart", "crash", "compact"
steps = st.lists(
    st.tuples(
        st.sampled_from([ORDER] * 6 + [COMMIT] * 2 + [ABORT, RESTART, CRASH, COMPACT]),
        st.integers(0, KEYS - 1),
        st.sampled_from([0, 0, 1, 4, 7, 8, 9, 20]),
        st.sampled_from([0, 0, 0, 1, 4, 8, 9, 17]),
    ),
    min_size=20,
    max_size=80,
)


class Files:
    """Makes stores; for RocksDB on files that outlive the store, as those of a worker do."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._kind = kind
        self._path = folder / "table"
        self._open: RocksStore | None = None

    def store(self, log: Log) -> Store:
        if self._kind == "memory":
            return MemoryStore(HISTORIES.as_of)
        self.close()
        past = Past("this one", 0, log.end, 60_000)
        self._open = open_store(self._path, past, HISTORIES.as_of, new_cache())
        return self._open

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


@contextmanager
def files_of(kind: str) -> Iterator[Files]:
    with TemporaryDirectory() as folder:
        files = Files(kind, Path(folder))
        yield files
        files.close()


def examples(kind: str) -> int:
    return 200 if kind == "memory" else 40


@pytest.mark.parametrize("kind", ["memory", "rocksdb"])
def test_a_table_that_drops_answers_as_a_shelf_that_does_not(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "LOOKS", 1)
    monkeypatch.setattr(table_module, "HOT", 1)
    dropped = 0

    @settings(max_examples=examples(kind), suppress_health_check=[HealthCheck.too_slow])
    @given(steps)
    def tell(story: list[tuple[str, int, int, int]]) -> None:
        nonlocal dropped
        with files_of(kind) as files:
            dropped += play(story, files)

    tell()
    assert dropped > examples(kind) / 2, "the stories that were told drop nothing, so they prove nothing"


def play(story: list[tuple[str, int, int, int]], files: Files) -> int:
    """Let a table and a shelf live through a story; return how many entities the table dropped."""
    log, clock, dropped = Log(), 0.0, 0
    table: Table[Any] = restored(SPEC, log, files.store(log))
    shelf = Shelf()
    kept: tuple[dict[str, Any], int] = ({}, 0)
    for number, (what, entity, passes, late) in enumerate(story):
        if what == ORDER:
            clock += passes * MINUTES_TO_EXPIRY / 8
            at = clock - late * MINUTES_TO_EXPIRY / 8
            answers = [
                step(HOP, histories, order(f"{entity}-{number}", minute=at, device_id=f"D{entity}"), PANEL)
                for histories in (table, shelf)
            ]
            assert answers[0] is not None
            assert answers[1] is not None
            assert encode(answers[0].event) == encode(answers[1].event)
            assert table.latest == shelf.latest
        elif what == COMMIT:
            changes = table.changes()
            log.append(changes)
            table.commit()
            dropped += sum(change["value"] is None for change in changes)
            kept = dict(shelf), shelf.latest
        elif what == CRASH:  # the transaction is through, and the worker dies before it knows
            log.append(table.changes())
            kept = dict(shelf), shelf.latest
            table = restored(SPEC, log, files.store(log))
        else:
            shelf.clear()
            shelf.update(kept[0])
            shelf.latest = kept[1]
            if what == ABORT:
                log.skip(table.changes())
                table.rollback()
            else:
                log.compact(number % 3, tombstones=what == COMPACT)
                table = restored(SPEC, log, files.store(log))
        assert table.latest == shelf.latest
    return dropped


def test_the_story_teller_itself() -> None:
    """One story by hand: seen, forgotten after its time, dropped, and seen anew."""
    story = [(ORDER, 0, 0, 0), (COMMIT, 0, 0, 0), (ORDER, 1, 9, 0), (COMMIT, 0, 0, 0), (COMMIT, 0, 0, 0)]
    for kind in ("memory", "rocksdb"):
        with files_of(kind) as files:
            assert play([*story, (RESTART, 0, 0, 0), (ORDER, 0, 0, 0)], files) == 1
