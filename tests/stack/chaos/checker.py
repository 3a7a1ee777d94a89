"""The judge: knows the plan and the kernel, reads what lies on the topics, and knows nothing of the streams code.

Step 1  the input is what was planned, so that everything after it means something
Step 2  each order has one verdict, and no other verdict is there
Step 3  each verdict has one delivery outcome, and it is the one that the verdict asks for
Step 4  each verdict names scorecards that exist, and by them the hops folded again give the same records, in the same
        order with the same times, and the same histories
Step 5  each poison and each repeat is a dead letter, byte for byte, with reason and origin, and nothing else is
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from order_fraud import topics
from order_fraud.events import (
    BadEvent,
    DeliveryHeld,
    DeliveryReleased,
    NoFraudDetected,
    PossibleFraud,
    VerdictOverdue,
    decode,
)
from order_fraud.relay import ROUTE
from tests.stack.chaos.panels import Panels
from tests.stack.chaos.plan import Plan
from tests.stack.chaos.refold import Fold, differing, fold, histories_differing, misplaced
from tests.stack.chaos.tape import Sent
from tests.stack.chaos.topics import Log, Record

NUMBER = "chaos"
"""Header of a sent record: its number on the tape. What the streams write has no such header."""

WRITTEN = tuple(dict.fromkeys([*(hop.reads.name for hop in ROUTE[1:]), topics.FRAUD_VERDICTS.name]))
"""Topics that the hops write to."""

_Place = tuple[str, int, int]


@dataclass
class Judgement:
    """What is wrong, by the name of the check; every sentence names the record or order.

    Attributes:
        wrong: check to sentences; a check without any is passed.
        orders: that had to be decided.
        letters_expected: dead letters that the plan asks for.
        letters_found: dead letters that are there.
        alarms: of overdue verdicts.
        scorecards: how many verdicts each gave, by its version.
    """

    wrong: dict[str, list[str]] = field(default_factory=dict)
    orders: int = 0
    letters_expected: int = 0
    letters_found: int = 0
    alarms: int = 0
    scorecards: dict[str, int] = field(default_factory=dict)

    def note(self, check: str, sentences: Iterable[str]) -> None:
        """Add the outcome of one check."""
        self.wrong.setdefault(check, []).extend(sentences)

    def count(self, check: str) -> int:
        """How much a check has found."""
        return len(self.wrong[check])

    @property
    def clean(self) -> bool:
        """Whether every check is passed."""
        return not any(self.wrong.values())


def judge(plan: Plan, log: Log) -> Judgement:
    """Judge the topics after a run of the plan."""
    found = Judgement(orders=sum(bool(sent.order_id) for sent in plan.tape))
    places = _input(found, plan, log)
    _verdicts(found, plan, log)
    _deliveries(found, log)
    _alarms(found, log, places)
    panels = Panels(log)
    found.scorecards = panels.verdicts
    done = fold(log, panels)
    found.note("versions_unknown", _unknown(panels))
    found.note("versions_not_chosen", _unchosen(panels))
    found.note("not_reproducible", differing(done, log, WRITTEN, NUMBER))
    overtaken, mistimed = misplaced(done, log, WRITTEN)
    found.note("out_of_order", overtaken)
    found.note("record_times_wrong", mistimed)
    found.note("histories_wrong", histories_differing(done, log))
    _dead_letters(found, log, places, done)
    return found


def _input(found: Judgement, plan: Plan, log: Log) -> dict[_Place, Sent]:
    """Find every sent record on its topic; return who lies where."""
    places: dict[_Place, Sent] = {}
    times: Counter[int] = Counter()
    wrong: list[str] = []
    for name, records in log.items():
        last: dict[int, int] = {}
        for record in records:
            if NUMBER not in record.headers:
                if name == topics.CUSTOMER_EVENTS.name:
                    wrong.append(f"{name}[{record.partition}]@{record.offset} was sent by nobody")
                continue
            sent = plan.tape[int(record.headers[NUMBER])]
            times[sent.number] += 1
            places[name, record.partition, record.offset] = sent
            if (name, record.key, record.value) != (sent.topic, sent.key, sent.value):
                wrong.append(f"record {sent.number} of the tape is not as it was sent")
            if last.get(record.partition, -1) > sent.number:
                wrong.append(f"record {sent.number} of the tape lies behind a later one")
            last[record.partition] = sent.number
    wrong += [
        f"record {sent.number} of the tape is there {times[sent.number]} times"
        for sent in plan.tape
        if times[sent.number] != 1
    ]
    found.note("input_wrong", wrong)
    return places


def _written(log: Log, topic: str) -> Iterable[Record]:
    return (record for record in log[topic] if NUMBER not in record.headers)


def _verdicts(found: Judgement, plan: Plan, log: Log) -> None:
    wanted = {sent.order_id for sent in plan.tape if sent.order_id}
    verdicts: Counter[str] = Counter()
    strange = []
    for record in _written(log, topics.FRAUD_VERDICTS.name):
        try:
            event = decode(record.value)
        except BadEvent as error:
            strange.append(f"{_at(topics.FRAUD_VERDICTS.name, record)} is no event: {error}")
            continue
        if isinstance(event, PossibleFraud | NoFraudDetected) and event.data.order_id in wanted:
            verdicts[event.data.order_id] += 1
        else:
            strange.append(f"{_at(topics.FRAUD_VERDICTS.name, record)} is {event.id}, which no order asked for")
    found.note(
        "verdicts_missing", (f"order {order_id} has no verdict" for order_id in sorted(wanted - verdicts.keys()))
    )
    repeated = (f"order {order_id} has {times} verdicts" for order_id, times in verdicts.items() if times > 1)
    found.note("verdicts_repeated", repeated)
    found.note("verdicts_unasked", strange)


def _deliveries(found: Judgement, log: Log) -> None:
    """Compare outcomes with verdicts; alarms of the watchdog are no outcomes."""
    wanted: dict[str, str] = {}
    for record in _written(log, topics.FRAUD_VERDICTS.name):
        try:
            event = decode(record.value)
        except BadEvent:
            continue  # said above
        wanted[event.subject] = "DeliveryReleased" if isinstance(event, NoFraudDetected) else "DeliveryHeld"
    outcomes: dict[str, list[str]] = {}
    wrong = []
    for record in _written(log, topics.DELIVERY_EVENTS.name):
        where = _at(topics.DELIVERY_EVENTS.name, record)
        try:
            event = decode(record.value)
        except BadEvent as error:
            wrong.append(f"{where} is no event: {error}")
            continue
        if not isinstance(event, DeliveryReleased | DeliveryHeld):
            continue
        order_id = event.data.order_id
        outcomes.setdefault(order_id, []).append(type(event).__name__)
        names = (event.subject, event.data.cause, record.key)
        if names != (order_id, f"verdict/{order_id}", event.data.customer_id.encode()):
            wrong.append(f"{where} of order {order_id} has subject, cause and key {names}")
    for order_id in sorted(wanted.keys() | outcomes.keys()):
        expected = [wanted[order_id]] if order_id in wanted else []
        if outcomes.get(order_id, []) != expected:
            wrong.append(f"order {order_id}: delivery said {outcomes.get(order_id, [])} instead of {expected}")
    found.note("deliveries_wrong", wrong)


def _alarms(found: Judgement, log: Log, places: dict[_Place, Sent]) -> None:
    """Which orders are overdue depends on the machine; that each record is reported once, and was sent, does not.

    A repeat of an order is a record of its own: if it waits for its refusal for too long, it is reported as well.
    """
    sent = {f"{topic}, partition {partition}, offset {offset}" for topic, partition, offset in places}
    alarms: Counter[tuple[str, str]] = Counter()
    wrong = []
    for record in _written(log, topics.DELIVERY_EVENTS.name):
        try:
            event = decode(record.value)
        except BadEvent:
            continue  # said above
        if isinstance(event, VerdictOverdue):
            alarms[event.id, event.data.record] += 1
            if event.data.record not in sent:
                wrong.append(f"{event.id} is about {event.data.record}, which nobody sent")
    wrong += [f"{alarm} was said {times} times of {record}" for (alarm, record), times in alarms.items() if times > 1]
    found.alarms = alarms.total()
    found.note("alarms_wrong", wrong)


def _unknown(panels: Panels) -> Iterable[str]:
    return (
        f"the verdict on order {order_id} names scorecard {version!r}, which nobody published"
        for order_id, version in sorted(panels.unknown.items())
    )


def _unchosen(panels: Panels) -> Iterable[str]:
    return (
        f"the verdict on order {order_id} names scorecard {active!r} with {shadows} on trial, which nobody activated so"
        for order_id, (active, *shadows) in sorted(panels.unchosen.items())
    )


def _dead_letters(found: Judgement, log: Log, places: dict[_Place, Sent], done: Fold) -> None:
    """Compare dead letters with the plan, and their reasons with those of the fold."""
    expected = {place: sent for place, sent in places.items() if sent.reason}
    letters = log[topics.DEAD_LETTERS.name]
    found.letters_expected, found.letters_found = len(expected), len(letters)
    origins: Counter[_Place] = Counter()
    wrong = []
    for letter in letters:
        where = _at(topics.DEAD_LETTERS.name, letter)
        missing = {"reason", "topic", "partition", "offset", "service"} - letter.headers.keys()
        if missing:
            wrong.append(f"{where} lacks the headers {sorted(missing)}")
            continue
        headers = {name: text.decode() for name, text in letter.headers.items()}
        place = (headers["topic"], int(headers["partition"]), int(headers["offset"]))
        origins[place] += 1
        shown = f"{where} from {place[0]}[{place[1]}]@{place[2]}"
        if place not in expected:
            wrong.append(f"{shown} was not to be refused: {headers['reason']}")
            continue
        sent = expected[place]
        if (letter.key, letter.value) != (sent.key, sent.value):
            wrong.append(f"{shown} is not byte for byte what was sent")
        if sent.reason not in headers["reason"]:
            wrong.append(f"{shown} gives the reason {headers['reason']!r}, without {sent.reason!r}")
        if place in done.refused and done.refused[place][:200] != headers["reason"][:200]:
            wrong.append(f"{shown} gives the reason {headers['reason']!r}, the kernel {done.refused[place]!r}")
    for place in expected.keys() | origins.keys():
        if origins[place] != 1:
            wrong.append(f"{place[0]}[{place[1]}]@{place[2]} has {origins[place]} dead letters instead of one")
    wrong += [
        f"{place[0]}[{place[1]}]@{place[2]} is refused by the kernel, not by the plan: {reason}"
        for place, reason in done.refused.items()
        if place not in expected
    ]
    found.note("dead_letters_wrong", wrong)


def _at(topic: str, record: Record) -> str:
    return f"{topic}[{record.partition}]@{record.offset}"
