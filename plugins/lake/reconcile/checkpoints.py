"""Where checkpoints are kept: ``<root>/<id>/…`` and then ``<root>/<id>.json``, whose coming makes it one.

A run that is killed before that leaves files that no manifest names: nobody reads them, and a later run removes them.
"""

import hashlib
import logging
import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import msgspec

from lake.reconcile.checkpoint import Manifest, Segment
from lake.settings import Settings

log = logging.getLogger(__name__)

KEPT = 3
"""So many checkpoints stay: the newest, and some for repeated landings and for looking into what went wrong."""
ORPHAN = timedelta(hours=6)
"""Files that no manifest names are removed when they are older: longer than any run takes."""
AT_ONCE = 8


class Damaged(Exception):
    """A file of a checkpoint is gone or is not what was written; the message names it."""


@dataclass(frozen=True)
class Checkpoints:
    """All checkpoints below one root.

    Attributes:
        files: the file system.
        root: a folder in it.
    """

    files: Any
    root: str

    @classmethod
    def in_bucket(cls, settings: Settings) -> "Checkpoints":
        """Return those beside the lake's warehouse."""
        client = {"region_name": settings.region}
        keys = {"key": settings.access_key, "secret": settings.secret_key, "endpoint_url": settings.s3_endpoint}
        options = {name: value for name, value in keys.items() if value is not None}
        # What another process wrote must be seen: no listing is kept.
        found = fsspec.filesystem(
            "s3", client_kwargs=client, use_listings_cache=False, skip_instance_cache=True, **options
        )
        return cls(found, f"{settings.bucket}/checkpoints/reconcile_orders")

    @classmethod
    def in_folder(cls, folder: Path) -> "Checkpoints":
        """Return those in a folder of this machine."""
        return cls(fsspec.filesystem("file", auto_mkdir=True), str(folder))

    def manifests(self) -> Iterator[Manifest]:
        """Yield the manifests, the newest first; one that cannot be read is passed over."""
        for path in sorted(self._found(".json"), reverse=True):
            try:
                yield msgspec.json.decode(self.files.cat_file(path), type=Manifest)
            except (msgspec.DecodeError, FileNotFoundError) as error:
                log.warning("checkpoint %s is no manifest and is passed over: %s", path, error)

    def fetch(self, manifest: Manifest, folder: Path) -> None:
        """Put the files of a checkpoint into a local folder.

        Raises:
            Damaged: see there.
        """

        def one(segment: Segment) -> None:
            target = folder / segment.name
            try:
                self.files.get_file(f"{self.root}/{segment.path}", str(target))
            except FileNotFoundError as error:
                raise Damaged(f"{segment.path} is not there") from error
            if _sha256(target) != segment.sha256:
                raise Damaged(f"{segment.path} does not hold what was written")

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(one, manifest.segments))

    def keep(self, manifest: Manifest, folder: Path, names: Iterable[str]) -> None:
        """Store a checkpoint: new files of ``folder`` first, its manifest last.

        Args:
            manifest: its segments are those of an earlier checkpoint that it goes on from.
            folder: where the new files lie.
            names: of the new files.
        """

        def one(name: str) -> Segment:
            path = f"{manifest.id}/{name}"
            self.files.put_file(str(folder / name), f"{self.root}/{path}")
            return Segment(path, _sha256(folder / name))

        with ThreadPoolExecutor(AT_ONCE) as pool:
            new = list(pool.map(one, sorted(names)))
        whole = msgspec.structs.replace(manifest, segments=[*manifest.segments, *new])
        self._write(f"{manifest.id}.json", msgspec.json.encode(whole))
        log.info("checkpoint %s: %d new files of %d", manifest.id, len(new), len(whole.segments))

    def discard(self, manifest: Manifest) -> None:
        """Let no run go on from a checkpoint any more; its manifest stays as evidence until it is tidied up."""
        self.files.mv(f"{self.root}/{manifest.id}.json", f"{self.root}/{manifest.id}.refused")

    def tidy(self, now: datetime) -> None:
        """Remove all but the newest checkpoints, and what was never finished.

        Files go after the manifests that name them: whoever is killed in between leaves files that nobody reads.
        """
        manifests = list(self.manifests())
        for manifest in manifests[KEPT:]:
            self._remove(f"{self.root}/{manifest.id}.json")
        named = {f"{self.root}/{segment.path}" for one in manifests[:KEPT] for segment in one.segments}
        for path, written in self._all():
            if path.endswith(".json") or path in named or now - written < ORPHAN:
                continue
            self._remove(path)

    def _all(self) -> Iterator[tuple[str, datetime]]:
        if not self.files.exists(self.root):
            return
        for path, info in self.files.find(self.root, detail=True).items():
            written = info.get("LastModified") or info.get("mtime")
            if info["type"] != "file" or written is None:  # a store may list a folder whose files were removed
                continue
            yield path, written if isinstance(written, datetime) else datetime.fromtimestamp(written, UTC)

    def _found(self, suffix: str) -> list[str]:
        return [
            path for path, _ in self._all() if path.endswith(suffix) and path.count("/") == self.root.count("/") + 1
        ]

    def _remove(self, path: str) -> None:
        try:
            self.files.rm_file(path)
        except FileNotFoundError:  # another run was faster
            return
        log.info("checkpoints: removed %s", path)

    def _write(self, name: str, content: bytes) -> None:
        self.files.pipe_file(f"{self.root}/{name}", content)


def new_id(now: datetime) -> str:
    """Return an id for a checkpoint; ids sort by time."""
    return f"{now:%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(4)}"


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
