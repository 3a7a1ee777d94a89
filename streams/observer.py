"""What the transport tells whoever watches it; called per poll, never per record."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from order_fraud.judge import Panel
from streams.batch import Batch

Place = tuple[str, int]
"""A topic and one of its partitions."""


class Observer(Protocol):
    """Hears of everything that a worker does. Calls come from the event loop, those about a restore from the thread
    that restores, those about policies from the one that follows them.
    """

    def judging(self, panel: Panel) -> None:
        """Hear who judges from now on, and who is on trial."""
        return

    def policy_refused(self, why: str) -> None:
        """Hear that a record of the policies was of no use; ``why`` is one of :data:`order_fraud.policies.Why`."""
        return

    def assigned(self, places: Iterable[Place]) -> None:
        """Hear which partitions are ours from now on."""
        return

    def restoring(self, records: int, partitions_to_go: int) -> None:
        """Hear that state is being restored: changelog records read so far."""
        return

    def restored(self, records: int, seconds: float) -> None:
        """Hear that a restore is over."""
        return

    def ready(self) -> None:
        """Hear that the partitions assigned have their state."""
        return

    def polled(self, batches: Sequence[Batch]) -> None:
        """Hear what is in hand now; nothing is committed yet."""
        return

    def committed(self, batches: Sequence[Batch], seconds: float) -> None:
        """Hear that batches are through, and how long committing took."""
        return

    def aborted(self, batches: Sequence[Batch]) -> None:
        """Hear that batches come again."""
        return

    def lag(self, places: Mapping[Place, tuple[int, int]]) -> None:
        """Hear, about once a second, where each partition stands and where its log ends."""
        return


class Nobody(Observer):
    """Watches nothing: what an observer does unless it says otherwise."""
