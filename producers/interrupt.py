"""Stopping in good order: Ctrl-C is noted and looked at between two records."""

import signal
from types import FrameType, TracebackType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """Notes the first Ctrl-C or SIGTERM while it is entered; the second Ctrl-C stops at once, as it always does.

    An exception at any moment, as is the default, can strike while a delivery report is being counted: a record that
    the broker has would then be missing in what we say was sent.

    Attributes:
        asked: somebody wants us to stop.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: list[object] = []

    def __enter__(self) -> Self:
        self._before = [signal.signal(number, self._note) for number in _SIGNALS]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, before in zip(_SIGNALS, self._before, strict=True):
            signal.signal(number, before)  # type: ignore[arg-type]  # it is what signal.signal gave us

    def _note(self, _: int, __: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
