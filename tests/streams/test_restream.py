"""An order that was sold but never streamed: the correction asks, the shop sends, the stream decides, once."""

from datetime import UTC, datetime

import pytest

from order_fraud import events, topics
from producers import patterns, restream
from tests.streams.conftest import Workers
from tests.streams.witness import send, subjects, wait_for

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
