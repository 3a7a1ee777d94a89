"""Whether a worker makes progress: for how long the oldest unprocessed record of each partition has been that.

A backlog that shrinks is work, not illness, so the age of a partition starts again whenever its oldest unprocessed
offset moves on. Whatever could hang (an agent, the event loop, the Kafka thread) only has to do nothing to be found
out: ages are computed when they are asked for, by another thread, and nobody has to raise a flag.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from streams.observer import Place

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """A partition with unprocessed records.

    Attributes:
        topic: of the partition.
        partition: its number.
        offset: of its oldest unprocessed record.
        seconds: for how long that has been the oldest.
    """

    topic: str
    partition: int
    offset: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Restoring:
    """Histories that are being read back.

    Attributes:
        records: read so far.
        partitions_to_go: not yet read to their end.
        seconds: since the first word about it.
        idle_seconds: since either number changed.
    """

    records: int
    partitions_to_go: int
    seconds: float
    idle_seconds: float


@dataclass(frozen=True, slots=True)
class Health:
    """What is to be said about a worker's progress.

    Attributes:
        reasons: why it makes none, in words; empty if it does.
        oldest: the partition that has stood for longest, None if nothing is unprocessed.
        restoring: histories being read back, None if none are.
        assigned: number of partitions, None before the group has given any word.
        ready: whether it has its partitions and their histories.
    """

    reasons: tuple[str, ...]
    oldest: Standing | None
    restoring: Restoring | None
    assigned: int | None
    ready: bool


@dataclass(slots=True)
class _Facts:
    heard: float
    assigned: frozenset[Place] | None = None
    ready: bool = False
    in_hand: set[Place] = field(default_factory=set)
    standing: dict[Place, tuple[int, float]] = field(default_factory=dict)
    ends: dict[Place, int] = field(default_factory=dict)
    answered: dict[Place, float] = field(default_factory=dict)
    trouble: dict[Place, str] = field(default_factory=dict)
    reached: float | None = None
    unreached: str = ""
    restoring: tuple[int, int] | None = None
    restore_began: float = 0.0


class Progress:
    """Facts from the transport, and the judgement on them. Every method may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._facts = _Facts(heard=clock())

    def assigned(self, places: Iterable[Place]) -> None:
        """These partitions, and no others, are the worker's; their histories come next."""
        with self._lock:
            facts = self._facts
            facts.heard = self._clock()
            facts.assigned = frozenset((topic, partition) for topic, partition in places)
            facts.ready = False
            facts.in_hand &= facts.assigned
            facts.standing = {place: since for place, since in facts.standing.items() if place in facts.assigned}
            facts.answered = {place: at for place, at in facts.answered.items() if place in facts.assigned}
            facts.reached, facts.unreached = None, ""

    def ready(self) -> None:
        """The partitions and their histories are there."""
        with self._lock:
            self._facts.ready, self._facts.restoring, self._facts.heard = True, None, self._clock()

    def restoring(self, records: int, partitions_to_go: int) -> None:
        """So much of the changelogs has been read."""
        with self._lock:
            facts = self._facts
            if facts.restoring is None:
                facts.restore_began = self._clock()
            if facts.restoring != (records, partitions_to_go):
                facts.restoring, facts.heard = (records, partitions_to_go), self._clock()
            facts.ready = False

    def restored(self) -> None:
        """All of the changelogs has been read."""
        with self._lock:
            self._facts.restoring, self._facts.heard = None, self._clock()

    def polled(self, places: Mapping[Place, int]) -> None:
        """Records from these offsets on are in the agents' hands."""
        with self._lock:
            for place, offset in places.items():
                self._facts.in_hand.add(place)
                self._note(place, offset)

    def committed(self, places: Iterable[Place]) -> None:
        """What was in hand of these partitions is processed."""
        with self._lock:
            self._facts.heard = self._clock()
            for place in places:
                self._facts.in_hand.discard(place)
                self._facts.standing.pop(place, None)

    def aborted(self, places: Iterable[Place]) -> None:
        """What was in hand of these partitions comes again: no progress."""
        with self._lock:
            self._facts.in_hand.difference_update(places)

    def lag(self, places: Mapping[Place, tuple[int, int]]) -> None:
        """The broker told where partitions end; the worker stands at a position in each."""
        with self._lock:
            self._facts.heard = self._clock()
            for place, (position, end) in places.items():
                if place in self._facts.in_hand:
                    continue  # its oldest is the first of the batch
                if position < max(end, self._facts.ends.get(place, 0)):
                    self._note(place, position)
                else:
                    self._facts.standing.pop(place, None)

    @property
    def places(self) -> frozenset[Place]:
        """The worker's partitions."""
        return self._facts.assigned or frozenset()

    def probed(self, ends: Mapping[Place, int], trouble: Mapping[Place, str]) -> None:
        """A client apart from the worker's own asked the broker for the ends of partitions.

        Args:
            ends: where each partition ends.
            trouble: why the broker gave no answer for a partition.
        """
        with self._lock:
            facts, now = self._facts, self._clock()
            facts.ends.update(ends)
            facts.trouble = dict(trouble)
            facts.answered.update(dict.fromkeys(ends, now))
            for place in trouble:
                facts.answered.setdefault(place, now)

    def reached(self, trouble: str = "") -> None:
        """A client apart from the worker's own, which has no partitions, asked whether the broker is there.

        Args:
            trouble: why the broker gave no answer; empty if it did.
        """
        with self._lock:
            facts, now = self._facts, self._clock()
            facts.unreached = trouble
            if not trouble or facts.reached is None:
                facts.reached = now

    def _note(self, place: Place, offset: int) -> None:
        known = self._facts.standing.get(place)
        if known is None or known[0] != offset:
            self._facts.standing[place] = (offset, self._clock())

    def standing(self) -> list[Standing]:
        """Return the partitions with unprocessed records, the one that has stood for longest first."""
        with self._lock:
            now = self._clock()
            found = [
                Standing(topic, partition, offset, now - since)
                for (topic, partition), (offset, since) in self._facts.standing.items()
            ]
        return sorted(found, key=lambda each: -each.seconds)

    @property
    def is_ready(self) -> bool:
        """Whether the partitions and their histories are there."""
        return self._facts.ready

    def restoring_now(self) -> Restoring | None:
        """Return how far the running restore is, None if there is none."""
        with self._lock:
            facts, now = self._facts, self._clock()
            if facts.restoring is None:
                return None
            return Restoring(*facts.restoring, now - facts.restore_began, now - facts.heard)

    def health(self, limit_s: float) -> Health:
        """Judge: everything that has stood still for more than ``limit_s`` seconds is a reason."""
        standing, restoring = self.standing(), self.restoring_now()
        with self._lock:
            facts, silent = self._facts, self._clock() - self._facts.heard
            assigned = None if facts.assigned is None else len(facts.assigned)
            ready = facts.ready
        reasons = [
            f"{each.topic}/{each.partition}: offset {each.offset} has been the oldest unprocessed one for "
            f"{each.seconds:.0f} s"
            for each in standing
            if each.seconds > limit_s
        ]
        if silent > limit_s:
            reasons.append(_silence(silent, assigned, restoring))
        reasons += self._unanswered(limit_s) + self._unreached(limit_s)
        return Health(tuple(reasons), standing[0] if standing else None, restoring, assigned, ready)

    def _unanswered(self, limit_s: float) -> list[str]:
        """Say of which partitions the broker has given no word to the probe for too long: one line for one trouble."""
        with self._lock:
            now, found = self._clock(), defaultdict[str, list[Place]](list)
            for place, at in self._facts.answered.items():
                if now - at > limit_s:
                    words = self._facts.trouble.get(place, "no answer yet")
                    found[f"the broker has told no end for {now - at:.0f} s ({words})"].append(place)
        return [
            f"{', '.join(f'{topic}/{number}' for topic, number in sorted(places)[:_NAMED])}"
            f"{f' and {len(places) - _NAMED} more' if len(places) > _NAMED else ''}: {words}"
            for words, places in found.items()
        ]

    def _unreached(self, limit_s: float) -> list[str]:
        """Say that a worker without partitions has none because the broker is out of reach."""
        with self._lock:
            facts, now = self._facts, self._clock()
            if facts.assigned or not facts.unreached or facts.reached is None or now - facts.reached <= limit_s:
                return []
            return [f"no partitions, and no answer from the broker for {now - facts.reached:.0f} s ({facts.unreached})"]


def _silence(seconds: float, assigned: int | None, restoring: Restoring | None) -> str:
    if restoring is not None:
        return (
            f"histories are being restored ({restoring.records} records read, {restoring.partitions_to_go} partitions "
            f"to go), and nothing has come for {seconds:.0f} s"
        )
    if assigned is None:
        return f"the group has given this worker no partitions for {seconds:.0f} s: is the broker reachable?"
    return (
        f"no word of how far the partitions are for {seconds:.0f} s: the broker is out of reach, or the worker's loop "
        "hangs"
    )
