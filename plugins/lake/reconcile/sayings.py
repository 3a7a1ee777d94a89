"""What verdicts say, opened in one pass.

polars would parse each document twice, for facts and for judges, and all of it; msgspec skips what nobody asks for.
"""

from collections.abc import Sequence

import msgspec
import polars as pl
import pyarrow as pa

from lake.reconcile import facts
from lake.reconcile.panels import named


class _Reason(msgspec.Struct):
    code: str | None = None


class _Shadow(msgspec.Struct):
    scorecard_version: str | None = None


class _Said(msgspec.Struct):
    order_id: str | None = None
    customer_id: str | None = None
    amount: int | None = None
    currency: str | None = None
    score: int | None = None
    reasons: list[_Reason] | None = None
    scorecard_version: str | None = None
    outcome: str | None = None
    shadows: list[_Shadow] | None = None


class _Document(msgspec.Struct):
    data: _Said


_decode = msgspec.json.Decoder(_Document).decode
_VERDICT = {one.name: one.dtype for one in facts.VERDICT.fields} | {"reasons": pl.List(pl.String)}


def opened(batch: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return what :func:`lake.reconcile.facts.verdicts` and :func:`lake.reconcile.panels.named` make of records.

    Args:
        batch: records of one partition of fraud.verdicts in offset order (the columns of both).
    """
    record = batch.select("partition", "offset", "event_id", "subject", "day")
    try:
        said = [_decode(value).data for value in batch["value"].cast(pl.Binary).to_list()]
    except msgspec.DecodeError:  # no verdict as we write it: polars takes what it can
        judges = named(batch.select(*record.columns, "value"))
        return facts.verdicts(batch.select(facts.ARCHIVE_COLUMNS)), judges
    columns: dict[str, Sequence[object] | pl.Series] = {
        name: [getattr(one, name) for one in said] for name in _VERDICT if name != "reasons"
    }
    codes = [None if one.reasons is None else [reason.code for reason in one.reasons] for one in said]
    columns["reasons"] = _lists("reasons", codes)
    frame = pl.DataFrame({name: columns[name] for name in _VERDICT}, schema=_VERDICT)
    place = batch.select("partition", "offset", "timestamp", "time", "day", "type")
    verdicts = place.hstack(frame.get_columns()).with_columns(clear=pl.col("type") == "NoFraudDetected")
    shadows = [[shadow.scorecard_version for shadow in one.shadows or ()] for one in said]
    judges = record.with_columns(frame["scorecard_version"], _lists("shadows", shadows))
    return verdicts, judges


def _lists(name: str, lists: Sequence[Sequence[str | None] | None]) -> pl.Series:
    """Return lists as a column. polars itself makes a series of each list, which takes twice as long as parsing it."""
    return pl.Series(name, pa.array(lists, pa.large_list(pa.string_view())))
