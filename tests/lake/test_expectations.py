"""Great Expectations on rows: which rows fail which check, and checks that make no sense are refused."""

import socket
from datetime import UTC, datetime
from pathlib import Path
from time import process_time

import pyarrow as pa
import pytest

from lake.landing.flows import BadFlow, Check, load, table_of
from lake.quality.expectations import failing

SHOP = load(Path(__file__).resolve().parents[2] / "dags" / "flows" / "shop_orders.yaml")
AT = datetime(2015, 1, 1, tzinfo=UTC)


def table(*changes: dict[str, object]) -> pa.Table:
    schema = pa.schema([field.with_nullable(True) for field in table_of(SHOP).schema.as_arrow()])
    good = {"customer_id": "1", "created_at": AT, "day": AT.date(), "amount": 1, "currency": "USD", "updated_at": AT}
    return pa.Table.from_pylist(
        [{"order_id": f"{number}-1"} | good | changed for number, changed in enumerate(changes)], schema=schema
    )


def failed(*changes: dict[str, object]) -> dict[int, list[str]]:
    found = failing(table(*changes), SHOP.checks, "shop.orders")
    return {number: [check.because for check in checks] for number, checks in found.items()}


def test_good_rows_pass() -> None:
    assert failed({}, {}, {}) == {}


@pytest.mark.parametrize(
    ("changed", "because"),
    [
        ({"order_id": None}, "the order has no id of ours (sourceIdentifier)"),
        ({"customer_id": None}, "the order belongs to no customer"),
        ({"amount": -1}, "the amount is negative or beyond a million"),
        ({"amount": 10**8 + 1}, "the amount is negative or beyond a million"),
        ({"currency": "usd"}, "the currency is no ISO 4217 code"),
        ({"updated_at": datetime(2014, 12, 31, tzinfo=UTC)}, "the order was changed before it was placed"),
        ({"created_at": datetime(1970, 1, 1, tzinfo=UTC)}, "the order was placed before 2000 or after 2099"),
        (
            {"created_at": datetime(2100, 1, 2, tzinfo=UTC), "updated_at": datetime(2100, 1, 2, tzinfo=UTC)},
            "the order was placed before 2000 or after 2099",
        ),
    ],
)
def test_bad_row_and_no_other_fails_with_the_reason(changed: dict[str, object], because: str) -> None:
    assert failed({}, changed, {}) == {1: [because]}


def test_all_rows_that_share_an_id_fail() -> None:
    because = ["two orders of the shop claim the same id of ours"]
    assert failed({"order_id": "a"}, {}, {"order_id": "a"}) == {0: because, 2: because}


def test_row_that_fails_twice_says_so_in_the_order_of_the_checks() -> None:
    assert failed({"amount": -1, "order_id": None}) == {
        0: ["the order has no id of ours (sourceIdentifier)", "the amount is negative or beyond a million"]
    }


def test_no_rows_no_work() -> None:
    assert failing(table(), SHOP.checks, "shop.orders") == {}


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (Check(expect="ExpectMiracles", because="x"), r"no ExpectMiracles - at `\$.checks\[0\].expect`"),
        (Check(expect="ExpectColumnValuesToNotBeNull", because="x"), r"at `\$.checks\[0\].with`"),
        (Check(expect="ExpectTableRowCountToEqual", with_={"value": 7}, because="x"), "judges a whole table"),
        (Check(expect="ExpectColumnValuesToNotBeNull", with_={"column": "nope"}, because="x"), "cannot be evaluated"),
    ],
)
def test_check_that_makes_no_sense_is_refused(check: Check, said: str) -> None:
    with pytest.raises(BadFlow, match=said):
        failing(table({}), [check], "shop.orders")


def test_checks_of_many_rows_take_seconds() -> None:
    rows = table(*({} for _ in range(26_000)))
    began = process_time()
    assert failing(rows, SHOP.checks, "shop.orders") == {}
    assert process_time() - began < 10


def test_checking_speaks_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither usage statistics nor a look for a newer version: what we check stays here."""
    called: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: called.append(address))
    assert failed({"amount": -1})
    assert called == []
