"""Whether the back-test is the live code: hashes over all verdicts of the period, as given then and as given now."""

import hashlib
from collections.abc import Iterable

import msgspec
import polars as pl


class Rerun(msgspec.Struct, frozen=True):
    """Verdicts made again, against the live ones.

    Attributes:
        sha256: of all of them; see :func:`digest`.
        differs: ids of the orders whose verdicts are others, or more or fewer, in order.
    """

    sha256: str
    differs: list[str]

    @property
    def identical(self) -> bool:
        """Whether every verdict is the same, byte for byte."""
        return not self.differs


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """The live verdicts of the period, and what judging again made of them.

    Attributes:
        verdicts: live ones.
        live: their hash.
        refolded: each order judged by the scorecard that its live verdict names.
        candidate: each order judged by the candidate.
        silent: orders that were judged again and have no live verdict: it is still to come, or lost.
    """

    verdicts: int
    live: str
    refolded: Rerun
    candidate: Rerun
    silent: int


def digest(hashes: Iterable[bytes]) -> str:
    """Return the SHA-256 over the sorted SHA-256 hashes of single verdicts' canonical bytes, in hex.

    Sorted, so that neither partitions nor the time of arrival matter. Two sets of verdicts have the same digest only if
    they are the same bytes; hashing hashes keeps 32 bytes of each in memory instead of kilobytes.
    """
    whole = hashlib.sha256()
    for one in sorted(hashes):
        whole.update(one)
    return whole.hexdigest()


def prove(judged: pl.DataFrame, live: pl.DataFrame) -> Proof:
    """Compare what was judged again with the live verdicts.

    Args:
        judged: rows of :class:`lake.backtest.book.Book`; an order that the stream judged twice has two.
        live: ``order_id`` and ``value`` of all archived verdict records of the same days, as canonical JSON.
    """
    hashes = [hashlib.sha256(value.encode()).digest() for value in live["value"]]
    given = live.select("order_id").with_columns(pl.Series("live", hashes, pl.Binary))
    made = judged.group_by("order_id").agg(pl.col("refolded", "again").sort())
    both = given.group_by("order_id").agg(pl.col("live").sort()).join(made, on="order_id", how="left")
    silent = made.join(given, on="order_id", how="anti").height
    return Proof(
        verdicts=live.height,
        live=digest(hashes),
        refolded=_rerun(both, "refolded"),
        candidate=_rerun(both, "again"),
        silent=silent,
    )


def _rerun(both: pl.DataFrame, column: str) -> Rerun:
    made = both[column].drop_nulls().explode(empty_as_null=False)
    differs = both.filter(pl.col("live").ne_missing(pl.col(column)))["order_id"].sort()
    return Rerun(digest(made), differs.to_list())
