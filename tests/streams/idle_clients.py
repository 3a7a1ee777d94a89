"""A producer and a consumer that nobody polls for as long as the first argument says (seconds), and then are used."""

import os
import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition

from kafka_access import access, client
from order_fraud.topics import CUSTOMER_EVENTS

known = access(os.environ)
producer = Producer(client(known))
consumer = Consumer(client(known) | {"group.id": "countersign-restream", "enable.auto.commit": False})
producer.list_topics(CUSTOMER_EVENTS.name, 10)
time.sleep(float(sys.argv[1]))
errors: list[object] = []
# No event at all: whoever reads it sets it aside. What counts is that the broker takes it.
producer.produce(CUSTOMER_EVENTS.name, b"idle", b"idle", on_delivery=lambda error, _: errors.append(error))
assert producer.flush(10) == 0
assert errors == [None], errors
consumer.get_watermark_offsets(TopicPartition(CUSTOMER_EVENTS.name, 0), 10)
print("both are still let in")
