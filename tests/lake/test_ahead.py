"""Which archived events are dated ahead: to the microsecond those that the kernel refuses for their date."""

import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from lake.ahead import not_dated_ahead
from lake.reconcile.parity import ARCHIVE_SCHEMA
from order_fraud.events import encode
from order_fraud.relay import AHEAD_MS, ROUTE, Unusable, receive
from tests.lake.reconcile_world import order

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def refused(time: datetime, appended: int) -> bool:
    """Whether the first hop refuses an order of that time in a record of that time stamp, ms."""
    try:
        receive(ROUTE[0], b"c", encode(order("c-1", "c", time)), appended)
    except Unusable as error:
        return "more than a day after its record" in str(error)
    return False


def ahead(times: list[datetime], appended: list[int]) -> list[bool]:
    stamps = [EPOCH + timedelta(milliseconds=stamp) for stamp in appended]
    schema = {"offset": pl.Int64, "time": ARCHIVE_SCHEMA["time"], "timestamp": ARCHIVE_SCHEMA["timestamp"]}
    rows = pl.DataFrame({"offset": range(len(times)), "time": times, "timestamp": stamps}, schema=schema)
    passed = set(not_dated_ahead(rows)["offset"])
    return [offset not in passed for offset in rows["offset"]]


@pytest.mark.parametrize("microseconds", [-1000, -1, 0, 1, 1000])
def test_archive_and_kernel_agree_around_the_limit(microseconds: int) -> None:
    """At the limit itself floats decide: of some hundred thousand milliseconds they make more than they are."""
    draw = random.Random(5)
    appended = [draw.randrange(1_000_000_000_000, 4_000_000_000_000) for _ in range(4_000)]
    times = [EPOCH + timedelta(milliseconds=stamp + AHEAD_MS) + microseconds * MICROSECOND for stamp in appended]
    expected = [refused(time, stamp) for time, stamp in zip(times, appended, strict=True)]
    assert ahead(times, appended) == expected
    assert 0 < sum(expected) < 100 if microseconds == 0 else set(expected) == {microseconds > 0}


def test_no_records_no_work() -> None:
    assert not_dated_ahead(pl.DataFrame(schema=ARCHIVE_SCHEMA)).is_empty()


def test_any_event_is_ahead_of_a_record_without_a_time_stamp() -> None:
    old = datetime(2000, 1, 1, tzinfo=UTC)
    assert ahead([old], [-1]) == [refused(old, -1)] == [True]
