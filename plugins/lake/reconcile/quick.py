"""The re-fold of one partition at half the price: an order's signals stay the bytes that they came in.

The same code as ever receives, folds and judges. Only what travels on unread is not opened: a relayed order goes on
with the bytes of its signals, and this hop's own are put behind them. What comes out is compared with the archive byte
for byte; where it differs, :func:`exact` gives the answer of the long way, and that one counts.
"""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Raw
from msgspec.structs import force_setattr

from lake.reconcile.explain import canonical
from lake.reconcile.panels import PanelOf
from lake.reconcile.refold import Refused
from order_fraud import events, relay
from order_fraud.events import BadEvent, SealedNewOrder, decode_sealed
from order_fraud.relay import Hop, Shelf
from order_fraud.topics import FRAUD_VERDICTS

Passed = tuple[str, str, bytes, int]
"""What must have gone on: (topic, event id, canonical JSON, offset of the input)."""

Record = tuple[int, int, str | None, str, str, bytes]
"""(offset, time stamp in ms, key, event id, subject, value)"""

_encode = msgspec.json.Encoder().encode
_signals = msgspec.json.Decoder(dict[str, float]).decode


def refold(
    hop: Hop, partition: int, histories: Shelf, records: Iterable[Record], panel_of: PanelOf, refused: list[Refused]
) -> Iterator[Passed]:
    """Fold records of one partition in offset order and yield what the hop must have passed on.

    Args:
        hop: the station of the relay.
        partition: which partition ``records`` are of; only named in what is refused.
        histories: of this hop and partition; they are advanced.
        records: in offset order.
        panel_of: says by order id who judged it.
        refused: takes the inputs that the stream refuses.
    """
    for offset, appended, key, event_id, subject, value in records:
        try:
            event = relay.receive(hop, None if key is None else key.encode(), value, appended, decode_sealed)
            if type(event) is SealedNewOrder:
                yield _order(hop, histories, event, key, value, appended, offset, panel_of)
                continue
            onward = relay.step(hop, histories, event, panel_of(event.subject))
        except BadEvent as error:
            refused.append(Refused(hop.reads.name, partition, offset, event_id, subject, str(error)))
            continue
        if onward is not None:
            yield onward.topic.name, onward.event.id, events.encode(onward.event), offset


def exact(value: bytes) -> bytes:
    """Return what the long way makes of an output: each signal once, each number in canonical spelling."""
    try:
        return canonical(value.decode()).encode()
    except BadEvent:
        return value


def _order(
    hop: Hop,
    histories: Shelf,
    event: SealedNewOrder,
    key: str | None,
    value: bytes,
    appended: int,
    offset: int,
    panel_of: PanelOf,
) -> Passed:
    order, time = event.data, relay.milliseconds(event.time)
    came = bytes(order.signals)
    target = relay.after(hop, event)
    # Opened before anything changes: what the stream refuses leaves no trace. Later hops pass them on unread.
    opened = _opened(hop, key, value, appended, came) if (target is None or hop.first) and came != b"{}" else {}
    own = relay.fold(hop, histories, event, time)
    stamped = _encode(own)
    if not hop.first and came != b"{}":
        stamped = came[:-1] + b"," + stamped[1:]
    if target is not None:
        force_setattr(order, "signals", Raw(stamped))
        return target.reads.name, event.id, events.encode(event), offset
    if hop.first:
        opened = {}
    opened.update(own)
    force_setattr(order, "signals", opened)
    verdict = relay.verdict(event, order, time, panel_of(event.subject))
    force_setattr(verdict.data, "signals", Raw(stamped))
    return FRAUD_VERDICTS.name, verdict.id, events.encode(verdict), offset


def _opened(hop: Hop, key: str | None, value: bytes, appended: int, came: bytes) -> dict[str, float]:
    """Return the signals that came in.

    Raises:
        BadEvent: one of them is no number; the message is the one of the long way.
    """
    try:
        return _signals(came)
    except msgspec.DecodeError:
        relay.receive(hop, None if key is None else key.encode(), value, appended)
        raise
