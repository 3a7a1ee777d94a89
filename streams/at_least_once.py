"""The plain producer under the transport, for comparison: outputs first, then the offsets, and no transaction.

After a crash between the two the same orders are judged again, and histories count them twice.
"""

from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from streams.batch import Batch
from streams.polling import SERVICE_TIMEOUT_S, Poller
from streams.sending import producer_config, send_changes, send_dead_letters, send_outputs, states_of
from streams.settings import Settings


class AtLeastOnce:
    """Commits polls."""

    def __init__(self, settings: Settings, poller: Poller) -> None:
        self._poller = poller
        self._producer = Producer(
            producer_config(settings, poller)
            | {
                "enable.idempotence": True,
                "on_delivery": self._on_delivery,
                "delivery.report.only.error": True,
            }
        )
        self._batches: Sequence[Batch] = ()
        self._lost: KafkaError | None = None

    def start(self) -> None:
        """Do nothing: there is nobody to fence off."""

    def close(self) -> None:
        """Do nothing: nothing is left in the queue between polls."""

    def begin(self, batches: Sequence[Batch]) -> None:
        """Remember the batches."""
        self._batches = batches

    def add(self, batch: Batch) -> None:
        """Send what a batch gave.

        Raises:
            KafkaException: a record that can never be sent.
        """
        send_outputs(self._producer, batch)
        send_dead_letters(self._producer, batch)

    def commit(self) -> None:
        """Wait until everything is acknowledged, then store the progress.

        Raises:
            KafkaException: a record was not acknowledged, or the broker refuses.
        """
        states = states_of(self._batches)
        for state in states:
            send_changes(self._producer, state)
        while self._producer.flush(SERVICE_TIMEOUT_S) > 0 and self._lost is None:
            continue
        if self._lost is not None:
            raise KafkaException(self._lost)
        offsets = [TopicPartition(batch.topic, batch.partition, batch.next_offset) for batch in self._batches]
        self._poller.consumer.commit(offsets=offsets, asynchronous=False)
        for state in states:
            state.commit()

    def _on_delivery(self, error: KafkaError | None, _record: Message) -> None:
        if error is not None:
            self._lost = error
