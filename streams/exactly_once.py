"""The transactional producer under the transport: one Kafka transaction per poll (KIP-447).

    Step 1  begin    before the first agent gets its batch
    Step 2  add      the outputs and dead letters of each batch, sent while the next agent works
    Step 3  commit   the changelogs of all state that changed, then the input offsets (as records, and to the group),
                     then the transaction

The group's metadata of the assignment goes with the offsets, so the broker refuses a worker that the group has given up
on, or that has given the partitions away since: a zombie can never commit. All methods block and must be called from
one thread.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from kafka_access import enter, missing_right
from order_fraud.rights import topics
from streams.batch import Batch
from streams.deadline import comes_back_within
from streams.polling import SERVICE_TIMEOUT_S, START_TIMEOUT_S, Poller
from streams.positions import position
from streams.sending import producer_config, send_changes, send_dead_letters, send_outputs, send_record, states_of
from streams.settings import Settings

log = logging.getLogger(__name__)

LAST_CALL_S = 5.0


class Aborted(Exception):
    """The transaction was aborted and the consumer set back; the same records come again."""


class ExactlyOnce:
    """Commits polls."""

    def __init__(self, settings: Settings, poller: Poller) -> None:
        self._poller = poller
        self._group = settings.group
        self._brokers, self._services = settings.kafka, settings.registered
        self._transactional_id = f"{settings.group}/{settings.instance}"
        self._producer = Producer(
            producer_config(settings, poller)
            | {
                "transactional.id": self._transactional_id,
                "transaction.timeout.ms": settings.transaction_timeout_ms,
            }
        )
        self._open = False
        self._batches: Sequence[Batch] = ()

    def start(self) -> None:
        """Fence off a predecessor of the same name.

        Raises:
            Refused: it may not use its transactional id.
            KafkaException: the broker cannot be reached or refuses.
        """
        try:
            self._producer.init_transactions(START_TIMEOUT_S)
        except KafkaException as error:
            raise (
                missing_right(error.args[0], self._brokers, transactional_id=self._transactional_id) or error
            ) from error

    def close(self) -> None:
        """Let readers of our topics go on at once, should a transaction have been left open."""
        if self._open:
            try:
                self._producer.abort_transaction(LAST_CALL_S)
            except KafkaException as error:
                log.warning("a transaction stays open until its time is up: %s", error.args[0])

    def begin(self, batches: Sequence[Batch]) -> None:
        """Open the transaction of these batches.

        Raises:
            Aborted: it could not be opened now.
            KafkaException: fatal.
        """
        self._batches = batches
        try:
            self._producer.begin_transaction()
        except KafkaException as error:
            self._undo(error)
        self._open = True

    def add(self, batch: Batch) -> None:
        """Send what a batch gave, within the transaction.

        Raises:
            Aborted: see :meth:`commit`.
            KafkaException: fatal, or a record that can never be sent.
        """
        try:
            send_outputs(self._producer, batch)
            send_dead_letters(self._producer, batch)
        except KafkaException as error:
            self._undo(error)

    def commit(self) -> None:
        """Make the outputs, the state changes and the progress of the batches one fact.

        Raises:
            Aborted: it did not come about; state is rolled back and the consumer stands where it stood before.
            KafkaException: fatal: this worker was fenced off, or the broker refuses for good.
        """
        batches, states = self._batches, states_of(self._batches)
        try:
            for state in states:
                send_changes(self._producer, state)
            for batch in batches:
                send_record(self._producer, *position(self._group, batch))
            offsets = [TopicPartition(batch.topic, batch.partition, batch.next_offset) for batch in batches]
            group = self._poller.membership
            self._retry(self._producer.send_offsets_to_transaction, offsets, group, SERVICE_TIMEOUT_S)
            self._retry(self._producer.commit_transaction, SERVICE_TIMEOUT_S)
        except KafkaException as error:
            self._undo(error)
        self._open = False
        for state in states:
            state.commit()

    def _undo(self, error: KafkaException) -> None:
        for state in states_of(self._batches):
            state.rollback()
        if refused := missing_right(error.args[0], self._brokers):  # to try again would be to try again for ever
            self._say_which_right()
            raise refused from error
        # _STATE: the transaction failed in the background (its records timed out in a frozen process, say) and takes no
        # more records. If it is worse than that, aborting fails and takes the worker down.
        if not (error.args[0].txn_requires_abort() or error.args[0].code() == KafkaError._STATE):
            raise error
        log.warning("transaction aborted, %d batches come again: %s", len(self._batches), error.args[0])
        try:
            self._retry(self._producer.abort_transaction, SERVICE_TIMEOUT_S)
        except KafkaException:
            # A right that is taken away between two calls of a transaction may show only as a state that is not valid.
            self._say_which_right()
            raise
        self._open = False
        self._poller.go_back(self._batches)
        raise Aborted from error

    def _say_which_right(self) -> None:
        """Ask for all rights anew: of a transaction the broker does not tell for which of its topics one is missing.

        Raises:
            Refused: it names the topic.
        """
        with suppress(KafkaException):
            enter(self._brokers, topics(self._services))

    def _retry(self, call: Any, *arguments: Any) -> None:
        """Repeat a transactional call while the broker says that it may be repeated (it is idempotent then)."""
        while True:
            self._poller.check()
            try:
                with comes_back_within(2 * SERVICE_TIMEOUT_S):
                    call(*arguments)
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise
                log.warning("the broker is busy, trying again: %s", error.args[0])
            else:
                return
