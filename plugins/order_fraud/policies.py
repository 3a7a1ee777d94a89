"""Which scorecards there are and which of them judge: a fold of the records of ``fraud.policies``, in offset order.

A version never changes: once published, the same version with other content is refused. An activation is refused if it
names a version that was not published before it. What is refused changes nothing, so whoever folds the same records,
at whatever time and in whatever pieces, ends with the same panel. As long as nothing is written that changes nothing
(:mod:`lake.policies` sees to that), the same holds for what compaction leaves of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Literal

from order_fraud.events import Activation, BadEvent, PolicyActivated, PolicyPublished, decode, encode
from order_fraud.judge import Judge, Panel
from order_fraud.policy import BadScorecard, check
from order_fraud.scorecard import Scorecard
from order_fraud.topics import FRAUD_POLICIES

SOURCE = "/policy"
ACTIVE_KEY = "active"

PolicyEvent = PolicyPublished | PolicyActivated
Why = Literal["malformed", "misplaced", "version-exists", "unknown-version"]
"""Why a record is refused: it is no policy event or no valid scorecard; its key, id or subject do not say what its data
says; its version was published before with other content; it activates a version that was not published."""


class Refused(BadEvent):
    """A record that changes nothing; the message says what is wrong with it.

    Attributes:
        why: the kind of refusal, for counting.
    """

    def __init__(self, why: Why, message: str) -> None:
        super().__init__(message)
        self.why: Why = why


def publication(scorecard: Scorecard, time: datetime) -> PolicyPublished:
    """Return the event that publishes a scorecard; ``time`` is now, in UTC."""
    version = scorecard.version
    return PolicyPublished(id=f"policy/{version}", source=SOURCE, subject=version, time=time, data=scorecard)


def activation(chosen: Activation, time: datetime) -> PolicyActivated:
    """Return the event that makes scorecards judge; ``time`` is now, in UTC."""
    name = f"activation/{chosen.active}/{time.isoformat().replace('+00:00', 'Z')}"
    return PolicyActivated(id=name, source=SOURCE, subject=chosen.active, time=time, data=chosen)


def key(event: PolicyEvent) -> str:
    """Return the key of an event's record: compaction keeps every version, and the last activation."""
    return f"policy/{event.subject}" if isinstance(event, PolicyPublished) else ACTIVE_KEY


def receive(record_key: bytes | None, value: bytes | None) -> PolicyEvent:
    """Return the event that a record of ``fraud.policies`` holds; a scorecard in it is checked.

    Raises:
        Refused: see :data:`Why`.
    """
    if value is None:
        shown = "no key" if record_key is None else f"key {record_key.decode(errors='replace')!r}"
        raise Refused("malformed", f"the record of {shown} is a deletion: a version stays, another can be activated")
    try:
        event = decode(value)
    except BadEvent as error:
        raise Refused("malformed", str(error)) from error
    if not isinstance(event, PolicyPublished | PolicyActivated):
        raise Refused("misplaced", f"{type(event).__name__} has no business on {FRAUD_POLICIES.name}")
    if isinstance(event, PolicyPublished):
        try:
            check(event.data)
        except BadScorecard as error:
            raise Refused("malformed", f"{event.id}: {'; '.join(str(error).splitlines())}") from error
        expected: PolicyEvent = publication(event.data, event.time)
    else:
        expected = activation(event.data, event.time)
    if (event.id, event.subject) != (expected.id, expected.subject):
        said = f"id {event.id!r} and subject {event.subject!r}"
        raise Refused("misplaced", f"{said} must be {expected.id!r} and {expected.subject!r} by the event's data")
    if record_key != key(event).encode():
        shown = "no key" if record_key is None else f"key {record_key.decode(errors='replace')!r}"
        raise Refused("misplaced", f"{event.id} has {shown} instead of {key(event)!r}")
    return event


@dataclass(frozen=True, slots=True)
class Policies:
    """All scorecards, and who judges. A value: :meth:`apply` gives another one.

    Attributes:
        panel: who judges.
        scorecards: every version known, the bundled one included.
        published: when each version was published, UTC; the bundled one need not have been.
        activated: the last activation; None as long as the bundled scorecard judges because nobody chose.
    """

    panel: Panel
    scorecards: Mapping[str, Scorecard]
    published: Mapping[str, datetime]
    activated: PolicyActivated | None = None

    def apply(self, event: PolicyEvent) -> "Policies":
        """Return what holds after an event of :func:`receive`. The same event once more changes nothing.

        Raises:
            Refused: the version exists with other content, or one that is to judge does not exist.
        """
        if isinstance(event, PolicyPublished):
            return self._publish(event)
        return replace(self, panel=self.bench(event.data.active, event.data.shadows), activated=event)

    def _publish(self, event: PolicyPublished) -> "Policies":
        scorecard, version = event.data, event.data.version
        known = self.scorecards.get(version)
        if known is not None and known != scorecard:
            raise Refused(
                "version-exists", f"version {version!r} exists with other content: give the changed scorecard a new one"
            )
        if version in self.published:
            return self
        return replace(
            self,
            scorecards=MappingProxyType({**self.scorecards, version: scorecard}),
            published=MappingProxyType({**self.published, version: event.time}),
        )

    def bench(self, active: str, shadows: tuple[str, ...] = ()) -> Panel:
        """Return the panel of these versions, made completely before anybody judges by it.

        Raises:
            Refused: one of them is not known, or is named twice.
        """
        versions = (active, *shadows)
        for version in versions:
            if version not in self.scorecards:
                raise Refused("unknown-version", f"version {version!r} was never published: publish it first")
        if len(set(versions)) < len(versions):
            raise Refused("malformed", f"a version is named twice: active {active!r}, shadows {list(shadows)}")
        now = {judge.version: judge for judge in (self.panel.active, *self.panel.shadows)}
        judges = [now.get(version) or Judge(self.scorecards[version]) for version in versions]
        return Panel(judges[0], tuple(judges[1:]))


def initial(bundled: Panel) -> Policies:
    """Return what holds before the first record: the panel that comes with the code judges."""
    judges = (bundled.active, *bundled.shadows)
    return Policies(
        bundled, MappingProxyType({judge.version: judge.scorecard for judge in judges}), MappingProxyType({})
    )


def record(event: PolicyEvent) -> tuple[bytes, bytes]:
    """Return key and value of the record that tells an event."""
    return key(event).encode(), encode(event)
