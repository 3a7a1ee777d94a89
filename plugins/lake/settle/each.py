"""Makes a port of what is done order by order: several at a time, customers in a row."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import groupby

from lake.landing.http import SourceUnavailable
from lake.settle.api import Refused, Spent
from lake.settle.case import REASON, Case, Evidence, Job, Result

SIDE_BY_SIDE = 4
"""Calls at a time: well within what the providers allow, and enough to hide the way there and back."""


class Each:
    """Calls a function per order. Orders of one customer come one after the other, since they may share a record."""

    def __init__(self, call: Callable[[Job], Evidence]) -> None:
        """Take the function that makes the call and returns what the other side said.

        It raises Refused, Spent or SourceUnavailable; anything else ends the task.
        """
        self._call = call

    def prepare(self, cases: Sequence[Case]) -> Mapping[str, Evidence]:
        """Nothing needs to be known to undo what cannot be undone."""
        return {}

    def act(self, jobs: Sequence[Job]) -> Iterator[Result]:
        """Yield the results in the order in which they come in."""
        in_a_row = sorted(jobs, key=lambda job: (job.case.customer_id, job.case.order_id))
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            pending = [
                pool.submit(self._all, list(theirs))
                for _, theirs in groupby(in_a_row, lambda job: job.case.customer_id)
            ]
            try:
                for done in as_completed(pending):
                    yield from done.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _all(self, jobs: list[Job]) -> list[Result]:
        return [self._one(job) for job in jobs]

    def _one(self, job: Job) -> Result:
        try:
            return Result(job, "done", self._call(job))
        except Refused as error:
            return Result(job, "refused", {REASON: str(error)})
        except Spent as error:
            return Result(job, "spent", {REASON: str(error)})
        except SourceUnavailable as error:
            return Result(job, None, {REASON: str(error)})
