"""The pure code alone: what one record costs at one hop, without Kafka."""

import time
from collections.abc import Sequence

from order_fraud.events import NewCustomer, NewOrder, encode
from order_fraud.relay import ROUTE, Shelf, receive, step
from scorecards import PANEL


def microseconds_per_hop(sent: Sequence[tuple[str, NewCustomer | NewOrder]]) -> float:
    """Return the mean processor time of decode, fold and encode over all records and all their hops."""
    hops = {hop.reads.name: hop for hop in ROUTE}
    records = [(ROUTE[0], customer_id.encode(), encode(event)) for customer_id, event in sent]
    shelves = {hop.entity: Shelf() for hop in ROUTE}
    passed = 0
    started = time.process_time()
    for record in records:
        hop, key, value = record
        while True:
            onward = step(hop, shelves[hop.entity], receive(hop, key, value), PANEL)
            passed += 1
            if onward is None:
                break
            key, value = onward.key.encode(), encode(onward.event)
            if onward.topic.name not in hops:
                break
            hop = hops[onward.topic.name]
    return (time.process_time() - started) / passed * 1e6
