"""Did a contender do the work? Its own hop topics, folded again in offset order, must give its verdicts byte for byte.

Two contenders cannot be compared verdict by verdict: which of two customers' orders reaches a shared device first
depends on how the batches fell, and both ways are right. What a hop knew is the offset order of the topic it reads, so
each contender is held against its own topics, by the same kernel, outside.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from confluent_kafka import Message

from benchmarks.reading import read_all
from order_fraud import topics
from order_fraud.events import BadEvent, encode
from order_fraud.relay import ROUTE, Shelf, receive, step
from order_fraud.topics import Topic
from scorecards import PANEL

Written = tuple[str, bytes | None, bytes | None]
SHOWN = 200


class WrongVerdicts(RuntimeError):
    """A contender's verdicts are not what its own topics give: its round is void."""


def check(
    bootstrap: str,
    orders: Sequence[bytes],
    seen: Sequence[tuple[bytes | None, bytes | None]],
    read: Callable[[str, Topic], Iterable[Message]] = read_all,
) -> None:
    """Compare what a contender wrote with what the kernel makes of its hop topics.

    Args:
        bootstrap: the broker.
        orders: the values of all orders sent, so that orders that never entered are missed as well.
        seen: the verdicts as (key, value).
        read: gives all records of a topic.

    Raises:
        WrongVerdicts: an order is missing, repeated, or judged otherwise; the message shows the first of each.
    """
    written: Counter[Written] = Counter((topics.FRAUD_VERDICTS.name, key, value) for key, value in seen)
    expected: Counter[Written] = Counter()
    entered: Counter[bytes | None] = Counter()
    for hop in ROUTE:
        shelves: dict[int | None, Shelf] = {}
        for message in read(bootstrap, hop.reads):
            key, value = message.key(), message.value()
            if hop is ROUTE[0]:
                entered[value] += 1
            else:
                written[hop.reads.name, key, value] += 1
            shelf = shelves.setdefault(message.partition(), Shelf())
            try:
                onward = step(hop, shelf, receive(hop, key, value, message.timestamp()[1]), PANEL)
            except BadEvent:
                continue
            if onward is not None:
                expected[onward.topic.name, onward.key.encode(), encode(onward.event)] += 1
    sent: Counter[bytes | None] = Counter(orders)
    _refuse("orders that never entered", sent - entered)
    _refuse("missing", expected - written)
    _refuse("too many or different", written - expected)


def _refuse(what: str, found: Counter[Any]) -> None:
    if found:
        example = str(next(iter(found)))[:SHOWN]
        raise WrongVerdicts(f"{found.total()} records {what}, for example {example}")
