"""What a dead letter looks like: the record as it came, and in the headers why, from where, and by whom.

A record can be longer than any topic takes: the broker measures what the producer compressed, and a megabyte of zeros
is a kilobyte on the wire. Such a value cannot be sent on, and a worker that insisted would never get past it. It stays
where it stands; the letter says so, and how to know it again.
"""

import hashlib

from confluent_kafka import Message

from order_fraud.topics import DEAD_LETTERS

HEADROOM = 64 * 1024
"""For the headers and for what Kafka adds to a record."""

LONGEST = DEAD_LETTERS.max_message_bytes - HEADROOM
LEFT_OUT = "left-out"
"""The header of a letter that has not all of its record."""

Letter = tuple[bytes | None, bytes | None, dict[str, str | bytes | None]]


def letter(record: Message, reason: str, service: str) -> Letter:
    """Return value, key and headers of the dead letter of a record.

    Args:
        record: as librdkafka gave it.
        reason: why it was refused.
        service: by whom.
    """
    headers: dict[str, str | bytes | None] = {
        "reason": reason,
        "topic": record.topic(),
        "partition": str(record.partition()),
        "offset": str(record.offset()),
        "service": service,
    }
    value, key = record.value(), record.key()
    if len(value or b"") + len(key or b"") <= LONGEST:
        return value, key, headers
    left_out = []
    if len(key or b"") > HEADROOM:
        left_out.append(_said("key", key or b""))
        key = None
    if len(value or b"") + len(key or b"") > LONGEST:
        left_out.append(_said("value", value or b""))
        value = None
    headers[LEFT_OUT] = ", ".join(left_out)
    return value, key, headers


def _said(what: str, content: bytes) -> str:
    return f"{what} of {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}"
