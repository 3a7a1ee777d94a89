"""Tokens: stable, alike wherever the value stands, useless without the key."""

import hashlib
import hmac
import re

import pytest

from lake.masking import Masker
from lake.settings import BadSetting

KEY = "a masking key for tests"


def test_token_is_the_first_half_of_the_hmac() -> None:
    expected = hmac.new(KEY.encode(), b"10.1.2.3", hashlib.sha256).hexdigest()[:32]
    assert Masker(KEY)("10.1.2.3") == f"tok_{expected}"


def test_same_value_same_token_and_other_value_other_token() -> None:
    mask = Masker(KEY)
    tokens = [mask(f"10.0.{a}.{b}") for a in range(40) for b in range(40)]
    assert len(set(tokens)) == len(tokens)
    assert tokens == [Masker(KEY)(f"10.0.{a}.{b}") for a in range(40) for b in range(40)]


def test_other_key_gives_other_tokens() -> None:
    assert Masker(KEY)("10.1.2.3") != Masker("another key of this length")("10.1.2.3")


def test_masking_twice_changes_nothing() -> None:
    mask = Masker(KEY)
    assert mask(mask("10.1.2.3")) == mask("10.1.2.3")


@pytest.mark.parametrize("value", ["tok_", "tok_" + "g" * 32, "tok_" + "a" * 33, "tok_" + "a" * 32 + "\n"])
def test_what_only_looks_like_a_token_is_masked(value: str) -> None:
    assert re.fullmatch(r"tok_[0-9a-f]{32}", Masker(KEY)(value))
    assert Masker(KEY)(value) != value


def test_email_is_alike_in_any_spelling() -> None:
    mask = Masker(KEY)
    assert mask.email(" Jane@Example.COM ") == mask.email("jane@example.com") == mask("jane@example.com")


def test_short_key_is_refused_with_the_remedy() -> None:
    with pytest.raises(BadSetting, match="masking_key has 5 bytes"):
        Masker("short")
