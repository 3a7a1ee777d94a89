"""The parts of Faust's consumer that its own offsets, fetcher and tables ask for, all of which go unused here."""

from collections.abc import Mapping
from typing import Any

from faust.transport import base
from faust.types import TP


class WithoutFaustOffsets(base.Consumer):
    """Keeps Faust from committing, seeking and fetching; refuses tables.

    Faust commits past messages in flight (faust-streaming/faust#606) and after a failed commit (#316). To be dropped
    when these are fixed.
    """

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Do nothing: offsets go with each poll's transaction, never by timer."""
        return False

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        return False

    async def _drain_messages(self, fetcher: Any) -> None:
        """Wait: Faust starts its fetcher after the first assignment, which here comes out of polling itself."""
        await fetcher._stopped.wait()

    async def perform_seek(self) -> None:
        """Do nothing: librdkafka goes on from the committed offsets by itself."""

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Return nothing to seek: see :meth:`perform_seek`."""
        return {}

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the ends of Faust's table changelogs, of which there are none.

        Raises:
            NotImplementedError: a Faust table was declared.
        """
        return self._no_tables(partitions)

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the starts of Faust's table changelogs, of which there are none.

        Raises:
            NotImplementedError: a Faust table was declared.
        """
        return self._no_tables(partitions)

    @staticmethod
    def _no_tables(partitions: tuple[TP, ...]) -> Mapping[TP, int]:
        if partitions:
            raise NotImplementedError(
                f"the batch transport keeps no Faust tables ({partitions[0].topic}): use streams.state"
            )
        return {}

    def _not_here(self, *arguments: Any, **options: Any) -> Any:
        """Refuse what only Faust's tables and its own fetcher ask of a consumer.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("the batch transport polls, seeks and keeps state itself: see streams.exactly_once")

    _getmany = _seek = position = seek_wait = _not_here
    _to_message = _new_topicpartition = key_partition = topic_partitions = _not_here

    async def create_topic(self, topic: str, *arguments: Any, **options: Any) -> None:
        """Do nothing: topics come from the registry (python -m streams.admin create)."""

    def highwater(self, tp: TP) -> int:
        """Return 0: Faust's monitor asks, nothing of ours does."""
        return 0

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing: Faust's livelock detector watches offsets that this transport does not keep."""
