"""Dead letters: the record as it came, unless no topic would take it."""

import hashlib
from dataclasses import dataclass
from typing import cast

import pytest
from confluent_kafka import Message

from streams.letters import HEADROOM, LEFT_OUT, LONGEST, letter


@dataclass
class Record:
    """As much of a Kafka record as a letter is made from."""

    _key: bytes | None
    _value: bytes | None

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def topic(self) -> str:
        return "customer.events"

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 17


HEADERS = {"reason": "why", "topic": "customer.events", "partition": "3", "offset": "17", "service": "fraud"}


def said(what: str, content: bytes) -> str:
    return f"{what} of {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}"


@pytest.mark.parametrize("key", [None, b"", b"k", b"\xff" * 100_000])
@pytest.mark.parametrize("value", [None, b"", b"\x00", b"v" * 1_000_000])
def test_a_record_that_fits_is_kept_byte_for_byte(key: bytes | None, value: bytes | None) -> None:
    assert letter(cast(Message, Record(key, value)), "why", "fraud") == (value, key, HEADERS)


def test_what_no_topic_takes_is_named_and_left_where_it_stands() -> None:
    value, key = b"v" * (LONGEST + 1), b"k" * (LONGEST + 1)
    assert letter(cast(Message, Record(b"k", value)), "why", "fraud") == (
        None,
        b"k",
        HEADERS | {LEFT_OUT: said("value", value)},
    )
    assert letter(cast(Message, Record(key, b"v")), "why", "fraud") == (
        b"v",
        None,
        HEADERS | {LEFT_OUT: said("key", key)},
    )
    both = letter(cast(Message, Record(key, value)), "why", "fraud")
    assert both == (None, None, HEADERS | {LEFT_OUT: f"{said('key', key)}, {said('value', value)}"})


def test_what_is_left_leaves_room_for_the_headers() -> None:
    for key, value in ((HEADROOM, LONGEST), (HEADROOM + 1, LONGEST), (LONGEST, 1), (1, LONGEST - 1)):
        kept_value, kept_key, _ = letter(cast(Message, Record(b"k" * key, b"v" * value)), "why", "fraud")
        assert len(kept_value or b"") + len(kept_key or b"") <= LONGEST
