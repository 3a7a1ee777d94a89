"""What came of it: figures for ``.stack/evaluate.json``, and tables for people."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.table import Table

from evaluation.boosted import as_array
from evaluation.protocols import MODELS, Scored
from lake.learn.metrics import LOOSE, STRICT, quality, recall_above, threshold_at
from lake.learn.samples import Bools
from order_fraud.policy import encode

PREQUENTIAL, TIME_SPLIT = "prequential", "time_split_80_20"
_HEADS = ("AUC", "avg. precision", "recall at 1 % FPR", "at 0.1 %", "orders", "fraud")

Figures = dict[str, Any]


def figures(by_protocol: dict[str, Scored]) -> dict[str, dict[str, Figures]]:
    """Return the measures by model and protocol."""
    return {model: {protocol: _quality(scored, model) for protocol, scored in by_protocol.items()} for model in MODELS}


def detail(by_protocol: dict[str, Scored], settings: Figures) -> Figures:
    """Return what else was measured: per month, per kind of fraud, and the learned scorecard at the end."""
    import msgspec

    return {
        "settings": settings,
        "months": {
            protocol: {month: {model: _quality(scored, model, which) for model in MODELS} for month, which in months}
            for protocol, scored in by_protocol.items()
            if (months := list(_months(scored)))
        },
        "patterns": {protocol: patterns(scored) for protocol, scored in by_protocol.items()},
        "learned": {
            protocol: None if scored.card is None else msgspec.json.decode(encode(scored.card))
            for protocol, scored in by_protocol.items()
        },
    }


def patterns(scored: Scored) -> dict[str, Figures]:
    """Return per kind of fraud how much of it each model finds at the overall thresholds of 1 % and 0.1 %."""
    fraud = as_array(scored.judged)
    kinds = np.array([one.sale.row.truth for one in scored.judged])
    found: dict[str, Figures] = {}
    for kind in sorted(set(kinds[fraud])):
        of_kind = kinds == kind
        found[kind] = {"orders": int(of_kind.sum())}
        for model, score in scored.scores.items():
            found[kind][model] = {
                name: _number(recall_above(fraud[of_kind], score[of_kind], threshold_at(fraud, score, rate)))
                for name, rate in (("recall_at_1pct_fpr", LOOSE), ("recall_at_01pct_fpr", STRICT))
            }
    return found


def tables(by_protocol: dict[str, Scored]) -> Iterator[Table]:
    """Yield the tables that the command prints."""
    for protocol, scored in by_protocol.items():
        table = Table("model", *_HEADS, title=protocol, title_justify="left")
        for model in MODELS:
            table.add_row(model, *_cells(_quality(scored, model)))
        yield table
    for protocol, scored in by_protocol.items():
        if protocol == PREQUENTIAL:
            yield _by_month(scored)
            yield _by_pattern(scored)


def _by_month(scored: Scored) -> Table:
    table = Table("month", "model", *_HEADS, title=f"{PREQUENTIAL}, per month", title_justify="left")
    for month, which in _months(scored):
        for model in MODELS:
            table.add_row(month if model == MODELS[0] else "", model, *_cells(_quality(scored, model, which)))
        table.add_section()
    return table


def _by_pattern(scored: Scored) -> Table:
    table = Table(
        "kind of fraud", "orders", *MODELS, title=f"{PREQUENTIAL}, share found at 1 % FPR", title_justify="left"
    )
    for kind, found in patterns(scored).items():
        shares = [_shown(found[model]["recall_at_1pct_fpr"]) for model in MODELS]
        table.add_row(kind, f"{found['orders']:,}", *shares)
    return table


def _quality(scored: Scored, model: str, which: Bools | None = None) -> Figures:
    fraud, score = as_array(scored.judged), scored.scores[model]
    if which is not None:
        fraud, score = fraud[which], score[which]
    return {name: _number(value) for name, value in quality(fraud, score)._asdict().items()}


def _months(scored: Scored) -> Iterator[tuple[str, Bools]]:
    names = np.array([one.time.strftime("%Y-%m") for one in scored.judged])
    for name in np.unique(names):
        yield str(name), names == name


def _number(value: float) -> float | None:
    """Return a figure for JSON, which knows no NaN."""
    return value if isinstance(value, int) else None if math.isnan(value) else round(value, 6)


def _cells(found: Figures) -> Iterator[str]:
    for value in found.values():
        yield f"{value:,}" if isinstance(value, int) else _shown(value)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
