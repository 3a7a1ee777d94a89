"""What a fold leaves behind for the next one: all but the histories, which are files.

Nothing here is a conclusion. What a fold found *wrong* is kept with all it takes to ask again, since the answer may
land later, and so are the archived records to which nothing led.
"""

from collections.abc import Iterable, Mapping

import msgspec

from lake.reconcile.panels import PanelOf
from lake.reconcile.refold import Refused
from order_fraud import events, relay
from order_fraud.events import NewOrder, NoFraudDetected, PossibleFraud
from order_fraud.topics import FRAUD_VERDICTS


class Wrong(msgspec.Struct):
    """Outputs for one topic that the archive does not hold byte for byte, with the offsets of their inputs.

    Attributes:
        order: the input itself where the output is a verdict: who judges may be known later. Empty elsewhere.
    """

    event_id: list[str] = msgspec.field(default_factory=list)
    value: list[str] = msgspec.field(default_factory=list)
    read: list[int] = msgspec.field(default_factory=list)
    order: list[str] = msgspec.field(default_factory=list)


class Carried(msgspec.Struct):
    """How far one (hop, partition) came.

    Attributes:
        latest: the latest event time that the hop has accepted on it, ms.
        records: inputs folded, refused ones included.
        equal: outputs that are archived just so.
        answered: offset of the last input whose output is archived just so, -1 if there is none.
        wrong: other outputs, by topic in the order in which each was first written to.
        refused: inputs that led to nothing.
    """

    latest: int = 0
    records: int = 0
    equal: int = 0
    answered: int = -1
    wrong: dict[str, Wrong] = msgspec.field(default_factory=dict)
    refused: list[Refused] = msgspec.field(default_factory=list)


Unmet = dict[str, list[tuple[int, int]]]
"""By topic, the partitions and offsets of archived records that are not equal to any output."""


class Ledger(msgspec.Struct):
    """All of it: what each (hop, partition) left, by topic, and which archived records nothing led to."""

    folds: dict[str, dict[int, Carried]] = msgspec.field(default_factory=dict)
    unmet: Unmet = msgspec.field(default_factory=dict)

    def of(self, topic: str, partition: int) -> Carried:
        """Return what one (hop, partition) left."""
        return self.folds.get(topic, {}).get(partition) or Carried()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Ledger).decode


def pack(ledger: Ledger) -> bytes:
    """Return its bytes."""
    return _encode(ledger)


def unpack(document: bytes) -> Ledger:
    """Return what :func:`pack` wrote.

    Raises:
        msgspec.DecodeError: the document is another one.
    """
    return _decode(document)


def again(topic: str, wrong: Wrong, panel_of: PanelOf) -> Iterable[tuple[str, str, bytes, int]]:
    """Yield what must have gone on to a topic and was not there, as :mod:`lake.reconcile.quick` does.

    A verdict is given anew: who judged an order is known from its archived verdict, which may have landed since.
    """
    for event_id, value, read, order in zip(wrong.event_id, wrong.value, wrong.read, wrong.order, strict=True):
        made = value.encode()
        yield topic, event_id, _judged(made, order.encode(), panel_of) if topic == FRAUD_VERDICTS.name else made, read


def _judged(verdict: bytes, order: bytes, panel_of: PanelOf) -> bytes:
    event, said = events.decode(order), events.decode(verdict)
    assert isinstance(event, NewOrder)  # noqa: S101 - for the type checker: only an order leads to a verdict
    assert isinstance(said, PossibleFraud | NoFraudDetected)  # noqa: S101 - likewise
    data = msgspec.structs.replace(event.data, signals=dict(said.data.signals))
    return events.encode(relay.verdict(event, data, relay.milliseconds(event.time), panel_of(event.subject)))


def orders_of(topic: str, reads: Iterable[int], values: Mapping[int, bytes]) -> list[str]:
    """Return the inputs at these offsets as :class:`Wrong` keeps them."""
    if topic != FRAUD_VERDICTS.name:
        return ["" for _ in reads]
    return [values[read].decode() for read in reads]
