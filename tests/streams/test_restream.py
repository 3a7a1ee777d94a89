"""An order that was sold but never streamed: the correction asks, the shop sends, the stream decides, once."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from order_fraud import events, topics
from producers import patterns, restream
from tests.streams.conftest import Workers
from tests.streams.witness import read, send, subjects, wait_for

SEED, ORDERS = 424_242, 50
"""Few orders, so that their ids may be those of other tests: only the last one is asked for."""


def correction(order_id: str, remedy: str = "stream-order") -> bytes:
    return events.encode(
        events.CorrectionRequested(
            id=f"correction/order-not-streamed/{order_id}",
            source="/reconcile",
            subject=order_id,
            time=datetime(2026, 1, 2, tzinfo=UTC),
            data=events.Correction(
                finding_id=f"finding/order-not-streamed/{order_id}",
                kind="order-not-streamed",
                order_id=order_id,
                customer_id=None,
                remedy=remedy,
            ),
        )
    )


def test_what_a_correction_asks_for_is_streamed_and_judged_once(
    bootstrap: str, workers: Workers, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = patterns.generate(ORDERS, SEED).sales[-1].order_id
    records = [(asked.encode(), correction(asked)), (b"nobody", correction("nobodys-order")), (b"x", b"no event")]
    send(bootstrap, [*records, (b"other", correction("other-1", "refund-payment"))], topics.RECONCILIATION_FINDINGS)
    command = ["--generate", str(ORDERS), "--seed", str(SEED), "--bootstrap", bootstrap]

    assert restream.main(command) == restream.ORDERS_UNKNOWN
    said = capsys.readouterr()
    assert "1 of 2 orders asked for were sent" in said.out
    assert "order nobodys-order is asked for but is not in this book" in said.err
    assert restream.main(command) == restream.ORDERS_UNKNOWN  # twice: the stream refuses the repeat

    workers.start(1)
    wait_for(lambda: subjects(bootstrap, topics.FRAUD_VERDICTS, asked)[asked] > 0)
    assert subjects(bootstrap, topics.FRAUD_VERDICTS, asked)[asked] == 1
    assert "other-1" not in subjects(bootstrap, topics.FRAUD_VERDICTS, "other-")


def test_an_order_is_sent_with_the_country_of_its_ip_as_the_shop_would_have(
    bootstrap: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    orders, table = tmp_path / "orders.csv", tmp_path / "countries.csv"
    orders.write_text(
        "user_id,signup_time,purchase_time,purchase_value,device_id,source,browser,sex,age,ip_address,class\n"
        "990001,2015-02-24 22:55:49,2015-04-18 02:47:11,34,DEVICE,SEO,Chrome,M,39,1.0.0.7,0\n"
    )
    table.write_text(
        "lower_bound_ip_address,upper_bound_ip_address,country\n16777216,16777471,Australia\n1.02E+09,1024032767,X\n"
    )
    asked = "990001-1"
    send(bootstrap, [(asked.encode(), correction(asked))], topics.RECONCILIATION_FINDINGS)
    command = ["--orders", str(orders), "--bootstrap", bootstrap]
    for options in ([], ["--countries", str(table)]):
        assert restream.main([*command, *options]) in (restream.ALL_WELL, restream.ORDERS_UNKNOWN)
    assert "countries.csv: left out: line 3: lower_bound_ip_address '1.02E+09'" in capsys.readouterr().err
    sent = [
        events.decode(record.value()) for record in read(bootstrap, topics.CUSTOMER_EVENTS) if record.key() == b"990001"
    ]
    assert [event.data.ip_country for event in sent] == [None, "Australia"]
    assert restream.main([*command, "--countries", str(orders)]) == restream.BAD_INPUT
    assert "the header lacks lower_bound_ip_address" in capsys.readouterr().err
