"""The ceiling for Python: a bare confluent-kafka loop over the three hops, one transaction per poll.

What a competent engineer writes who needs the speed and nothing else: histories in dicts, records in and out by the
thousand, changelog and offsets in the transaction. It does not fence a paused predecessor, restore its histories, take
unusable records aside, or go on after an aborted transaction.
"""

import argparse
import os
from collections import defaultdict
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from order_fraud.events import encode
from order_fraud.history import pack
from order_fraud.relay import ROUTE, Hop, Shelf, receive, step
from scorecards import PANEL

Place = tuple[str, int]
ANY_PARTITION = -1


def run(bootstrap: str, index: int) -> None:
    """Work until killed."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-loop",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "partition.assignment.strategy": "range",
            "fetch.wait.max.ms": 10,
            "fetch.message.max.bytes": 8_000_000,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": f"bench-loop/{index}",
            "partitioner": "murmur2_random",
            "linger.ms": 1,
            "batch.size": 900_000,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 1_048_576,
        }
    )
    producer.init_transactions(30)
    hops = {hop.reads.name: hop for hop in ROUTE}
    consumer.subscribe(list(hops))
    shelves: dict[Place, Shelf] = defaultdict(Shelf)
    while True:
        if messages := consumer.consume(10_000, 0.01):
            _pass(messages, hops, shelves, consumer, producer)


def _pass(messages: list[Any], hops: dict[str, Hop], shelves: dict[Place, Shelf], consumer: Any, producer: Any) -> None:
    changed: dict[Place, set[str]] = defaultdict(set)
    offsets: dict[Place, int] = {}
    produce = producer.produce
    producer.begin_transaction()
    for message in messages:
        if (error := message.error()) is not None:
            raise KafkaException(error)
        place = topic, _ = message.topic(), message.partition()
        key, timestamp = message.key(), message.timestamp()[1]
        hop = hops[topic]
        onward = step(hop, shelves[place], receive(hop, key, message.value(), timestamp), PANEL)
        changed[place].add(key.decode())
        offsets[place] = message.offset() + 1
        if onward is not None:
            # One by one: produce_batch takes no time stamps (confluent-kafka 2.16), and is no faster.
            produce(onward.topic.name, encode(onward.event), onward.key.encode(), ANY_PARTITION, None, None, timestamp)
    for (topic, partition), entity_ids in changed.items():
        shelf = shelves[topic, partition]
        log = [{"key": name.encode(), "value": pack(shelf[name]), "partition": partition} for name in entity_ids]
        if producer.produce_batch(hops[topic].changelog.name, log) != len(log):
            raise BufferError(f"{topic}: the producer's queue is full")
    positions = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
    producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata())
    producer.commit_transaction()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", type=int, required=True)
    run(os.environ["COUNTERSIGN_KAFKA"], parser.parse_args().index)
