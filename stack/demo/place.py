"""What the demo needs of the stack that it runs on: one that it has started, or one that is up elsewhere."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Place(Protocol):
    """A running stack."""

    @property
    def run_dir(self) -> Path:
        """Where the demo's files go."""

    @property
    def env(self) -> dict[str, str]:
        """Addresses and secrets."""

    @property
    def environ(self) -> dict[str, str]:
        """The whole environment for the project's commands."""

    def check(self) -> None:
        """Raise if waiting has become pointless."""


@dataclass(frozen=True)
class Elsewhere:
    """A stack that others run and watch, described by environment variables; its parts may be started again meanwhile.

    Attributes:
        run_dir: where the demo's files go.
        env: addresses and secrets.
    """

    run_dir: Path
    env: dict[str, str]

    @property
    def environ(self) -> dict[str, str]:
        """The same: the process has nothing but these settings."""
        return self.env

    def check(self) -> None:
        """Nothing to look at: time limits end the waiting."""
