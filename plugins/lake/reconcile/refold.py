"""Re-derive what one hop passed on, from its archived input, with the very code that the stream ran.

Each (hop, partition) stands on its own: the offset order of that one partition is all that the hop knew, so folding it
in that order must give the stream's answers again, byte for byte.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import monotonic

from lake.reconcile.panels import PanelOf
from order_fraud import events, relay
from order_fraud.events import BadEvent, NewOrder, NoFraudDetected, PossibleFraud
from order_fraud.judge import Panel
from order_fraud.relay import Hop, Shelf

log = logging.getLogger(__name__)

PROGRESS_S = 5.0
"""Seconds between two progress lines."""

Witness = Callable[[NewOrder, PossibleFraud | NoFraudDetected, Panel], None]
"""Is shown each order with all its signals, the verdict on it, and who judged."""


@dataclass(slots=True)
class Passed:
    """What a hop must have passed on to one topic, column by column.

    Attributes:
        event_id: of the event passed on.
        value: its canonical JSON.
        offset: of the input record that led to it.
    """

    event_id: list[str] = field(default_factory=list)
    value: list[str] = field(default_factory=list)
    offset: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Refused:
    """An input that the hop refuses, now as then: the stream sent it to dead-letters."""

    topic: str
    partition: int
    offset: int
    event_id: str
    subject: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refold:
    """The outcome of one (hop, partition).

    Attributes:
        hop: its entity.
        partition: of the topic that the hop reads.
        records: inputs folded, refused ones included.
        passed: what went on, by topic name.
        refused: inputs that led to nothing.
        seconds: how long it took.
    """

    hop: str
    partition: int
    records: int
    passed: dict[str, Passed]
    refused: list[Refused]
    seconds: float


def refold(
    hop: Hop,
    partition: int,
    records: Iterable[tuple[int, int, str | None, str, str, str]],
    panel_of: PanelOf,
    total: int | None = None,
    witness: Witness | None = None,
) -> Refold:
    """Fold one partition of a hop's topic.

    Args:
        hop: the station of the relay.
        partition: which partition ``records`` are of; only named in the outcome.
        records: (offset, time stamp in ms, key, event id, subject, value) in offset order.
        panel_of: says by order id who judged it.
        total: how many records there are, for the progress lines.
        witness: is shown every verdict, before the histories go on.
    """
    started = shown = monotonic()
    histories = Shelf()
    passed: dict[str, Passed] = {}
    refused: list[Refused] = []
    count = 0
    for offset, appended, key, event_id, subject, value in records:
        count += 1
        try:
            event = relay.receive(hop, None if key is None else key.encode(), value.encode(), appended)
            panel = panel_of(event.subject)
            onward = relay.step(hop, histories, event, panel)
        except BadEvent as error:
            refused.append(Refused(hop.reads.name, partition, offset, event_id, subject, str(error)))
            continue
        if onward is not None:
            column = passed.setdefault(onward.topic.name, Passed())
            column.event_id.append(onward.event.id)
            column.value.append(events.encode(onward.event).decode())
            column.offset.append(offset)
            if (
                witness is not None
                and isinstance(event, NewOrder)
                and isinstance(onward.event, PossibleFraud | NoFraudDetected)
            ):
                witness(event, onward.event, panel)
        if not count % 4096 and monotonic() - shown > PROGRESS_S:
            shown = monotonic()
            log.info("%s, partition %d: %s of %s records re-folded", hop.reads.name, partition, count, total or "?")
    seconds = monotonic() - started
    log.info("%s, partition %d: %d records re-folded in %.1f s", hop.reads.name, partition, count, seconds)
    return Refold(hop.entity, partition, count, passed, refused, seconds)
