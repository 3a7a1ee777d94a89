"""The order book: order ids, which sign-up counts, and events in business order."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from order_fraud.events import NewCustomer, NewOrder
from producers import book
from producers.book import Row

NOON = datetime(2015, 6, 1, 12, tzinfo=UTC)


def row(
    user_id: str, signup: int, purchase: int, *, line: int = 0, device_id: str | None = "D", amount: int = 1
) -> Row:
    return Row(
        line=line,
        user_id=user_id,
        signup_time=NOON + timedelta(minutes=signup),
        purchase_time=NOON + timedelta(minutes=purchase),
        amount=amount,
        device_id=device_id,
        source="SEO",
        browser="Opera",
        ip="1.2.3.4",
    )


def test_orders_are_numbered_by_purchase_time_whatever_the_order_of_the_lines() -> None:
    made = book.book([row("7", 0, 30, line=2), row("8", 0, 20, line=3), row("7", 0, 10, line=4)])
    assert [(sale.order_id, sale.row.line) for sale in made.sales] == [("7-1", 4), ("8-1", 3), ("7-2", 2)]


def test_orders_of_one_instant_are_numbered_by_line() -> None:
    made = book.book([row("7", 0, 10, line=2, amount=5), row("7", 0, 10, line=3, amount=4)])
    assert [(sale.order_id, sale.row.amount) for sale in made.sales] == [("7-1", 5), ("7-2", 4)]


def test_a_customer_signs_up_once_and_the_earliest_sign_up_counts() -> None:
    made = book.book([row("7", 5, 30, device_id="LATER"), row("7", 0, 40, device_id="FIRST")])
    assert [(first.signup_time, first.device_id) for first in made.signups] == [(NOON, "FIRST")]


def test_events_bear_what_the_rows_say() -> None:
    (key, customer), (_, order) = book.events(book.book([row("7", 0, 1, amount=3400)]))
    assert key == "7"
    assert isinstance(customer, NewCustomer)
    assert (customer.id, customer.source, customer.subject, customer.time) == ("customer/7", "/shop", "7", NOON)
    assert (customer.data.device_id, customer.data.channel, customer.data.browser) == ("D", "SEO", "Opera")
    assert isinstance(order, NewOrder)
    assert (order.id, order.subject, order.time) == ("order/7-1", "7-1", NOON + timedelta(minutes=1))
    assert (order.data.amount, order.data.currency, order.data.ip) == (3400, "USD", "1.2.3.4")
    assert (order.data.card, order.data.ip_country, customer.data.email_domain) == (None, None, None)


def test_events_bear_card_mail_address_and_countries_where_the_rows_have_them() -> None:
    more = {"card": "C", "email_domain": "mail.example", "address": "A", "country": "Germany", "ip_country": "France"}
    (_, customer), (_, order) = book.events(book.book([replace(row("7", 0, 1), **more)]))
    assert isinstance(customer, NewCustomer)
    assert isinstance(order, NewOrder)
    assert (customer.data.email_domain, customer.data.country) == ("mail.example", "Germany")
    assert (order.data.card, order.data.email_domain, order.data.address) == ("C", "mail.example", "A")
    assert order.data.ip_country == "France"


def test_the_country_of_an_ip_is_looked_up_where_the_row_does_not_say_it() -> None:
    asked: list[str] = []

    def country_of(ip: str) -> str:
        asked.append(ip)
        return "Peru"

    rows = [row("1", 0, 1), replace(row("2", 0, 2), ip_country="France"), replace(row("3", 0, 3), ip=None)]
    made = [event for _, event in book.events(book.book(rows), country_of=country_of) if isinstance(event, NewOrder)]
    assert [event.data.ip_country for event in made] == ["Peru", "France", None]
    assert asked == ["1.2.3.4"]


def test_a_withheld_order_is_left_out_and_its_customer_still_signs_up() -> None:
    made = book.book([row("7", 0, 1), row("7", 0, 2)])
    assert [event.id for _, event in book.events(made, frozenset({"7-1"}))] == ["customer/7", "order/7-2"]


def order_of_business(made: book.Book) -> Iterator[tuple[datetime, bool]]:
    return ((event.time, isinstance(event, NewOrder)) for _, event in book.events(made))


minutes = st.integers(0, 5)
some_rows = st.lists(
    st.builds(lambda user, signup, wait: row(user, signup, signup + wait), st.sampled_from("123"), minutes, minutes),
    max_size=12,
)


@settings(deadline=None)
@given(some_rows)
def test_events_come_in_order_of_time_and_sign_ups_before_orders_of_the_same_instant(rows: list[Row]) -> None:
    made = book.book(rows)
    order = list(order_of_business(made))
    assert order == sorted(order)
    assert len(order) == len(made) == len(rows) + len({row.user_id for row in rows})
    seen = set()
    for key, event in book.events(made):
        if isinstance(event, NewCustomer):
            seen.add(key)
        assert key in seen
