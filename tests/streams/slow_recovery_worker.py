"""A worker that gets no partitions at first, and whose Faust takes its time over resuming the flow after a rebalance.

Else it is the project's own command. An assignment that takes nothing away leaves the flow open while recovery goes on.
A batch that is handed out meanwhile may be lost, if the flow is resumed before its agent's turn; here it ends all.
"""

import asyncio
import os
import sys
from typing import Any

from faust.tables.recovery import Recovery

from streams.__main__ import main
from streams.polling import Poll, Poller
from streams.transport import Consumer

recovering: list[bool] = []
poll, hand_out, rebalance = Poller.poll, Consumer._hand_out, Consumer._rebalance
resume, complete = Recovery._resume_streams, Recovery.on_recovery_completed


def _nothing_at_first(self: Poller) -> Poll:
    Poller.poll = poll  # type: ignore[method-assign]
    return Poll(assigned=set())


async def _rebalance(self: Any, found: Poll) -> None:
    recovering.append(True)
    await rebalance(self, found)


async def _hand_out_no_sooner(self: Any, batch: Any) -> None:
    if recovering:
        os._exit(9)
    await hand_out(self, batch)


async def _resume_late(self: Any, *arguments: Any, **options: Any) -> None:
    await asyncio.sleep(1)
    await resume(self, *arguments, **options)
    recovering.clear()


async def _complete_late(self: Any, *arguments: Any, **options: Any) -> None:
    await asyncio.sleep(1)
    await complete(self, *arguments, **options)
    recovering.clear()


Poller.poll = _nothing_at_first  # type: ignore[method-assign]
Consumer._rebalance = _rebalance  # type: ignore[method-assign]
Consumer._hand_out = _hand_out_no_sooner  # type: ignore[method-assign]
Recovery._resume_streams = _resume_late  # type: ignore[method-assign]
Recovery.on_recovery_completed = _complete_late  # type: ignore[method-assign]
sys.exit(main(sys.argv[1:]))
