"""What is said of orders afterwards: the right event with the order's entities, and refusals with line and remedy."""

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from order_fraud.events import ChargebackOpened, FraudCleared, FraudConfirmed, decode, encode
from order_fraud.relay import ROUTE, receive
from producers import book, feedback, labels, patterns
from producers.book import BadRow, Book
from producers.labels import Word

DELAY = timedelta(days=30)


@pytest.fixture(scope="module")
def orders() -> Book:
    return patterns.generate(600, seed=3)


def arguments(*more: str) -> argparse.Namespace:
    return feedback.parse_arguments(["--generate", "600", "--seed", "3", *more])


def test_every_order_of_a_pattern_is_charged_back_after_the_delay_and_no_other(orders: Book) -> None:
    said, rejected = feedback.collect(orders, arguments("--delay-days", "10.5"))
    fraud = {sale.order_id: sale for sale in orders.sales if sale.row.truth in patterns.PATTERNS}
    assert rejected == []
    assert {word.subject for word in said} == fraud.keys()
    assert len(said) == len(fraud) > 30
    assert [word.time for word in said] == sorted(word.time for word in said)
    for word in said:
        assert isinstance(word, ChargebackOpened)
        assert word.time - fraud[word.subject].row.purchase_time == timedelta(days=10.5)


def test_every_word_bears_the_entities_of_its_order_and_the_first_hop_takes_it(orders: Book) -> None:
    placed = {event.subject: event.data for _, event in book.events(orders) if event.id.startswith("order/")}
    by_id = {sale.order_id: sale for sale in orders.sales}
    for kind in labels.WORDS.values():
        for order_id, order in placed.items():
            word = labels.said(kind, by_id[order_id], by_id[order_id].row.purchase_time, by="anna")
            for field in ("order_id", "customer_id", "device_id", "ip", "card", "email_domain", "address", "amount"):
                assert getattr(word.data, field) == getattr(order, field), field  # type: ignore[union-attr]
            assert receive(ROUTE[0], word.data.customer_id.encode(), encode(word)) == word
            assert decode(encode(word)) == word


def read(orders: Book, *lines: str) -> list[Word | BadRow]:
    return list(labels.read(lines, {sale.order_id: sale for sale in orders.sales}, DELAY))


def test_a_file_of_labels_says_what_and_when(orders: Book) -> None:
    first, second = orders.sales[:2]
    lines = [
        "order_id,label,time",
        f"{first.order_id}, Confirmed ,2015-12-01T10:00:00Z",
        "",
        f"{first.order_id},cleared,",
        f"{second.order_id},chargeback",
    ]
    found = read(orders, *lines)
    assert [type(one) for one in found] == [FraudConfirmed, FraudCleared, ChargebackOpened]
    assert [one.time for one in found if not isinstance(one, BadRow)] == [
        datetime(2015, 12, 1, 10, tzinfo=UTC),
        first.row.purchase_time + DELAY,
        second.row.purchase_time + DELAY,
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{id}", "the line has 1 columns, expected order_id,label[,time]"),
        ("{id},fraud", "label 'fraud' is none of confirmed, cleared, chargeback"),
        ("4711-1,cleared", "order '4711-1' is not among these orders: an id is the user_id and the number"),
        ("{id},cleared,soon", "time 'soon' is not a time like"),
        ("{id},cleared,2014-01-01T00:00:00Z", "is before order {id} itself"),
    ],
)
def test_a_wrong_line_is_named_and_spoils_no_other(orders: Book, line: str, reason: str) -> None:
    order_id = orders.sales[0].order_id
    bad, good = read(orders, line.replace("{id}", order_id), f"{order_id},cleared")
    assert isinstance(bad, BadRow)
    assert bad.line == 1
    assert reason.replace("{id}", order_id) in bad.reason
    assert isinstance(good, FraudCleared)


def test_single_orders_are_named_by_options(orders: Book) -> None:
    one, two = (sale.order_id for sale in orders.sales[:2])
    words = ["--confirm", one, "--charge-back", one, "--clear", two]
    options = arguments(*words, "--at", "2016-01-01T00:00Z", "--by", "anna")
    said, _ = feedback.collect(orders, options)
    assert {word.id for word in said} == {f"fraud-confirmed/{one}", f"chargeback/{one}", f"fraud-cleared/{two}"}
    assert {(word.time, word.data.by) for word in said} == {(datetime(2016, 1, 1, tzinfo=UTC), "anna")}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--clear", "4711-1"], "order '4711-1' is not among these orders"),
        (["--clear", "{id}", "--at", "2001-01-01 00:00:00"], "--at is before order {id} itself"),
        (["--labels", "none.csv"], "none.csv"),
        (["--at", "2016-01-01 00:00:00"], "none is named"),
        (["--delay-days", "-1"], "-1 is not between 0 and 3,650 days"),
        (["--delay-days", "nan"], "nan is not between"),
        (["--delay-days", "soon"], "'soon' is not a number of days"),
        (["--by", "a\tb"], "control characters"),
        (["--until", "soon"], "'soon' is not a time like"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_sent(
    orders: Book, more: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    order_id = orders.sales[0].order_id
    given = [one.replace("{id}", order_id) for one in more]
    try:
        code: object = feedback.main(["--generate", "600", "--seed", "3", "--bootstrap", "127.0.0.1:9", *given])
    except SystemExit as end:
        code = end.code
    assert code == feedback.BAD_INPUT
    assert reason.replace("{id}", order_id) in " ".join(capsys.readouterr().err.split())


def test_orders_of_which_nothing_is_known_are_told_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(
        "user_id,signup_time,purchase_time,purchase_value,device_id,source,browser,ip_address\n"
        "1,2015-01-01 00:00:00,2015-01-02 00:00:00,3,D,SEO,IE,\n"
    )
    options = feedback.parse_arguments(["--orders", str(path)])
    with pytest.raises(ValueError, match="no row has 1 in a column `class`; give --labels FILE"):
        feedback.collect(feedback.source.load(options), options)
