"""Ends a process that hangs where no exception reaches it."""

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def comes_back_within(seconds: float) -> Iterator[None]:
    """End the process, with a traceback of all threads, if the block takes longer. Not to be nested.

    Seen with librdkafka 2.16: after a broker was killed in the middle of a transaction, ``send_offsets_to_transaction``
    timed out four times and did not come back from the fifth call, its own time-out notwithstanding. Such a worker
    neither works nor ends, and holds up its group's rebalance. To be dropped when transactional calls keep their
    time-outs.
    """
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
