"""A checkpoint: where a fold stopped, and everything that must still be as it was for the next one to go on from there.

What it depends on is checked, never assumed:

==================================  ================================================================================
the archive                         the data files that were folded are all there still, or in one that they were
                                    put together to (:mod:`lake.compact`); no row of them is deleted, and all others
                                    hold later offsets. Such a file is written once under a name of its own, so that a
                                    topic made anew, a table rewritten, or a record landed behind the others shows in
                                    the names
the code                            a digest of the kernel, of the scorecards that come with it, and of all code that
                                    folds and compares, with the versions of what it is built on
the files of the checkpoint         the SHA-256 of each
==================================  ================================================================================
"""

import hashlib
import sys
from collections.abc import Collection, Mapping
from datetime import datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

import msgspec

import lake
import order_fraud
import scorecards
from lake.reconcile.digests import Keys
from lake.reconcile.read import ArchiveFile, Lake
from lake.reconcile.shards import Since
from order_fraud.topics import ARCHIVED

FORMAT = 1
"""Of the manifest. What the other files hold is told by the digest of the code."""

LIBRARIES = ("msgspec", "numpy", "polars")
"""Whose versions may change bytes: digests are polars', packed histories msgspec's."""

CODE: tuple[tuple[Path, tuple[str, ...]], ...] = (
    (Path(order_fraud.__file__).parent, ("*.py",)),
    (Path(scorecards.__file__).parent, ("*.py", "*.json")),
    (Path(lake.__file__).parent, ("labels.py", "masking.py", "tables.py", "compact/*.py", "reconcile/*.py")),
)
"""Folders and the files in them that decide what a checkpoint holds."""


class Segment(msgspec.Struct, frozen=True):
    """A file of a checkpoint: its path below the root of all checkpoints, and its SHA-256."""

    path: str
    sha256: str

    @property
    def name(self) -> str:
        """Under which the fold knows it."""
        return self.path.rpartition("/")[2]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint is.

    Attributes:
        id: sorts by time.
        made_at: when, by the run's clock.
        run_id: the run that made it.
        code: see :func:`code`.
        number: how many runs went on one from the other since the last one that folded everything.
        keys: of the digests.
        read: by topic, the data files that were folded.
        ends: by topic and partition, the last offset in them.
        segments: the files that a next run needs.
    """

    id: str
    made_at: datetime
    run_id: str
    code: str
    number: int
    keys: Keys
    read: dict[str, list[str]]
    ends: dict[str, dict[int, int]]
    segments: list[Segment]
    format: int = FORMAT

    @property
    def since(self) -> Since:
        """Where the next run goes on."""
        return Since(self.number + 1, self.ends)

    def unfit(self, archive: Mapping[str, list[ArchiveFile]]) -> str | None:
        """Return why a fold of this archive must not go on from here; None if it may."""
        if self.format != FORMAT:
            return f"its format is {self.format}, and this code knows {FORMAT}"
        if self.code != code():
            return "the code that folds, or a library it is built on, is another now"
        if {*self.read} != {*archive}:
            return f"the archived topics are others now: {', '.join(sorted({*self.read} ^ {*archive}))}"
        for topic, files in archive.items():
            words = _unfit(topic, set(self.read[topic]), self.ends.get(topic, {}), files)
            if words is not None:
                return words
        return None


def _unfit(topic: str, read: set[str], ends: Mapping[int, int], files: list[ArchiveFile]) -> str | None:
    if gone := read - {file.path for file in files}:
        return f"{len(gone)} data files of {topic} that were folded are not in the table any more, {min(gone)} first"
    for file in files:
        if file.changed:
            return f"rows of {file.path} ({topic}) have been deleted"
        if file.path not in read and file.first <= ends.get(file.partition, -1):
            return (
                f"{file.path} ({topic}) has landed since with offset {file.first} of partition {file.partition}, which "
                f"was folded up to {ends[file.partition]}"
                if file.partition in ends
                else f"{file.path} ({topic}) does not say which offsets it holds"
            )
    return None


def files(lake: Lake, known: Mapping[str, Collection[str]] | None = None) -> dict[str, list[ArchiveFile]]:
    """Return the data files of all archived topics.

    Args:
        known: by topic, files that an earlier run read; what was put together of them since is returned as these.
    """
    return {topic.name: lake.files_as_known(topic.name, (known or {}).get(topic.name, ())) for topic in ARCHIVED}


def ends(archive: Mapping[str, list[ArchiveFile]]) -> dict[str, dict[int, int]]:
    """Return the last offset of each partition of each topic."""
    found: dict[str, dict[int, int]] = {}
    for topic, its in archive.items():
        for file in its:
            of_topic = found.setdefault(topic, {})
            of_topic[file.partition] = max(file.last, of_topic.get(file.partition, -1))
    return found


def digest_of(folders: tuple[tuple[Path, tuple[str, ...]], ...]) -> str:
    """Return a digest of the names and bytes of code files."""
    found = hashlib.sha256()
    for folder, patterns in folders:
        for file in sorted(one for pattern in patterns for one in folder.glob(pattern)):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            found.update(f"{folder.name}/{file.relative_to(folder)} {content}\n".encode())
    return found.hexdigest()


@cache
def code() -> str:
    """Return a digest of everything that decides what a checkpoint holds, so that no version need be declared."""
    libraries = " ".join(f"{name} {version(name)}" for name in LIBRARIES)
    python = f"python {sys.version_info.major}.{sys.version_info.minor}"
    return hashlib.sha256(f"{digest_of(CODE)} {python} {libraries}".encode()).hexdigest()
