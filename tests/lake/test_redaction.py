"""What is taken out of other systems' words, and what is left in them."""

from time import process_time
from typing import Any

import msgspec
import pytest

from lake.landing.http import Api, Endpoint, SourceRefused
from lake.masking import Masker
from lake.redaction import is_card_number, redacted, redacted_values, without_quotes
from lake.settle.api import LONGEST, Refused
from order_fraud import watch
from order_fraud.scorecard import ListEntry
from scorecards import HAND_SET

MASK = Masker("a masking key for tests")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("no customer Ann.O'Hara+x@mail.example.org here", "no customer Ann.O'Hara+x@mail.example.org here"),
        ("<ann@example.org>,bob@example.co.uk;", "<[e-mail]>,[e-mail];"),
        ("GET /x?email=ann%40example.org&b=1", "GET /x?email=[e-mail]&b=1"),
        ("4000056655665556 5200-8282-8282-8210 3782 822463 10005", "[card] [card] [card]"),
        ("order 4000056655665557", "order 4000056655665557"),
        ("from 203.0.113.7:443, 2001:db8::1 and ::ffff:10.0.0.1", "from [ip]:443, [ip] and ::ffff:[ip]"),
        ("at 2026-11-27T12:34:56Z, 1.2.3, 999.1.1.1, 12:34:56", "at 2026-11-27T12:34:56Z, 1.2.3, 999.1.1.1, 12:34:56"),
        ("1420070400000 and 1764201600 and 12345-1", "1420070400000 and 1764201600 and 12345-1"),
    ],
)
def test_addresses_and_card_numbers_go_and_the_rest_stays(text: str, left: str) -> None:
    if "Ann.O'Hara" in text:
        assert "@" not in redacted(text)
        assert redacted(text).endswith("[e-mail] here")
        return
    assert redacted(text) == left


def test_secrets_go_before_anything_is_cut() -> None:
    assert redacted("Bearer sk_1 and whsec_2", ("sk_1", "", "whsec_2")) == "Bearer [secret] and [secret]"
    refused = Refused("x" * (LONGEST - 4) + " ann@example.org")
    assert "ann" not in str(refused)
    assert len(str(refused)) <= LONGEST


def test_long_text_without_blanks_takes_no_time_by_its_square() -> None:
    begun = process_time()
    for part in ("x", "1", ":", "a.", "'", "1."):
        redacted(part * 20_000 + " @")
    assert process_time() - begun < 5


def test_json_stays_json() -> None:
    row = {"id": 7, "who": ["ann@example.org"], "pan": 4000056655665556, "ok": True, "bob@example.org": None}
    assert redacted_values(row) == {"id": 7, "who": ["[e-mail]"], "pan": "[card]", "ok": True, "[e-mail]": None}


@pytest.mark.parametrize("quoting", ["Invalid value 'o'brien@x.org' - at `$.a`", "'a' is not 'b's@x.org' - at `$.a`"])
def test_what_a_reason_quotes_goes_whatever_quotes_are_in_it(quoting: str) -> None:
    assert "@" not in without_quotes(quoting)
    assert without_quotes(quoting).endswith("- at `$.a`")
    assert "@" not in watch._QUOTED.sub("'…'", quoting)


@pytest.mark.parametrize(("text", "is_one"), [("4000 0566 5566 5556", True), ("4000056655665557", False), ("", False)])
def test_card_numbers_are_told_by_their_check_digit(text: str, is_one: bool) -> None:
    assert is_card_number(text) is is_one


def test_entities_that_are_no_fingerprints_are_masked_on_events_and_on_lists_alike() -> None:
    values = {"ip": "203.0.113.7", "card": "4000056655665556", "email_domain": "ann@example.org", "by": "ann@x.org"}
    for name, value in values.items():
        assert MASK.entity(name, value).startswith("tok_")
        assert MASK.entity(name, MASK.entity(name, value)) == MASK.entity(name, value)
    for name, value in {
        "card": "fp_1",
        "email_domain": "example.org",
        "by": "ann",
        "device": "4000056655665556",
    }.items():
        assert MASK.entity(name, value) is value
    entry = ListEntry(code="c", effect="block", entity="card", value=values["card"], reason="stolen", owner="ann")
    listed = msgspec.structs.replace(HAND_SET, lists=(entry,))
    assert MASK.scorecard(listed).lists[0].value == MASK.entity("card", values["card"])
    assert MASK.scorecard(HAND_SET) is HAND_SET


def test_answer_of_a_source_is_quoted_without_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    def answer(*_: Any, **__: Any) -> httpx.Response:
        return httpx.Response(422, text="x" * 290 + " ann@example.org sk_live_1")

    with Api(Endpoint("shop", "http://127.0.0.1:1", "sk_live_1"), {}) as api:
        monkeypatch.setattr(api._client, "request", answer)
        with pytest.raises(SourceRefused) as refused:
            api.call("GET", "/x")
    assert "ann" not in str(refused.value)
    assert "sk_live" not in str(refused.value)
    assert "http://127.0.0.1:1/x (Airflow connection shop)" in str(refused.value), "where it was stays readable"
