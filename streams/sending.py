"""What both guarantees share: how records, dead letters and state go out."""

from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from kafka_access import client
from order_fraud.topics import DEAD_LETTERS
from streams.batch import NOW, Batch, Changelogged
from streams.letters import letter
from streams.polling import MAX_MESSAGE_BYTES, Poller
from streams.settings import Settings

ANY_PARTITION = -1


def producer_config(settings: Settings, poller: Poller) -> dict[str, Any]:
    """Return librdkafka's settings of a worker's producer, whatever it guarantees."""
    return client(settings.kafka) | {
        "client.id": settings.instance,
        "error_cb": poller.on_error,
        "partitioner": "murmur2_random",  # Kafka's own; librdkafka's default is crc32, and keys would part ways
        "message.max.bytes": 2 * MAX_MESSAGE_BYTES,  # a dead letter is a record as it came, and its headers
        "linger.ms": 1,
        # A transaction that begins before the marks of the last one are written is refused (CONCURRENT_TRANSACTIONS),
        # and librdkafka then waits this long; with its default of 100 ms that was most of an order's decision latency.
        "retry.backoff.ms": 5,
        "batch.size": 900_000,
        "queue.buffering.max.messages": 1_000_000,
        "queue.buffering.max.kbytes": 1_048_576,
    }


def send_outputs(producer: Producer, batch: Batch) -> None:
    """Queue what a batch gave.

    One by one: ``produce_batch`` takes neither time stamps nor headers (confluent-kafka 2.16), and is no faster.

    Raises:
        KafkaException: a record cannot be sent at all.
    """
    produce = producer.produce
    for topic, outputs in batch.outputs.items():
        for value, key, timestamp in outputs:
            try:
                produce(topic, value, key, ANY_PARTITION, None, None, timestamp)  # keywords cost half as much again
            except BufferError:
                send_record(producer, topic, value, key, ANY_PARTITION, timestamp, {})

    for send in batch.sends:
        send_record(producer, *send)


def send_dead_letters(producer: Producer, batch: Batch) -> None:
    """Queue the records that a batch refused, byte for byte, with reason and origin in their headers.

    Their time stamp is the present: that of an old record would let retention take the letter before anybody saw it.

    Raises:
        KafkaException: a record cannot be sent at all.
    """
    for record, reason, service in batch.dead_letters:
        value, key, headers = letter(record, reason, service)
        send_record(producer, DEAD_LETTERS.name, value, key, ANY_PARTITION, NOW, headers)


def send_record(
    producer: Producer,
    topic: str,
    value: bytes | None,
    key: bytes | None,
    partition: int,
    timestamp: int,
    headers: dict[str, str | bytes | None],
) -> None:
    """Queue one record, waiting for room where librdkafka's queue is full.

    Raises:
        KafkaException: it cannot be sent at all.
    """
    while True:
        try:
            producer.produce(topic, value, key, partition, timestamp=timestamp, headers=headers)
        except BufferError:
            producer.poll(0.1)
        else:
            return


def send_changes(producer: Producer, state: Changelogged) -> None:
    """Queue a table's changes, waiting for room where librdkafka's queue is full.

    Raises:
        KafkaException: a record cannot be sent at all.
    """
    records = state.changes()
    while records:
        if producer.produce_batch(state.changelog, records) == len(records):
            return
        failed = [record for record in records if "_error" in record]
        for record in failed:
            error = record.pop("_error")
            if error.code() != KafkaError._QUEUE_FULL:
                raise KafkaException(error)
        producer.poll(0.1)
        records = failed


def states_of(batches: Iterable[Batch]) -> list[Changelogged]:
    """Return each piece of state that changes with these batches once."""
    found: list[Changelogged] = []
    for batch in batches:
        for state in batch.states:
            if state not in found:
                found.append(state)
    return found
