"""Which of Kafka's errors pass by themselves.

librdkafka marks errors as retriable only where a transaction failed. What stands in place of a record, or answers a
question about offsets, never bears that mark, whatever it is. So they are listed.
"""

from confluent_kafka import KafkaError

_PASSING = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._AUTHENTICATION,  # of who was let in before; how long it may last, kafka_access.Patience knows
        KafkaError._NOENT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.UNKNOWN_LEADER_EPOCH,
    }
)


def passes(error: KafkaError) -> bool:
    """Whether an error is of a broker that is starting, moving a partition, or not to be reached just now."""
    return error.code() in _PASSING
