"""A topic of one test on the real broker, and ways to fill it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

from order_fraud import topics
from order_fraud.events import NewOrder, Order, encode
from order_fraud.topics import Topic

START = datetime(2015, 1, 1, tzinfo=UTC)


def order(number: int, ip: str | None = "10.1.2.3") -> NewOrder:
    """An order; its id, customer and time follow from its number."""
    return NewOrder(
        id=f"order/{number}-1",
        source="/shop",
        subject=f"{number}-1",
        time=START + timedelta(minutes=number),
        data=Order(
            order_id=f"{number}-1", customer_id=str(number), amount=100 + number, currency="USD", device_id="D1", ip=ip
        ),
    )


class Tape:
    """A topic made for one test, like ``customer.events`` but under a name of its own."""

    def __init__(
        self, bootstrap: str, like: Topic = topics.CUSTOMER_EVENTS, config: dict[str, str] | None = None
    ) -> None:
        self.bootstrap = bootstrap
        self.config = config or {}
        self.topic = replace(like, name=f"test.{uuid4().hex[:12]}")
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self.make()

    def make(self) -> None:
        """Create the topic."""
        made = self.admin.create_topics([NewTopic(self.topic.name, self.topic.partitions, 1, config=self.config)])
        made[self.topic.name].result(30)

    def set(self, name: str, value: str) -> None:
        """Change a setting of the topic."""
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ConfigResource.Type.TOPIC, self.topic.name, incremental_configs=[entry])
        self.admin.incremental_alter_configs([resource])[resource].result(30)

    def remove(self) -> None:
        """Delete it, and wait until the broker has forgotten it."""
        self.admin.delete_topics([self.topic.name])[self.topic.name].result(30)
        while self.topic.name in self.admin.list_topics(timeout=10).topics:
            pass

    def make_again(self) -> None:
        """Delete the topic and create another one under its name."""
        self.remove()
        for _ in range(100):
            try:
                self.make()
            except KafkaException:
                continue
            return
        raise AssertionError(f"{self.topic.name} cannot be made again")

    def send(self, *values: bytes | None, partition: int = 0, key: bytes | None = b"k", timestamp: int = 0) -> None:
        """Put records on one partition; a time stamp of 0 is now."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 5})
        for value in values:
            producer.produce(self.topic.name, value=value, key=key, partition=partition, timestamp=timestamp)
        assert producer.flush(30) == 0

    def send_orders(self, first: int, count: int) -> None:
        """Put orders on all partitions in turn."""
        for partition in range(self.topic.partitions):
            self.send(
                *(encode(order(number)) for number in range(first, first + count) if number % 4 == partition),
                partition=partition,
            )

    def readable(self, partition: int) -> int:
        """Return how many records the broker still hands out."""
        settings = {"bootstrap.servers": self.bootstrap, "group.id": uuid4().hex, "enable.partition.eof": True}
        consumer = Consumer(settings)
        try:
            consumer.assign([TopicPartition(self.topic.name, partition, 0)])
            count = 0
            while True:
                message = consumer.poll(30)
                assert message is not None, f"{self.topic.name} does not answer"
                if message.error() is not None:
                    assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                    return count
                count += 1
        finally:
            consumer.close()

    @contextmanager
    def transaction(self) -> Iterator[Producer]:
        """A producer inside an open transaction; aborted at the end unless the test committed it."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "transactional.id": uuid4().hex})
        producer.init_transactions(30)
        producer.begin_transaction()
        try:
            yield producer
        finally:
            with suppress(KafkaException):  # the test has ended it
                producer.abort_transaction(30)

    def delete_before(self, partition: int, offset: int) -> None:
        """What retention does: remove the records before an offset."""
        before = TopicPartition(self.topic.name, partition, offset)
        self.admin.delete_records([before])[before].result(30)
