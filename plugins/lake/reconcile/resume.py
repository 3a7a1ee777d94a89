"""Go on from a checkpoint where one fits, fold everything where none does, and prove the one by the other now and then.

1. Find the newest checkpoint that fits what the lake holds; say of each other why it does not.
2. Fetch its files, fold what came after, compare.
3. If there is none, or one of its files is damaged, or everything is to be folded anyway: fold everything.
4. If both were done, they must agree in everything. If not, nothing of this run is believed.
5. Keep what was left as a new checkpoint, and tidy up.
"""

import hashlib
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from lake.errors import Hopeless
from lake.reconcile import checkpoint, histories, sharded
from lake.reconcile.carried import pack, unpack
from lake.reconcile.checkpoint import Manifest
from lake.reconcile.checkpoints import Checkpoints, Damaged, new_id
from lake.reconcile.histories import parts
from lake.reconcile.read import ArchiveFile, Lake
from lake.reconcile.sharded import Compared, Start, Unfit
from order_fraud.judge import Panel
from order_fraud.relay import ROUTE

log = logging.getLogger(__name__)

FULL_EVERY = 30
"""So many runs go on one from the other; the next one folds everything as well. Files do not pile up, and what a month
of runs rests on is proved."""
LEDGER = "ledger.mp"


class CheckpointDiffers(Hopeless):
    """Folding everything gives something else than going on from a checkpoint; the message says where."""


@dataclass(frozen=True, slots=True)
class Carry:
    """Whether and how a run goes on from an earlier one.

    Attributes:
        store: of the checkpoints.
        run_id: of this run.
        full: fold everything, and prove the checkpoint by it.
    """

    store: Checkpoints
    run_id: str
    full: bool = False


def compare(lake: Lake, bundled: Panel, first: date, last: date, workers: int, carry: Carry) -> Compared:
    """Return what :func:`lake.reconcile.sharded.compare` does, at the price of what is new.

    Raises:
        CheckpointDiffers: see there. The checkpoint is put aside: the next run folds everything.
    """
    archive = checkpoint.files(lake)
    with tempfile.TemporaryDirectory(prefix="reconcile-") as name:
        run = _Run(lake, bundled, first, last, workers, Path(name), carry, archive)
        return run.work()


@dataclass(frozen=True)
class _Run:
    lake: Lake
    bundled: Panel
    first: date
    last: date
    workers: int
    folder: Path
    carry: Carry
    archive: dict[str, list[ArchiveFile]]

    def work(self) -> Compared:
        manifest = self._fitting()
        gone_on = None if manifest is None else self._go_on(manifest)
        due = manifest is not None and manifest.number + 1 >= FULL_EVERY
        if manifest is None or gone_on is None:
            return self._everything()
        if not (self.carry.full or due):
            if manifest.read != _read(self.archive):
                self._keep(gone_on, self.folder / "on", manifest)
            return gone_on
        on = dict(_evidence(gone_on, self.folder / "on"))
        del gone_on  # its facts are as large as those to come
        whole = self._everything(keep=False)
        off = dict(_evidence(whole, self.folder / "whole"))
        if differing := [name for name in on.keys() | off.keys() if on.get(name) != off.get(name)]:
            self.carry.store.discard(manifest)
            raise CheckpointDiffers(
                f"checkpoint {manifest.id} of run {manifest.run_id} does not give what folding everything gives: "
                f"{', '.join(sorted(differing))} differ. It is put aside as {manifest.id}.refused; the next run folds "
                "everything. Either its files were changed together with its manifest, or this is an error in the code"
            )
        log.info("checkpoint %s is proved: folding everything gives the same", manifest.id)
        self._keep(whole, self.folder / "whole", None)
        return whole

    def _fitting(self) -> Manifest | None:
        for manifest in self.carry.store.manifests():
            why = manifest.unfit(checkpoint.files(self.lake, manifest.read))
            if why is None:
                return manifest
            log.warning("checkpoint %s is not gone on from: %s", manifest.id, why)
        return None

    def _go_on(self, manifest: Manifest) -> Compared | None:
        folder = self.folder / "on"
        folder.mkdir()
        try:
            self.carry.store.fetch(manifest, folder)
            start = Start(manifest.since, unpack((folder / LEDGER).read_bytes()), manifest.keys)
            log.info("going on from checkpoint %s of run %s", manifest.id, manifest.run_id)
            return self._compare(folder, start)
        except (Damaged, Unfit) as error:
            log.warning("checkpoint %s is not gone on from: %s", manifest.id, error)
            return None

    def _everything(self, *, keep: bool = True) -> Compared:
        log.info("folding everything")
        folder = self.folder / "whole"
        folder.mkdir()
        start = Start()
        found = self._compare(folder, start)
        if keep:
            self._keep(found, folder, None)
        return found

    def _compare(self, folder: Path, start: Start) -> Compared:
        return sharded.compare(self.lake, self.bundled, self.first, self.last, self.workers, folder=folder, start=start)

    def _keep(self, found: Compared, folder: Path, on: Manifest | None) -> None:
        now = datetime.now(UTC)
        (folder / LEDGER).write_bytes(pack(found.ledger))
        manifest = Manifest(
            id=new_id(now),
            made_at=now,
            run_id=self.carry.run_id,
            code=checkpoint.code(),
            number=found.start.since.number,
            keys=found.start.keys,
            read=_read(self.archive),
            ends=checkpoint.ends(self.archive),
            segments=[segment for segment in (on.segments if on else ()) if segment.name != LEDGER],
        )
        old = {segment.name for segment in manifest.segments}
        names = {file.name for file in folder.iterdir()} - old - {file.name for file in _of_this_run(folder)}
        try:
            self.carry.store.keep(manifest, folder, names)
            self.carry.store.tidy(now)
        except OSError as error:  # the findings are right without it, and the next run folds more
            log.warning("checkpoint %s was not kept: %s", manifest.id, error)


def _of_this_run(folder: Path) -> Iterator[Path]:
    """Yield the files that are for the workers of one run only."""
    return (file for _, _, file in parts(folder, sharded.shards.EXCEPTIONS, "arrow"))


def _read(archive: dict[str, list[ArchiveFile]]) -> dict[str, list[str]]:
    return {topic: sorted(file.path for file in its) for topic, its in archive.items()}


def _evidence(found: Compared, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield digests of everything that a comparison says and leaves, by name."""
    hops = tuple(replace(hop, seconds=0.0) for hop in found.parity.hops)
    yield "what re-folding found", _sha256(repr(replace(found.parity, hops=hops)))
    yield "what is carried on", _sha256(repr(found.ledger))
    yield "who judged", _sha256(repr(found.panels.versions()))
    for one in fields(found.facts):
        frame = getattr(found.facts, one.name)
        yield f"facts: {one.name}", _rows(frame if one.name == "sign_ups" else frame.with_row_index())
    for hop in ROUTE:
        for partition in found.ledger.folds.get(hop.reads.name, {}):
            name = f"histories of {hop.reads.name}, partition {partition}"
            yield name, _rows(histories.whole(folder, hop.reads.name, partition))


def _rows(frame: pl.DataFrame) -> str:
    """Return a digest of rows in any order."""
    return "nothing" if frame.is_empty() else f"{frame.height} rows, {frame.hash_rows().sum()}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
