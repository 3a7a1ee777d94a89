"""Keeps a worker's scorecards in step with ``fraud.policies``.

The topic is read to its end before the worker asks for any partition, so that it never judges by a scorecard that is
out of date since before it started. From then on a thread of its own follows it: a panel is made there, completely, and
takes effect with the next transaction that begins (:mod:`streams.fraud`). A record that cannot be used changes nothing:
it is logged, counted, and the panel there is goes on.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator

from confluent_kafka import Message

from order_fraud import policies
from order_fraud.judge import Panel
from order_fraud.policies import ACTIVE_KEY, Refused
from order_fraud.topics import FRAUD_POLICIES
from scorecards import PANEL
from streams.observer import Observer
from streams.policy_feed import PLACE, Feed
from streams.settings import Settings
from streams.state.restore import replay, spans

log = logging.getLogger(__name__)

JOIN_S = 6.0

Judging = Callable[[], Panel]
"""Says who judges from now on."""


class PoliciesUnusable(RuntimeError):
    """It cannot be known which scorecard judges; the message says why, and the remedy."""


def bundled() -> Panel:
    """Return the panel that comes with the code."""
    return PANEL


@contextlib.contextmanager
def following(settings: Settings, observer: Observer) -> Iterator[Judging]:
    """Read all policies, and follow them until the end of the ``with`` block.

    What it gives raises :class:`PoliciesUnusable` once the topic cannot be followed any more: a worker that no longer
    hears of changes must not judge.

    Raises:
        PoliciesUnusable: nothing came from the topic, or it does not say which scorecard judges.
        KafkaException: the broker cannot be reached, or has no such topic.
    """
    if "fraud" not in settings.services:
        yield bundled
        return
    follower = Follower(settings, observer)
    follower.catch_up()
    over = threading.Event()
    thread = threading.Thread(target=follower.follow, args=(over,), name="policies", daemon=True)
    thread.start()
    try:
        yield follower.judging
    finally:
        over.set()
        thread.join(JOIN_S)


class Follower:
    """What a worker knows of the policies. One thread changes it, another asks."""

    def __init__(self, settings: Settings, observer: Observer) -> None:
        self._settings = settings
        self._observer = observer
        self._known = policies.initial(PANEL)
        self._next_offset = 0
        self._refused: dict[bytes | None, tuple[int, Refused]] = {}
        self._failure: BaseException | None = None

    def judging(self) -> Panel:
        """Return who judges now.

        Raises:
            PoliciesUnusable: the topic cannot be followed any more.
        """
        if self._failure is not None:
            raise PoliciesUnusable(f"{FRAUD_POLICIES.name} cannot be followed any more") from self._failure
        return self._known.panel

    def catch_up(self) -> None:
        """Read everything that is there now.

        Raises:
            PoliciesUnusable, KafkaException: see :func:`following`.
        """
        place = spans(self._settings.kafka, [PLACE])
        self._next_offset = place[PLACE][0]
        try:
            replay(self._settings.kafka, {PLACE: self}, place, lambda records, partitions_to_go: None)
        except TimeoutError as error:
            raise PoliciesUnusable(str(error)) from error
        self._make_sure()
        panel = self._known.panel
        log.info("%d scorecards known; %s", len(self._known.scorecards), _names(panel))
        self._observer.judging(panel)

    def load(self, records: Iterable[Message]) -> None:
        """Take records in offset order."""
        for record in records:
            self._take(record)

    def _take(self, record: Message) -> None:
        key, offset = record.key(), record.offset() or 0
        self._next_offset = offset + 1
        try:
            event = policies.receive(key, record.value())
            self._known = self._known.apply(event)  # one assignment: who asks gets the old panel or the new one
        except Refused as error:
            self._refused[key] = (offset, error)
            still = f"{_names(self._known.panel)} as before"
            log.error("%s, offset %d is refused (%s): %s; %s", *PLACE[:1], offset, error.why, error, still)
            self._observer.policy_refused(error.why)
        else:
            self._refused.pop(key, None)

    def _make_sure(self) -> None:
        """See that all who read the topic anew end with the panel of those who have followed it.

        Compaction keeps the last record of a key. If that is one which everybody refuses, the good one before it, by
        which the others judge, may be gone.
        """
        if ACTIVE_KEY.encode() in self._refused and self._known.activated is None:
            offset, error = self._refused[ACTIVE_KEY.encode()]
            raise PoliciesUnusable(
                f"which scorecard judges cannot be known: the record at offset {offset} of {FRAUD_POLICIES.name} says "
                f"so but is refused ({error}), and what it replaced is gone. Activate a version again: python -m "
                "producers.policy activate"
            )
        panel = self._known.panel
        for judge in (panel.active, *panel.shadows):
            offset, refused = self._refused.get(f"policy/{judge.version}".encode(), (0, None))
            if refused is not None and judge.version not in self._known.published:
                raise PoliciesUnusable(
                    f"version {judge.version!r} that comes with this release is not the one at offset {offset} of "
                    f"{FRAUD_POLICIES.name}: give it another version in plugins/scorecards, or, if the record is the "
                    "wrong one, put it right with python -m producers.policy publish --bundled"
                )

    def follow(self, over: threading.Event) -> None:
        """Take what comes, until ``over``."""
        try:
            with contextlib.closing(Feed(self._settings, self._next_offset)) as feed:
                while not over.is_set():
                    record = feed.poll()
                    if record is not None:
                        self._hear(record)
        except Exception as error:  # whatever it is, judging() says so and the worker ends
            log.exception("%s cannot be followed any more", FRAUD_POLICIES.name)
            self._failure = error

    def _hear(self, record: Message) -> None:
        before = self._known.panel
        self._take(record)
        if self._known.panel != before:
            log.info("offset %d of %s: %s", record.offset(), FRAUD_POLICIES.name, _names(self._known.panel))
            self._observer.judging(self._known.panel)


def _names(panel: Panel) -> str:
    trial = ", ".join(judge.version for judge in panel.shadows)
    return f"scorecard {panel.active.version} judges" + (f", on trial: {trial}" if trial else "")
