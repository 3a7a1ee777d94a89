"""The histories of a fold as files: each run adds those that it changed, and the next one takes up those that it needs.

A day's records touch few of all entities. Only theirs are unpacked, so that taking up a fold costs what is new.
"""

from pathlib import Path

import polars as pl

from lake.reconcile.read import Lake
from order_fraud.history import pack, unpack
from order_fraud.relay import Shelf

SCHEMA = {"id": pl.String, "history": pl.Binary}
AT_ONCE = 50_000
"""Histories packed at a time."""


def parts(folder: Path, name: str, suffix: str) -> list[tuple[int, int, Path]]:
    """Return the files of ``name``, with their partition and number of the run, and in the order of these."""
    found = []
    for file in folder.glob(f"{name}.*.*.{suffix}"):
        partition, number = file.name.removeprefix(f"{name}.").removesuffix(f".{suffix}").split(".")
        found.append((int(partition), int(number), file))
    return sorted(found)


def files(folder: Path, topic: str, partition: int) -> list[Path]:
    """Return the files of one (hop, partition), the oldest first."""
    return [file for owner, _, file in parts(folder, _name(topic), "arrow") if owner == partition]


def of(lake: Lake, topic: str, partition: int, folder: Path, after: int) -> Shelf:
    """Return the histories that lie in ``folder`` of all entities that have records after an offset."""
    shelf = Shelf()
    found = files(folder, topic, partition)
    if not found:
        return shelf
    keys = pl.concat(
        [pl.DataFrame(schema={"key": pl.String}), *lake.stream(topic, ("key",), partition, AT_ONCE, after)]
    ).unique()
    for file in found:  # what was written later counts
        wanted = pl.read_ipc(file, memory_map=False).join(keys, left_on="id", right_on="key", how="semi")
        shelf.update(zip(wanted["id"].to_list(), map(unpack, wanted["history"].to_list()), strict=True))
    return shelf


def put(shelf: Shelf, topic: str, partition: int, folder: Path, number: int) -> None:
    """Write all of these to ``folder``. They are taken off the shelf, since both at once would be in memory twice."""
    frames = [pl.DataFrame(schema=SCHEMA)]
    while shelf:
        ids, kept = zip(*(shelf.popitem() for _ in range(min(AT_ONCE, len(shelf)))), strict=True)
        frames.append(pl.DataFrame({"id": ids, "history": [pack(one) for one in kept]}, schema=SCHEMA))
    pl.concat(frames).write_ipc(folder / f"{_name(topic)}.{partition}.{number}.arrow", compression="lz4")


def whole(folder: Path, topic: str, partition: int) -> pl.DataFrame:
    """Return all histories of one (hop, partition) as they stand after the latest run, packed."""
    frames = [pl.read_ipc(file, memory_map=False) for file in files(folder, topic, partition)]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *frames]).unique("id", keep="last")


def _name(topic: str) -> str:
    return f"histories of {topic}"
