"""The judge of the chaos run is judged: a clean log passes, and each kind of damage is found by its own check."""

import time
import zlib
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from order_fraud import delivery, topics
from order_fraud.events import (
    Activation,
    BadEvent,
    NoFraudDetected,
    Overdue,
    PolicyPublished,
    PossibleFraud,
    VerdictOverdue,
    decode,
    encode,
)
from order_fraud.history import pack, unpack
from order_fraud.policies import activation, key
from order_fraud.relay import ROUTE, Shelf, receive, step
from order_fraud.scorecard import Band, Scorecard
from producers.labels import WORDS
from scorecards import PANEL
from tests.stack.chaos import plan
from tests.stack.chaos.checker import NUMBER, Judgement, judge
from tests.stack.chaos.poison import KINDS, TIME
from tests.stack.chaos.takeover import Takeovers
from tests.stack.chaos.topics import Log, Record

VERDICTS, DELIVERIES, LETTERS = topics.FRAUD_VERDICTS.name, topics.DELIVERY_EVENTS.name, topics.DEAD_LETTERS.name
NOW = 1_790_000_000_000


class Run(NamedTuple):
    """A plan, and the topics as a faultless stream leaves them."""

    plan: plan.Plan
    log: Log


class _Broker:
    def __init__(self) -> None:
        self.log: Log = {topic.name: [] for topic in topics.TOPICS}
        self._ends: dict[tuple[str, int], int] = {}

    def append(
        self, topic: str, key: bytes | None, value: bytes | None, headers: dict[str, bytes], appended: int
    ) -> None:
        partition = zlib.crc32(key or b"") % topics.PARTITIONS
        offset = self._ends[topic, partition] = self._ends.get((topic, partition), -1) + 1
        self.log[topic].append(Record(partition, offset, key, value, headers, appended))

    def refuse(self, topic: str, record: Record, reason: str) -> None:
        origin = {"topic": topic, "partition": str(record.partition), "offset": str(record.offset)}
        headers = {name: text.encode() for name, text in {**origin, "reason": reason, "service": "test"}.items()}
        self.append(LETTERS, record.key, record.value, headers, NOW)


def _stream(broker: _Broker) -> None:
    """Do what the workers do, without any of their code."""
    for hop in ROUTE:
        shelves: dict[int, Shelf] = {}
        for record in broker.log[hop.reads.name]:
            shelf = shelves.setdefault(record.partition, Shelf())
            try:
                event = receive(hop, record.key, record.value, record.appended)
                onward = step(hop, shelf, event, PANEL)
            except BadEvent as error:
                broker.refuse(hop.reads.name, record, str(error))
                continue
            if onward is not None:
                broker.append(onward.topic.name, onward.key.encode(), encode(onward.event), {}, record.appended or 0)
        broker.log[hop.changelog.name] = [
            Record(partition, offset, entity_id.encode(), pack(history), {}, NOW)
            for partition, shelf in shelves.items()
            for offset, (entity_id, history) in enumerate(shelf.items())
        ]
    for topic in (topics.FRAUD_VERDICTS, topics.RECONCILIATION_FINDINGS):
        for record in broker.log[topic.name]:
            try:
                event = decode(record.value)
                if not isinstance(event, PossibleFraud | NoFraudDetected):
                    raise BadEvent(f"{type(event).__name__} has no business on {topic.name}")
            except BadEvent as error:
                broker.refuse(topic.name, record, str(error))
                continue
            outcome = delivery.on_verdict(event)
            broker.append(DELIVERIES, outcome.data.customer_id.encode(), encode(outcome), {}, record.appended or 0)


@pytest.fixture(scope="module")
def run() -> Run:
    """A small run: every input fault is in it, and every kind of poison."""
    made = plan.make(faults=25, seed=5, rate=20.0)
    broker = _Broker()
    for sent in made.tape:
        broker.append(sent.topic, sent.key, sent.value, {NUMBER: str(sent.number).encode()}, NOW + int(sent.at * 1000))
    for records in broker.log.values():
        records.sort(key=lambda record: (record.partition, record.offset))
    _stream(broker)
    return Run(made, {name: sorted(records, key=lambda one: one[:2]) for name, records in broker.log.items()})


def judged(run: Run, topic: str, tamper: Callable[[list[Record]], list[Record]]) -> Judgement:
    """Judge the run after somebody has tampered with one topic."""
    return judge(run.plan, {**run.log, topic: tamper(list(run.log[topic]))})


def failed(judgement: Judgement) -> set[str]:
    return {check for check, said in judgement.wrong.items() if said}


def changed(records: list[Record], place: int, **fields: object) -> list[Record]:
    records[place] = records[place]._replace(**fields)
    return records


def an_order(run: Run, topic: str) -> int:
    """A place on the topic where an order is, not a sign-up and nothing that was sent."""
    return next(
        place
        for place, one in enumerate(run.log[topic])
        if NUMBER not in one.headers and b'"order_id"' in (one.value or b"")
    )


def test_a_faultless_run_is_clean(run: Run) -> None:
    judgement = judge(run.plan, run.log)
    assert failed(judgement) == set()
    assert judgement.clean
    assert judgement.orders > 500
    assert all(len(run.log[hop.reads.name]) > 500 for hop in ROUTE)
    assert judgement.letters_expected == judgement.letters_found > len(KINDS)


def test_the_same_seed_gives_the_same_plan(run: Run) -> None:
    again = plan.make(faults=25, seed=5, rate=20.0)
    assert again == run.plan
    assert again.fingerprint != plan.make(faults=25, seed=6, rate=20.0).fingerprint


@pytest.mark.parametrize("seed", range(20))
def test_every_plan_has_every_kind_at_its_share_and_hits_somebody(seed: int) -> None:
    made = plan.make(faults=30, seed=seed, rate=1.0)
    assert len(made.faults) == 30
    assert made.kinds.keys() >= {"worker-kill", "worker-pause", "broker-kill", *plan.INPUT}
    crew = set(made.workers)
    for fault in made.faults:
        if fault.kind == "worker-join":
            assert fault.worker not in crew
            crew.add(fault.worker)
        elif fault.worker:
            assert fault.worker in crew, fault
            crew -= {fault.worker} if fault.kind == "worker-leave" else set()
        assert 1 <= len(crew) <= plan.MOST_WORKERS


@pytest.mark.parametrize(("faults", "workers"), [(0, 2), (1, 0), (1, 6)])
def test_a_plan_without_sense_is_refused(faults: int, workers: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        plan.make(faults, 1, workers)


def test_every_poison_is_on_a_tape_and_no_order_asks_for_a_verdict_twice(run: Run) -> None:
    reasons = {sent.reason for sent in run.plan.tape}
    assert {"no business", "no value", "is a repeat", "$.data.amount"} <= reasons
    orders = [sent.order_id for sent in run.plan.tape if sent.order_id]
    assert len(orders) == len(set(orders))


def test_feedback_is_on_the_tape_in_all_its_kinds_and_its_repeats_are_accepted(run: Run) -> None:
    said: dict[str, list[str]] = defaultdict(list)
    for sent in run.plan.tape:
        for kind in WORDS.values():
            if f'"type":"{kind.__name__}"'.encode() in (sent.value or b"") and "$." not in sent.reason:
                said[kind.__name__].append(decode(sent.value).id)
                assert not sent.reason or sent.topic == topics.RELAY_BY_ADDRESS.name
    assert said.keys() == {kind.__name__ for kind in WORDS.values()}
    everything = [one for ids in said.values() for one in ids]
    assert len(everything) > len(set(everything)) > 50
    frauds = [unpack(record.value or b"").frauds for record in run.log[topics.HISTORY_CARD.name]]
    assert sum(map(bool, frauds)) > 20


def test_a_word_that_never_reached_a_history_is_found(run: Run) -> None:
    changelog = topics.HISTORY_ADDRESS.name
    place = next(n for n, record in enumerate(run.log[changelog]) if unpack(record.value or b"").frauds)
    innocent = replace(unpack(run.log[changelog][place].value or b""), frauds=())
    found = judged(run, changelog, lambda records: changed(records, place, value=pack(innocent)))
    assert failed(found) == {"histories_wrong"}


STRICT = Scorecard(version="strict", owner="me", reason="test", bands=(Band(at=-1000, outcome="block", priority=3),))


def judged_by_strict(run: Run, known: bool, said: str = "strict", active: bool = True) -> Judgement:
    """Judge the run after one cleared order was judged by a scorecard that blocks everything."""
    log = {name: list(records) for name, records in run.log.items()}
    published = PolicyPublished(id="policy/strict", source="/policy", subject="strict", time=TIME, data=STRICT)
    chosen = activation(Activation(active="strict", owner="me", reason="test"), TIME)
    events = [event for event, is_there in ((published, known), (chosen, active)) if is_there]
    log[topics.FRAUD_POLICIES.name] += [
        Record(0, 10**6, key(event).encode(), encode(event), {}, NOW) for event in events
    ]
    place = next(n for n in range(len(log[VERDICTS])) if b'"type":"NoFraudDetected"' in (log[VERDICTS][n].value or b""))
    cleared = decode(log[VERDICTS][place].value)
    assert isinstance(cleared, NoFraudDetected)
    data = replace(cleared.data, scorecard_version=said, outcome="block", priority=3, reasons=(), score=0)
    blocked = PossibleFraud(id=cleared.id, source=cleared.source, subject=cleared.subject, time=cleared.time, data=data)
    changed(log[VERDICTS], place, value=encode(blocked))
    held = encode(delivery.on_verdict(blocked))
    outcome = next(n for n, one in enumerate(log[DELIVERIES]) if f'"{cleared.id}"'.encode() in (one.value or b""))
    changed(log[DELIVERIES], outcome, value=held)
    return judge(run.plan, log)


def test_an_order_is_judged_again_by_the_scorecard_that_its_verdict_names(run: Run) -> None:
    assert failed(judged_by_strict(run, known=True)) == set()
    assert failed(judged_by_strict(run, known=False)) == {"versions_unknown", "not_reproducible"}
    assert failed(judged_by_strict(run, known=True, active=False)) == {"versions_not_chosen"}
    assert failed(judged_by_strict(run, known=True, said=PANEL.active.version)) == {"not_reproducible"}


def test_a_takeover_lasts_until_every_partition_has_moved_on() -> None:
    takeovers = Takeovers("nowhere", "nobody")
    takeovers.killed("worker-kill")
    now = time.monotonic()
    takeovers.take(now - 60, {0: 10, 1: 10})  # asked before the kill: says nothing
    takeovers.take(now, {0: 12, 1: 12})
    takeovers.take(now, {0: 13, 1: 12})
    assert takeovers.seconds == {}
    takeovers.take(now, {0: 13, 1: 15})
    takeovers.killed("worker-lost")
    takeovers.spoilt()
    takeovers.take(time.monotonic(), {0: 20, 1: 20})
    takeovers.take(time.monotonic(), {0: 21, 1: 21})
    assert takeovers.summary().keys() == {"worker-kill"}
    assert takeovers.summary()["worker-kill"]["measured"] == 1


def test_a_lost_verdict_is_missed(run: Run) -> None:
    place = an_order(run, VERDICTS)
    found = judged(run, VERDICTS, lambda records: records[:place] + records[place + 1 :])
    assert {"verdicts_missing", "deliveries_wrong", "not_reproducible"} <= failed(found)
    assert found.count("verdicts_missing") == 1


def test_a_repeated_verdict_is_found(run: Run) -> None:
    place = an_order(run, VERDICTS)
    twin = run.log[VERDICTS][place]._replace(offset=10**6)
    found = judged(run, VERDICTS, lambda records: [*records, twin])
    assert {"verdicts_repeated", "not_reproducible"} <= failed(found)


def test_a_verdict_nobody_asked_for_is_found(run: Run) -> None:
    place = an_order(run, VERDICTS)
    order_id = decode(run.log[VERDICTS][place].value).subject.encode()
    forged = (run.log[VERDICTS][place].value or b"").replace(order_id, b"nobody-1")
    found = judged(run, VERDICTS, lambda records: [*records, records[place]._replace(value=forged, offset=10**6)])
    assert {"verdicts_unasked", "deliveries_wrong"} <= failed(found)


@pytest.mark.parametrize("topic", [*(hop.reads.name for hop in ROUTE[1:]), VERDICTS])
def test_one_changed_number_in_one_record_is_found(run: Run, topic: str) -> None:
    place = an_order(run, topic)
    value = (run.log[topic][place].value or b"").replace(b'"customer.orders_1h":1.0', b'"customer.orders_1h":1.5')
    assert value != run.log[topic][place].value
    found = judged(run, topic, lambda records: changed(records, place, value=value))
    assert "not_reproducible" in failed(found)


def test_two_records_in_the_wrong_order_are_found(run: Run) -> None:
    def swap(records: list[Record]) -> list[Record]:
        """Two neighbours that came from one partition of the topic before."""
        first = next(n for n in range(len(records) - 1) if records[n].key == records[n + 1].key)
        one, two = records[first : first + 2]
        records[first] = two._replace(offset=one.offset)
        records[first + 1] = one._replace(offset=two.offset)
        return records

    assert "out_of_order" in failed(judged(run, topics.RELAY_BY_DEVICE.name, swap))


def test_a_lost_time_stamp_is_found(run: Run) -> None:
    found = judged(run, VERDICTS, lambda records: changed(records, an_order(run, VERDICTS), appended=NOW + 10**6))
    assert failed(found) == {"record_times_wrong"}


def test_a_wrong_delivery_is_found(run: Run) -> None:
    value = run.log[DELIVERIES][0].value or b""
    outcome, other = (b"Released", b"Held") if b"DeliveryReleased" in value else (b"Held", b"Released")
    wrong = value.replace(outcome, other)
    found = judged(run, DELIVERIES, lambda records: changed(records, 0, value=wrong))
    assert failed(found) == {"deliveries_wrong"}


@pytest.mark.parametrize("tamper", [lambda records: records[1:], lambda records: [*records, records[0]]])
def test_a_lost_or_a_repeated_delivery_is_found(run: Run, tamper: Callable[[list[Record]], list[Record]]) -> None:
    found = judged(run, DELIVERIES, tamper)
    assert failed(found) == {"deliveries_wrong"}
    assert found.count("deliveries_wrong") == 1


def test_an_alarm_said_twice_or_about_nothing_is_found(run: Run) -> None:
    def alarm(offset: int) -> Record:
        overdue = Overdue(
            order_id="late-1",
            customer_id="late",
            record=f"{topics.CUSTOMER_EVENTS.name}, partition 0, offset {offset}",
            since=TIME,
            longer_than_s=15,
            refused=None,
        )
        event = VerdictOverdue(id="delivery/late-1/overdue", source="/t", subject="late-1", time=TIME, data=overdue)
        return Record(0, 10**6, b"late", encode(event), {}, NOW)

    once = judged(run, DELIVERIES, lambda records: [*records, alarm(0)])
    assert once.clean
    assert once.alarms == 1
    assert failed(judged(run, DELIVERIES, lambda records: [*records, alarm(0), alarm(0)])) == {"alarms_wrong"}
    assert failed(judged(run, DELIVERIES, lambda records: [*records, alarm(10**6)])) == {"alarms_wrong"}


@pytest.mark.parametrize("tamper", [lambda records: records[1:], lambda records: [*records, records[0]]])
def test_a_lost_or_a_repeated_dead_letter_is_found(run: Run, tamper: Callable[[list[Record]], list[Record]]) -> None:
    found = judged(run, LETTERS, tamper)
    assert failed(found) == {"dead_letters_wrong"}
    assert found.letters_found != found.letters_expected


@pytest.mark.parametrize(
    "fields",
    [
        {"value": b"not what came"},
        {"key": b"not its key"},
        {"headers": {}},
        {"headers": {"reason": b"no reason", "service": b"test"}},
    ],
)
def test_a_changed_dead_letter_is_found(run: Run, fields: dict[str, object]) -> None:
    headers = fields.get("headers")
    if headers and isinstance(headers, dict):
        fields = {"headers": {**run.log[LETTERS][0].headers, **headers}}
    found = judged(run, LETTERS, lambda records: changed(records, 0, **fields))
    assert failed(found) == {"dead_letters_wrong"}


def test_a_good_order_among_the_dead_letters_is_found(run: Run) -> None:
    customers = topics.CUSTOMER_EVENTS.name
    good = next(one for one in run.log[customers] if run.plan.tape[int(one.headers[NUMBER])].order_id)
    headers = {**run.log[LETTERS][0].headers, "topic": customers.encode()}
    headers |= {"partition": str(good.partition).encode(), "offset": str(good.offset).encode()}
    letter = Record(0, 10**6, good.key, good.value, headers, NOW)
    assert failed(judged(run, LETTERS, lambda records: [*records, letter])) == {"dead_letters_wrong"}


@pytest.mark.parametrize("hop", ROUTE, ids=lambda hop: hop.entity)
def test_a_history_that_is_not_what_the_log_gives_is_found(run: Run, hop: object) -> None:
    changelog = hop.changelog.name  # type: ignore[attr-defined]
    other = run.log[changelog][1].value
    assert failed(judged(run, changelog, lambda records: changed(records, 0, value=other))) == {"histories_wrong"}
    stranger = Record(0, 10**6, b"stranger", other, {}, NOW)
    assert failed(judged(run, changelog, lambda records: [*records, stranger])) == {"histories_wrong"}


@pytest.mark.parametrize("tamper", [lambda records: records[:-1], lambda records: [*records, records[-1]]])
def test_a_load_that_is_not_the_planned_one_is_found(run: Run, tamper: Callable[[list[Record]], list[Record]]) -> None:
    assert "input_wrong" in failed(judged(run, topics.CUSTOMER_EVENTS.name, tamper))
