"""What could be wrong in a measurement without anybody noticing: percentiles, merging, whether the work was done."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import load, publish, results, speed
from benchmarks.crew import parse_assignment
from benchmarks.latency import percentile
from benchmarks.one_round import Round
from benchmarks.takeover import times_to_decide
from benchmarks.verdict_check import WrongVerdicts, check
from order_fraud import topics
from order_fraud.events import encode
from order_fraud.relay import ROUTE, Shelf, receive, step
from order_fraud.topics import Topic
from scorecards import PANEL


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50.0), (0.99, 99.0), (0.991, 100.0), (1.0, 100.0), (0.0, 1.0), (0.001, 1.0)]
)
def test_percentile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], share) == expected


def test_percentile_of_one_and_of_none() -> None:
    assert percentile([7.0], 0.99) == 7.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_merging_keeps_what_was_not_measured_again() -> None:
    old = {"latency_ms": {"100": {"p50": 1}}, "orders_per_second": {"faust": 1, "quix": 2}, "rounds": [1, 2]}
    new = {"orders_per_second": {"quix": 3}, "rounds": [4]}
    assert results.merge(old, new) == {
        "latency_ms": {"100": {"p50": 1}},
        "orders_per_second": {"faust": 1, "quix": 3},
        "rounds": [4],
    }


def test_summary_takes_medians_of_rates_and_the_peak_of_memory() -> None:
    rounds = [Round(rate, 1.0, 10, 5.0, peak) for rate, peak in ((100, 50.0), (300, 70.0), (120, 60.0))]
    loop = [Round(200, 1.0, 10, 5.0, 1.0)]
    found = speed.summary({("countersign_exactly_once", 1): rounds, ("confluent_loop", 1): loop})
    assert found["orders_per_second"] == {"countersign_exactly_once": 120, "confluent_loop": 200}
    assert found["peak_mb"]["countersign_exactly_once"] == 70.0
    assert speed.ratios(found) == {"to_confluent_loop": 0.6}


def test_takeover_counts_orders_sent_after_the_kill_alone() -> None:
    sent = {"before": 9.0, "a": 10.5, "b": 11.0, "c": 10.2, "other": 10.1}
    arrivals = [(10.1, 0, "before"), (10.3, 2, "other"), (14.0, 0, "a"), (15.0, 0, "b"), (17.5, 1, "c")]
    assert times_to_decide(arrivals, sent, 10.0, {0, 1}) == {0: 4.0, 1: 7.5}
    with pytest.raises(RuntimeError, match="partitions \\[0, 3\\], verdicts came on \\[0\\]"):
        times_to_decide(arrivals, sent, 10.0, {0, 3})


def test_an_assignment_is_read_as_kafka_packs_it() -> None:
    packed = (
        b"\x00\x01"  # version
        b"\x00\x00\x00\x02"
        b"\x00\x03one\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03"
        b"\x00\x02to\x00\x00\x00\x01\x00\x00\x00\x02"
        b"\xff\xff\xff\xff"  # no user data
    )
    assert parse_assignment(packed) == {("one", 0), ("one", 3), ("to", 2)}


def test_publishing_rewrites_the_block_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, found = tmp_path / "page.md", tmp_path / "bench.json"
    page.write_text(f"before\n{publish.BEGIN}\nold\n{publish.END}\nafter\n")
    with pytest.raises(publish.NothingMeasured, match="make bench"):
        publish.publish(found, page, tmp_path / "chart.svg")
    summary = speed.summary({("faust", 1): [Round(1_234, 1.0, 10, 5.0, 1.0)]})
    results.write(summary, found)
    monkeypatch.setattr("subprocess.run", lambda *arguments, **options: None)
    publish.publish(found, page, tmp_path / "chart.svg")
    text = page.read_text()
    assert text.startswith(f"before\n{publish.BEGIN}\n")
    assert text.endswith(f"{publish.END}\nafter\n")
    assert "1,234" in text
    assert "old" not in text


class Record:
    """As much of a Kafka message as the check looks at."""

    def __init__(self, key: bytes, value: bytes) -> None:
        self._key, self._value = key, value

    def key(self) -> bytes:
        return self._key

    def value(self) -> bytes:
        return self._value

    def partition(self) -> int:
        return len(self._key) % 2

    def timestamp(self) -> tuple[int, int]:
        return 1, 4_000_000_000_000


World = dict[str, list[Record]]


@pytest.fixture
def world() -> World:
    """All topics of a contender that did its work."""
    found: World = defaultdict(list)
    made = load.make(60)
    found[ROUTE[0].reads.name] = [Record(one["key"], one["value"]) for one in made.warm_up + made.burst]
    for hop in ROUTE:
        shelves: dict[int, Shelf] = defaultdict(Shelf)
        for record in found[hop.reads.name]:
            shelf = shelves[record.partition()]
            onward = step(hop, shelf, receive(hop, record.key(), record.value(), 4_000_000_000_000), PANEL)
            if onward is not None:
                found[onward.topic.name].append(Record(onward.key.encode(), encode(onward.event)))
    return found


def _check(world: World) -> None:
    def read(_bootstrap: str, topic: Topic) -> Iterator[Any]:
        yield from world[topic.name]

    made = load.make(60)
    orders = [one["value"] for one in made.warm_up[-made.warm_up_orders :] + made.burst]
    check("", orders, [(record.key(), record.value()) for record in world[topics.FRAUD_VERDICTS.name]], read)


def test_a_contender_that_did_the_work_passes(world: World) -> None:
    _check(world)


def test_a_missing_a_repeated_and_a_changed_verdict_are_seen(world: World) -> None:
    verdicts = world[topics.FRAUD_VERDICTS.name]
    last = verdicts.pop()
    with pytest.raises(WrongVerdicts, match="1 records missing"):
        _check(world)
    verdicts += [last, last]
    with pytest.raises(WrongVerdicts, match="1 records too many"):
        _check(world)
    verdicts[-2:] = [Record(last.key(), last.value().replace(b'"score":', b'"score":1'))]
    with pytest.raises(WrongVerdicts, match="missing"):
        _check(world)


def test_skipping_a_hop_is_seen(world: World) -> None:
    world[topics.RELAY_BY_DEVICE.name].pop()
    with pytest.raises(WrongVerdicts):
        _check(world)


def test_an_order_that_never_entered_is_seen(world: World) -> None:
    del world[topics.CUSTOMER_EVENTS.name][-1]
    with pytest.raises(WrongVerdicts, match="never entered"):
        _check(world)
