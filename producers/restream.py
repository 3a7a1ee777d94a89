"""The shop's answer to a correction: sends the orders that the reconciliation found sold but never streamed.

Reads the corrections with the remedy stream-order from their topic and sends those orders of the book again. Running it
twice does no harm: the stream refuses an order that it has seen. Give it the same --countries as the shop had, or the
orders lack what the others have.
"""

import argparse
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from kafka_access import Brokers, Refused, client, refusal
from order_fraud.events import BadEvent, CorrectionRequested, decode
from order_fraud.rights import READING_GROUPS
from order_fraud.topics import CUSTOMER_EVENTS, RECONCILIATION_FINDINGS, SHOP
from producers import countries, source
from producers.book import new_order
from producers.countries import BadTable
from producers.orders_csv import BadFile
from producers.outbox import NOT_LET_IN, BrokerUnusable, Outbox, bootstrap_from_environment, brokers

ALL_WELL, BAD_INPUT, ORDERS_UNKNOWN, NO_BROKER, NOT_DELIVERED = 0, 2, 3, 4, 5
REMEDY = "stream-order"
SHOWN = 20


def asked_for(bootstrap: Brokers) -> list[str]:
    """Return the ids of the orders that corrections ask the shop to stream, each once, sorted.

    Raises:
        Refused: Kafka does not let us read the topic.
        KafkaException: another error of the broker.
    """
    consumer = Consumer(
        client(bootstrap)
        | {
            "group.id": READING_GROUPS[SHOP],  # required by librdkafka, never joined
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    topic = RECONCILIATION_FINDINGS
    wanted: set[str] = set()
    ends = 0
    try:
        consumer.assign([TopicPartition(topic.name, n, OFFSET_BEGINNING) for n in range(topic.partitions)])
        while ends < topic.partitions:
            for message in consumer.consume(10_000, 1.0):
                error = message.error()
                if error is None:
                    wanted |= _order_of(message.value())
                elif error.code() == KafkaError._PARTITION_EOF:
                    ends += 1
                else:
                    raise refusal(error, bootstrap, topic.name, READING_GROUPS[SHOP]) or KafkaException(error)
    finally:
        consumer.close()
    return sorted(wanted)


def _order_of(value: bytes | None) -> set[str]:
    try:
        event = decode(value)
    except BadEvent:
        return set()  # the delivery service reads this topic too and sets such a record aside
    if isinstance(event, CorrectionRequested) and event.data.remedy == REMEDY:
        return {event.data.order_id}
    return set()


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m producers.restream",
        description=__doc__,
        epilog="Exit codes: 0 all sent (or none asked for), 2 wrong usage or unreadable file, 3 an order asked for is "
        "not in the book, 4 no broker or topic, 5 some records were not acknowledged, 6 Kafka refuses user, password "
        "or rights.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source.add_arguments(parser)
    countries.add_argument(parser)
    parser.add_argument(
        "--bootstrap", type=brokers, default=bootstrap_from_environment(), metavar="HOST:PORT", help="the broker"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = parse_arguments(arguments)
    try:
        sales = {sale.order_id: sale for sale in source.load(options).sales}
        country_of = countries.read(options.countries) if options.countries else None
        outbox = Outbox(CUSTOMER_EVENTS, options.bootstrap, "restream")
        wanted = asked_for(options.bootstrap)
    except (BadFile, BadTable) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return NOT_LET_IN
    except (BrokerUnusable, KafkaException) as error:
        print(f"error: {error}", file=sys.stderr)
        return NO_BROKER
    for row in country_of.rejected if country_of else ():
        print(f"{options.countries}: left out: {row}", file=sys.stderr)
    unknown = [order_id for order_id in wanted if order_id not in sales]
    for order_id in wanted:
        if order_id in sales:
            outbox.send(sales[order_id].row.user_id, new_order(sales[order_id], country_of))
    outbox.close()
    for order_id in unknown[:SHOWN]:
        print(f"order {order_id} is asked for but is not in this book", file=sys.stderr)
    for reason, times in outbox.failures.most_common():
        print(f"not delivered: {times} x {reason}", file=sys.stderr)
    print(f"{outbox.acknowledged.total()} of {len(wanted)} orders asked for were sent to {CUSTOMER_EVENTS.name}")
    if outbox.failed:
        return NOT_DELIVERED
    return ORDERS_UNKNOWN if unknown else ALL_WELL


if __name__ == "__main__":
    sys.exit(main())
