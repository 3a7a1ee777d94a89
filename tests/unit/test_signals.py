"""Every signal against its definition, and the catalogue against what the relay stamps."""

from collections import defaultdict
from datetime import timedelta
from math import isclose
from typing import cast

import pytest
from hypothesis import given

from order_fraud import signals
from order_fraud.events import FraudConfirmed, NewCustomer, NewOrder, Verdict
from order_fraud.history import MAX_DISTINCT
from order_fraud.relay import ROUTE, Relayed, Shelf, step
from producers import book, labels, patterns
from scorecards import PANEL
from tests.unit import naive_signals as naive
from tests.unit.kernel_tape import tapes

BY_TOPIC = {hop.reads.name: hop for hop in ROUTE}


class Relay:
    """All hops, each with the histories of its one partition."""

    def __init__(self) -> None:
        self.shelves = {hop.entity: Shelf() for hop in ROUTE}

    def send(self, event: Relayed) -> dict[str, float] | None:
        """Send an event the whole way; return the signals of its verdict, None if it is no order."""
        hop = ROUTE[0]
        while True:
            onward = step(hop, self.shelves[hop.entity], event, PANEL)
            if onward is None:
                return None
            if onward.topic.name not in BY_TOPIC:
                return cast(Verdict, onward.event.data).signals
            hop, event = BY_TOPIC[onward.topic.name], cast(Relayed, onward.event)


def accepted(tape: list[Relayed]) -> list[Relayed]:
    """Leave out sign-ups and orders that were there before."""
    seen: set[str] = set()
    taken = []
    for event in tape:
        if event.id not in seen or not isinstance(event, NewCustomer | NewOrder):
            taken.append(event)
        seen.add(event.id)
    return taken


def expected(event: NewOrder, known: dict[tuple[str, str], list[Relayed]]) -> dict[str, float]:
    """Return the signals of an order by definition, from all that each of its entities has seen."""
    found: dict[str, float] = {}
    for hop in ROUTE:
        entity_id = hop.key_of(event)
        if entity_id is None:
            continue
        seen = known[hop.entity, entity_id]
        own = naive.of_customer(seen) if hop.first else naive.of_shared(seen)
        found |= {f"{hop.entity}.{name}": value for name, value in {**naive.of_entity(seen), **own}.items()}
        if hop.first:
            found |= {
                f"order.{name}": one for name, one in naive.of_order(event.data, naive.seconds(event), seen).items()
            }
    return found


def compare(tape: list[Relayed]) -> set[str]:
    """Send a tape and compare every signal of every order with its definition; return the names that occurred."""
    relay = Relay()
    known: dict[tuple[str, str], list[Relayed]] = defaultdict(list)
    names: set[str] = set()
    for event in accepted(tape):
        for hop in ROUTE:
            entity_id = hop.key_of(event)
            if entity_id is not None:
                known[hop.entity, entity_id].append(event)
        wanted = expected(event, known) if isinstance(event, NewOrder) else None
        found = relay.send(event)
        if wanted is None:
            assert found is None
            continue
        assert found is not None
        names |= found.keys()
        _leave_out_crowds(found, wanted)
        assert found.keys() == wanted.keys(), event.id
        for name, value in wanted.items():
            assert isclose(found[name], value, rel_tol=1e-9, abs_tol=1.01e-4), (event.id, name, found[name], value)
    return names


def _leave_out_crowds(found: dict[str, float], wanted: dict[str, float]) -> None:
    """Of more customers than an entity remembers the number reads "16 or more"; the others are of the latest 16."""
    for entity in [name.removesuffix(".customers") for name, value in wanted.items() if name.endswith(".customers")]:
        if wanted[f"{entity}.customers"] <= MAX_DISTINCT:
            continue
        assert found.pop(f"{entity}.customers") == MAX_DISTINCT
        assert 0 < found.pop(f"{entity}.customers_before", 1) < MAX_DISTINCT
        for short in naive.WINDOWS:
            name = f"{entity}.customers_{short}"
            assert found.pop(name) <= min(wanted[name], MAX_DISTINCT) + 1e-4
        for name in [name for name in wanted if name.startswith(f"{entity}.customers")]:
            del wanted[name]


@given(tapes())
def test_every_signal_is_what_its_definition_says_whatever_comes_late_or_twice(tape: list[Relayed]) -> None:
    compare(tape)


@pytest.fixture(scope="module")
def shop() -> list[Relayed]:
    """Generated orders of every pattern, in order of time; soon after, every fraud and some others are called fraud."""
    orders = patterns.generate(1_500, seed=21)
    soon = timedelta(minutes=1)
    events: list[Relayed] = [event for _, event in book.events(orders)]
    events += labels.charged_back(orders, soon)
    events += [labels.said(FraudConfirmed, sale, sale.row.purchase_time + soon) for sale in orders.sales[::5]]
    return sorted(events, key=lambda event: event.time)


def test_orders_of_a_shop_get_every_signal_of_the_catalogue_and_no_other(shop: list[Relayed]) -> None:
    assert compare(shop) == signals.NAMES
