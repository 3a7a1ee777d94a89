"""What starts a reconciliation: bursts on a topic, a window of its own; and two at once do what one does."""

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import msgspec
import pytest
from airflow.triggers.base import TriggerEvent
from confluent_kafka import Producer
from pyiceberg.catalog import load_catalog

from desk.hints import Burst, TopicBurst
from lake import labels
from lake.landing.progress import Conflict
from lake.reconcile import corrections, ledger
from lake.reconcile.corrections import Emitted, NotEmitted, emit
from lake.reconcile.outcome import Outcome
from lake.reconcile.window import watermark
from lake.settle import tasks as settle
from order_fraud.events import DeliveryReleased, FraudConfirmed, NewOrder
from order_fraud.topics import FRAUD_VERDICTS
from tests.lake.reconcile_world import START, World, calm, feedback, outcome_of, traffic
from tests.lake.test_reconcile_lake import land

SUSPECT, CLEAR = b'{"type":"PossibleFraud","id":"x"}', b'{"type":"NoFraudDetected","id":"x"}'


@pytest.mark.parametrize(
    ("came", "fired"),
    [
        ([(0, 2), (1, 1)], [0, 3]),
        ([(0, 2), (11, 1)], [0, 0]),
        ([(0, 3), (1, 3), (2, 50)], [3, 0, 0]),
        ([(0, 3), (99, 50), (100, 1)], [3, 0, 51]),
        ([(0, 3), (99, 2), (111, 1), (112, 2)], [3, 0, 0, 3]),
        ([(0, 0)], [0]),
    ],
)
def test_burst_fires_once_and_is_silent_for_a_while(came: list[tuple[float, int]], fired: list[int]) -> None:
    burst = Burst(at_least=3, within_s=10, pause_s=100)
    assert [burst.add(count, now) for now, count in came] == fired


async def heard(trigger: TopicBurst, loads: Sequence[Sequence[bytes]], bootstrap: str) -> list[TriggerEvent]:
    """What the trigger yields while loads come in, one load after the other."""
    events: list[TriggerEvent] = []

    async def listen() -> None:
        async for event in trigger.run():
            events.append(event)

    listening = asyncio.create_task(listen())
    producer = Producer({"bootstrap.servers": bootstrap})
    await asyncio.sleep(3)
    for load in loads:
        for value in load:
            producer.produce(FRAUD_VERDICTS.name, key="k", value=value)
        producer.flush(10)
        await asyncio.sleep(1.5)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    return events


def test_trigger_hears_a_burst_on_a_real_topic_once(stack: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERSIGN_KAFKA", stack["COUNTERSIGN_KAFKA"])
    trigger = TopicBurst(FRAUD_VERDICTS.name, ['"type":"PossibleFraud"'], at_least=20, within_s=60, pause_s=60)
    path, arguments = trigger.serialize()
    assert path == "desk.hints.TopicBurst"
    again = TopicBurst(**json.loads(json.dumps(arguments)))
    loads = [[CLEAR] * 40 + [SUSPECT] * 15, [SUSPECT] * 10, [SUSPECT] * 200]
    (event,) = asyncio.run(heard(again, loads, stack["COUNTERSIGN_KAFKA"]))
    assert event.payload == {"topic": FRAUD_VERDICTS.name, "records": 25, "within_s": 60}


def test_watermark_is_the_last_day_that_a_run_with_effect_has_covered() -> None:
    outcome = outcome_of(calm(customers=2), "r1")

    def ran(last: date, settled: date, dry_run: bool = False) -> Outcome:
        moment = datetime.combine(settled, datetime.min.time(), UTC)
        return msgspec.structs.replace(outcome, last=last, settled=moment, dry_run=dry_run)

    day = date(2026, 11, 20)
    later = day + timedelta(days=3)
    assert watermark([]) is None
    assert watermark([ran(later, later, dry_run=True)]) is None
    assert watermark([ran(day, later), ran(day - timedelta(days=9), later)]) == day
    assert watermark([ran(date(2099, 1, 1), day)]) == day, "days that nobody had read then are not covered"


def test_two_reconciliations_of_a_day_at_once_raise_and_record_everything_once(
    stack: dict[str, str], tmp_path: Path
) -> None:
    world = calm()
    for row in world.shop[:6]:
        world.drop(FRAUD_VERDICTS.name, f"verdict/{row['order_id']}")
        world.told(DeliveryReleased, row["order_id"], row["customer_id"], START)
    outcomes = [outcome_of(world, f"overlap-{number}") for number in (1, 2)]
    events = {event.id for event in corrections.events_of(outcomes[0].differences)}
    assert any(name.startswith("correction/") for name in events)
    uri = f"sqlite:///{tmp_path}/c.db"
    load_catalog("t", type="sql", uri=uri, warehouse=f"file://{tmp_path}/w").close()
    together = Barrier(2)

    def correct(outcome: Outcome) -> Emitted:
        """What the task does, tried again as Airflow would."""
        catalog = load_catalog("t", type="sql", uri=uri, warehouse=f"file://{tmp_path}/w")
        together.wait()
        for _ in range(8):
            try:
                already = ledger.emitted_before(catalog, outcome)
                done = emit(stack["COUNTERSIGN_KAFKA"], outcome.run_id, outcome.differences, already, dry_run=False)
                ledger.record(catalog, outcome)
            except (NotEmitted, Conflict):
                continue
            return done
        raise AssertionError("given up")

    with ThreadPoolExecutor(2) as both:
        first, second = both.map(correct, outcomes)
    on_topic = corrections._runs_by_id(stack["COUNTERSIGN_KAFKA"])
    assert {name: on_topic[name] for name in events}.keys() == events
    raised = sum(name.startswith("finding/") for name in events)
    assert first.findings + second.findings == raised
    assert first.corrections + second.corrections == len(events) - raised
    rows = load_catalog("t", type="sql", uri=uri).load_table("reconciliation.findings").scan().to_arrow().to_pylist()
    assert len(rows) == len({(row["kind"], row["order_id"]) for row in rows}) == raised
    assert {row["state"] for row in rows} == {"open"}


def test_settlement_that_starts_itself_asks_a_person_when_there_is_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = load_catalog("t", type="sql", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}/w")

    def limits(most: int, ask_above: int) -> dict[str, Any]:
        context = {"params": {"most": most, "ask_above": ask_above}, "run_id": "r1"}
        monkeypatch.setattr(settle, "get_current_context", lambda: context)
        monkeypatch.setattr(settle, "open_catalog", lambda: catalog)
        return settle.within_limits()

    assert limits(10, 0) == {}, "no word of any fraud"
    made = traffic(customers=3)
    frauds = [one for one in made if isinstance(one, NewOrder)][:3]
    words = [feedback(FraudConfirmed, one, START + timedelta(days=9)) for one in frauds]
    land(catalog, World().stream([*made, *words]))
    labels.record(catalog, "r0")
    assert limits(10, 3) == {"most": 10, "ask_first": False}
    assert limits(1, 2) == {"most": 1, "ask_first": True}, "all that wait count, not only those of this run"
    catalog.close()
