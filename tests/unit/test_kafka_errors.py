"""Errors in place of records: those that pass by themselves are waited for, in every reader; all others are raised.

Kafka's client is stood in for here: no broker can be asked for a certain error.
"""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from kafka_access import Refused, refusal
from lake import policies
from order_fraud.topics import FRAUD_POLICIES
from streams import policy_feed
from streams.passing import passes
from streams.policy_feed import LOST_S, PLACE, Feed, FeedLost
from streams.polling import Poller
from streams.state import restore

PASSING = (
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._AUTHENTICATION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.REQUEST_TIMED_OUT,
)
HOPELESS = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._BAD_MSG)
TOPIC = FRAUD_POLICIES.name


def record(offset: int) -> Message:
    return Message(topic=TOPIC, partition=0, offset=offset, key=b"k", value=b"v")  # type: ignore[call-arg]


def instead(code: int, offset: int | None = None) -> Message:
    """What comes in place of a record."""
    place = {} if offset is None else {"offset": offset}
    return Message(topic=TOPIC, partition=0, error=KafkaError(code), **place)  # type: ignore[call-arg]


class Scripted:
    """A consumer that gives what it was told to, one message at a time, and then nothing."""

    def __init__(self, *messages: Message) -> None:
        self._messages = list(messages)
        self.end: int | KafkaError = 0

    def poll(self, timeout: float) -> Message | None:
        return self._messages.pop(0) if self._messages else None

    def consume(self, number: int, timeout: float) -> list[Message]:
        found = self.poll(timeout)
        return [] if found is None else [found]

    def get_watermark_offsets(self, place: object, timeout: float) -> tuple[int, int]:
        if isinstance(self.end, KafkaError):
            raise KafkaException(self.end)
        return 0, self.end

    def assign(self, places: object) -> None: ...

    def close(self) -> None: ...


def test_the_client_marks_none_of_them_as_retriable() -> None:
    """Should it do so one day, the list can go."""
    for code in (*PASSING, *HOPELESS):
        error = instead(code).error()
        assert error is not None
        assert not error.retriable()
        assert passes(error) == (code in PASSING)


Reading = Callable[[Scripted], list[int]]


@pytest.fixture(params=["feed", "poller", "restore", "publisher"])
def reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Reading:
    """Read to the end as one of the readers does; return the offsets of the records that it took."""

    def by_feed(script: Scripted) -> list[int]:
        monkeypatch.setattr(policy_feed, "Consumer", lambda config: script)
        feed = Feed(SimpleNamespace(kafka="", instance=""), 0)  # type: ignore[arg-type]
        return [found.offset() or 0 for found in (feed.poll() for _ in range(9)) if found is not None]

    def by_poller(script: Scripted) -> list[int]:
        poller = Poller.__new__(Poller)
        poller._brokers = poller._group_id = ""
        poller._next, poller._ends = {PLACE: 0}, {}
        batches = poller._group(script._messages)
        return [found.offset() or 0 for batch in batches for found in batch.records]

    def by_restore(script: Scripted) -> list[int]:
        monkeypatch.setattr(restore, "Consumer", lambda config: script)
        taken: list[int] = []
        table = SimpleNamespace(load=lambda records: taken.extend(one.offset() for one in records))
        restore.replay("", {PLACE: table}, {PLACE: (0, 2)}, lambda records, to_go: None)
        return taken

    def by_publisher(script: Scripted) -> list[int]:
        return [found.offset() or 0 for found in policies._to_the_end(script)]  # type: ignore[arg-type]

    found: Reading = locals()[f"by_{request.param}"]
    return found


@pytest.mark.parametrize("code", PASSING)
def test_what_passes_is_waited_for(reading: Reading, code: int) -> None:
    end = instead(KafkaError._PARTITION_EOF, 2)
    assert reading(Scripted(record(0), instead(code), record(1), instead(code), end)) == [0, 1]


@pytest.mark.parametrize("code", HOPELESS)
def test_any_other_is_raised(reading: Reading, code: int) -> None:
    with pytest.raises((KafkaException, Refused)) as raised:
        reading(Scripted(record(0), instead(code), instead(KafkaError._PARTITION_EOF, 1)))
    if isinstance(raised.value, Refused):
        assert str(raised.value) == str(refusal(KafkaError(code), "", TOPIC, "g"))
    else:
        assert raised.value.args[0].code() == code


class Clock:
    """Time that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock()
    monkeypatch.setattr(policy_feed, "time", made)
    return made


def after(clock: Clock, feed: Feed, seconds: float) -> None:
    """Poll every second for so long."""
    for _ in range(int(seconds)):
        clock.now += 1
        assert feed.poll() is None


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> tuple[Scripted, Feed]:
    script = Scripted()
    monkeypatch.setattr(policy_feed, "Consumer", lambda config: script)
    return script, Feed(SimpleNamespace(kafka="", instance=""), 0)  # type: ignore[arg-type]


def test_an_outage_is_not_counted_against_a_record_that_was_on_its_way(
    clock: Clock, followed: tuple[Scripted, Feed]
) -> None:
    script, feed = followed
    script.end = 1
    after(clock, feed, 6)  # noted: a record is there
    script.end = KafkaError(KafkaError._TRANSPORT)
    after(clock, feed, LOST_S + 10)
    script.end = 1
    after(clock, feed, LOST_S - 5)  # a broker answers again, and the record has its time
    with pytest.raises(FeedLost, match="nothing comes from 0 on"):
        after(clock, feed, 20)


def test_a_topic_that_is_gone_is_told_from_an_outage(clock: Clock, followed: tuple[Scripted, Feed]) -> None:
    script, feed = followed
    script.end = KafkaError(KafkaError._UNKNOWN_PARTITION)
    with pytest.raises(FeedLost, match="was it deleted"):
        after(clock, feed, LOST_S + 20)
