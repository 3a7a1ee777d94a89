"""The order CSV: what is read, what is refused and why, and that nothing a file can hold makes the reader fall over."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from order_fraud import events
from producers import book, orders_csv
from producers.book import BadRow, Row

HEADER = "user_id,signup_time,purchase_time,purchase_value,device_id,source,browser,sex,age,ip_address,class"
GOOD = "22058,2015-02-24 22:55:49,2015-04-18 02:47:11,34,QVPSPJUOCKZAR,SEO,Chrome,M,39,732758368,0"
PUBLIC_SET = Path(__file__).parents[3] / "shared" / "data" / "orders.csv"


def parse(*lines: str | bytes, header: str | bytes = HEADER) -> list[Row | BadRow]:
    raw = b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in (header, *lines))
    return list(orders_csv.parse(io.BytesIO(raw)))


def one(line: str | bytes) -> Row | BadRow:
    rows = parse(line)
    assert len(rows) == 1
    return rows[0]


def changed(**cells: str) -> str:
    names, values = HEADER.split(","), GOOD.split(",")
    values = [cells.get(name.replace("class", "class_"), value) for name, value in zip(names, values, strict=True)]
    return ",".join(values)


def good(**cells: str) -> Row:
    row = one(changed(**cells))
    assert isinstance(row, Row), row
    return row


def refusal(line: str | bytes) -> str:
    row = one(line)
    assert isinstance(row, BadRow), row
    assert row.line == 2
    return row.reason


def test_a_row_of_the_public_set() -> None:
    assert one(GOOD) == Row(
        line=2,
        user_id="22058",
        signup_time=datetime(2015, 2, 24, 22, 55, 49, tzinfo=UTC),
        purchase_time=datetime(2015, 4, 18, 2, 47, 11, tzinfo=UTC),
        amount=3400,
        device_id="QVPSPJUOCKZAR",
        source="SEO",
        browser="Chrome",
        ip="43.173.1.96",
        sex="M",
        age="39",
        truth="normal",
    )


FURTHER = HEADER + ",card,email_domain,address,country,ip_country"


def test_a_row_that_says_more_than_the_public_set() -> None:
    (row,) = parse(GOOD + ",card_17,Mail.Example,addr_4,Germany,France", header=FURTHER)
    assert isinstance(row, Row)
    assert (row.card, row.email_domain, row.address) == ("card_17", "mail.example", "addr_4")
    assert (row.country, row.ip_country) == ("Germany", "France")
    (silent,) = parse(GOOD + ",,,,,", header=FURTHER)
    assert silent == one(GOOD)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("4111111111111111,,,,", "card looks like a card number: give the payment provider's fingerprint of the card"),
        ("4111 1111 1111 1111,,,,", "card looks like a card number"),
        ("3782-822463-10005,,,,", "card looks like a card number"),
        (",ann@mail.example,,,", "email_domain has an @: give only what follows it"),
        (",,a\x07b,,", "address 'a\\x07b' has control characters"),
        (",,,D,", "country 'D' is no country: 2 to 60 characters"),
        (",,,," + "F" * 61, "is no country: 2 to 60 characters"),
    ],
)
def test_what_a_further_column_may_not_hold_is_refused_and_secrets_are_not_shown(cells: str, reason: str) -> None:
    (row,) = parse(f"{GOOD},{cells}", header=FURTHER)
    assert isinstance(row, BadRow)
    assert reason in row.reason
    assert not {"1111", "2246", "ann"} & {row.reason[n : n + k] for n in range(len(row.reason)) for k in (3, 4)}


@pytest.mark.parametrize(
    ("written", "seconds", "microseconds"),
    [
        ("2015-04-18 02:47:11", 11, 0),
        ("2015-04-18T02:47:11", 11, 0),
        ("2015-04-18T02:47:11Z", 11, 0),
        ("2015-04-18 02:47:11 UTC", 11, 0),
        ("2015-04-18 02:47", 0, 0),
        ("2015-04-18 02:47:11.25", 11, 250_000),
        ("2015-04-18 02:47:11.123456789", 11, 123_456),
        ("2015-04-18 04:47:11+02:00", 11, 0),
        ("2015-04-18 04:47:11 +0200", 11, 0),
    ],
)
def test_forms_of_a_time(written: str, seconds: int, microseconds: int) -> None:
    expected = datetime(2015, 4, 18, 2, 47, seconds, microseconds, tzinfo=UTC)
    assert good(purchase_time=written).purchase_time == expected


@pytest.mark.parametrize(
    ("written", "cents"), [("34", 3400), ("34.0", 3400), ("0.05", 5), ("34.5", 3450), ("0", 0), ("1e2", 10_000)]
)
def test_an_amount_becomes_cents(written: str, cents: int) -> None:
    assert good(purchase_value=written).amount == cents


@pytest.mark.parametrize(
    ("written", "dotted"),
    [
        ("0", "0.0.0.0"),  # noqa: S104  # an address in the data
        ("4294967295", "255.255.255.255"),
        ("732758368.79972", "43.173.1.96"),
        ("43.173.1.96", "43.173.1.96"),
        ("", None),
    ],
)
def test_forms_of_an_ip(written: str, dotted: str | None) -> None:
    assert good(ip_address=written).ip == dotted


def test_a_missing_entity_is_none_and_not_invented() -> None:
    row = good(device_id="", ip_address="", source="", browser="")
    assert (row.device_id, row.ip, row.source, row.browser) == (None, None, None, None)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (changed(user_id=""), "user_id is empty"),
        (changed(user_id="abc"), "user_id 'abc' is not a whole number"),
        (changed(user_id="1.5"), "user_id '1.5' is not a whole number"),
        (changed(user_id="\u0663"), "user_id '\\u0663' is not a whole number"),
        (changed(signup_time=""), "signup_time is empty"),
        (changed(signup_time="yesterday"), "signup_time 'yesterday' is not a time like 2015-02-24 22:55:49"),
        (changed(signup_time="2015-02-24T22:55+01"), "signup_time '2015-02-24T22:55+01' is not a time like"),
        (changed(signup_time="2015-02-24 2b:55:49"), "signup_time '2015-02-24 2b:55:49' is not a time"),
        (changed(purchase_time="2015-02-30 10:00:00"), "purchase_time '2015-02-30 10:00:00' is not a time that exists"),
        (changed(purchase_time="2015-04-18 25:00:00"), "purchase_time '2015-04-18 25:00:00' is not a time that exists"),
        (changed(signup_time="1970-01-01 00:00:00"), "signup_time '1970-01-01 00:00:00' is before the year 2000"),
        (changed(purchase_time="2915-04-18 02:47:11"), "purchase_time '2915-04-18 02:47:11' is after the year 2099"),
        (changed(purchase_time="2015-02-24 22:55:48"), "is before signup_time '2015-02-24 22:55:49'"),
        (changed(purchase_value="abc"), "purchase_value 'abc' is not a number"),
        (changed(purchase_value=""), "purchase_value is empty"),
        (changed(purchase_value="nan"), "purchase_value 'nan' is not a number"),
        (changed(purchase_value="Infinity"), "purchase_value 'Infinity' is not a number"),
        (changed(purchase_value="-3"), "purchase_value '-3' is below zero"),
        (changed(purchase_value="10000000001"), "purchase_value '10000000001' is above 10,000,000,000"),
        (changed(purchase_value="1e999"), "purchase_value '1e999' is above"),
        (changed(purchase_value="3.145"), "purchase_value '3.145' has more than two decimal places"),
        (changed(purchase_value="1e-999"), "purchase_value '1e-999' has more than two decimal places"),
        (changed(ip_address="4294967296"), "ip_address '4294967296' is not an IPv4 address: out of 0 to 4294967295"),
        (changed(ip_address="-1"), "ip_address '-1' is not an IPv4 address"),
        (changed(ip_address="300.1.1.1"), "ip_address '300.1.1.1' is not an IPv4 address"),
        (changed(ip_address="::1"), "ip_address '::1' is not a number"),
        (changed(ip_address="1e999"), "ip_address '1e999' is not an IPv4 address"),
        (changed(device_id="D" * 191), "has 191 characters, more than 190"),
        (changed(device_id="A\x07B"), "device_id 'A\\x07B' has control characters"),
        (changed(device_id="A\0B"), "column 5 has NUL characters"),
        (GOOD + ",1", "the line has 12 columns, the header 11"),
        ("22058", "the line has 1 columns, the header 11"),
        (changed(device_id='"A'), "the quotes of the line do not match"),
        (GOOD.encode().replace(b"SEO", b"\xff\xfe"), "column 6 is not UTF-8"),
        (b"1" * (orders_csv.MAX_LINE + 1), "the line has more than 65536 bytes"),
    ],
)
def test_a_bad_row_says_which_field_and_value(line: str | bytes, reason: str) -> None:
    assert reason in refusal(line)


def test_a_bad_row_spoils_no_other() -> None:
    rows = parse(changed(user_id="1"), changed(device_id='"A'), "x" * 200_000, changed(user_id="2"))
    assert [type(row).__name__ for row in rows] == ["Row", "BadRow", "BadRow", "Row"]
    assert [row.line for row in rows] == [2, 3, 4, 5]


def test_an_exact_repeat_names_the_line_it_repeats() -> None:
    rows = parse(GOOD, changed(user_id="1"), changed(purchase_value="34.00", device_id="OTHER"))
    assert rows[2] == BadRow(4, "duplicate of line 2: same user_id, purchase_time and purchase_value")


def test_a_refused_row_is_no_original_of_a_repeat() -> None:
    assert isinstance(parse(changed(ip_address="x"), GOOD)[1], Row)


def test_bom_crlf_quotes_blank_lines_order_and_further_columns() -> None:
    header = b"\xef\xbb\xbfextra,Purchase_Value,purchase_time,signup_time,user_id,ip_address,device_id,source,browser\r"
    rows = parse(b'"a, b", 12 ,"2015-04-18 02:47:11",2015-04-18 02:47:11,7,,,,\r', b"\r", b"   ", header=header)
    assert len(rows) == 1
    assert isinstance(rows[0], Row)
    assert (rows[0].user_id, rows[0].amount, rows[0].ip, rows[0].truth) == ("7", 1200, None, "unknown")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("a,b,c", "lacks user_id, signup_time, purchase_time, purchase_value, device_id, source, browser, ip_address"),
        (HEADER.replace("ip_address,", ""), "the header lacks ip_address;"),
        (HEADER.replace(",", ";"), "the header lacks user_id"),
        (HEADER + ",user_id", "names user_id more than once"),
        (HEADER.encode("utf-16"), "the header cannot be read: column 1 is not UTF-8"),
    ],
)
def test_a_wrong_header_is_explained(header: str | bytes, message: str) -> None:
    with pytest.raises(orders_csv.BadFile, match=message):
        parse(GOOD, header=header)


def test_an_empty_or_missing_file_is_explained(tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.touch()
    with pytest.raises(
        orders_csv.BadFile, match=r"empty\.csv: the file is empty; the first line must name the columns"
    ):
        orders_csv.read(empty)
    with pytest.raises(orders_csv.BadFile, match=r"none\.csv: No such file"):
        orders_csv.read(tmp_path / "none.csv")


cell = st.one_of(
    st.sampled_from([*GOOD.split(","), "", "nan", "1e9", "-1", '"', "2015-01-01T00:00:00+23:59", "9" * 30]),
    st.text(max_size=12),
)
line = st.one_of(
    st.binary(max_size=80),
    st.lists(cell, min_size=9, max_size=16).map(lambda cells: ",".join(cells).encode("utf-8", "surrogatepass")),
    st.builds(lambda name, value: changed(**{name: value}).encode("utf-8", "surrogatepass"),
              st.sampled_from(HEADER.split(",")[:-1]), cell),
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(line, max_size=8), st.sampled_from([HEADER, FURTHER]))
def test_no_bytes_make_it_fall_over_and_every_good_row_makes_valid_events(lines: list[bytes], header: str) -> None:
    rows = list(orders_csv.parse(io.BytesIO(b"\n".join([header.encode(), *lines]))))
    assert all(row.reason for row in rows if isinstance(row, BadRow))
    made = book.book([row for row in rows if isinstance(row, Row)])
    for _, event in book.events(made):
        assert events.decode(events.encode(event)) == event


moment = st.integers(946_684_800, 2_493_072_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
plain = st.text("ABCxyz 0189-_.;'", min_size=1, max_size=20).map(str.strip).filter(bool)
rows_strategy = st.builds(
    Row,
    line=st.just(0),
    user_id=st.integers(0, 10**12).map(str),
    signup_time=moment,
    purchase_time=moment.map(lambda time: time + timedelta(days=18_263)),
    amount=st.integers(0, 10**12),
    device_id=st.none() | plain,
    source=st.none() | plain,
    browser=st.none() | plain,
    ip=st.none() | st.ip_addresses(v=4).map(str),
    truth=st.sampled_from(["normal", "unknown", "fraud"]),
    card=st.none() | plain.map("card_".__add__),
    email_domain=st.none() | plain.map(str.lower),
    address=st.none() | plain,
    country=st.none() | st.sampled_from(["Germany", "Korea, Republic of", "DE"]),
    ip_country=st.none() | st.sampled_from(["France", 'a "quoted" one']),
)


@settings(deadline=None)
@given(st.lists(rows_strategy, max_size=5, unique_by=lambda row: row.user_id))
def test_what_is_written_is_read_back_the_same(rows: list[Row]) -> None:
    text = io.StringIO(newline="")
    orders_csv.write(rows, text)
    found = list(orders_csv.parse(io.BytesIO(text.getvalue().encode())))
    assert [{**_fields(row), "line": 0} for row in found if isinstance(row, Row)] == [_fields(row) for row in rows]


def _fields(row: Row) -> dict[str, object]:
    return {name: getattr(row, name) for name in Row.__slots__}


@pytest.mark.skipif(not PUBLIC_SET.exists(), reason=f"the public order set is not at {PUBLIC_SET}")
def test_the_public_set_is_read_without_a_refusal() -> None:
    orders = orders_csv.read(PUBLIC_SET)
    assert (len(orders.signups), len(orders.sales), orders.rejected) == (25_897, 25_897, ())
