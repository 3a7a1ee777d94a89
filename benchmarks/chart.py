"""``python -m benchmarks.chart bench.json picture.svg``: orders per second, and decision latency.

Run with an interpreter that has matplotlib (.venv/airflow); needs nothing else of the project.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

OURS, OTHERS, INK, FAINT = "#0b6e4f", "#9aa5b1", "#1f2933", "#cbd2d9"
LABELS = {
    "countersign_exactly_once": "Countersign\nexactly-once",
    "countersign_at_least_once": "Countersign\nat-least-once",
    "confluent_loop": "bare confluent-kafka\nloop, exactly-once",
    "quix_exactly_once": "Quix Streams\nexactly-once",
    "quix_at_least_once": "Quix Streams\nat-least-once",
    "faust": "Faust\nat-least-once",
}


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw the chart of the results as an SVG file, the same bytes for the same results."""
    matplotlib.rcParams.update({"svg.hashsalt": "countersign", "svg.fonttype": "none", "font.family": "sans-serif"})
    has_latency = bool(result.get("latency_ms"))
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    axes = figure.subplots(1, 2 if has_latency else 1, width_ratios=[3, 2] if has_latency else None, squeeze=False)[0]
    _speed(axes[0], result)
    if has_latency:
        _latency(axes[1], result["latency_ms"])
    figure.savefig(path, metadata={"Date": None, "Creator": None})


def _speed(axes: Any, result: dict[str, Any]) -> None:
    one, two = result["orders_per_second"], result.get("orders_per_second_2", {})
    names = [name for name in LABELS if name in one][::-1]
    for offset, rates, alpha in ((0.19, one, 1.0), (-0.19, two, 0.55)):
        for place, name in enumerate(names):
            if name in rates:
                color = OURS if name.startswith("countersign") else OTHERS
                axes.barh(place + offset, rates[name], 0.36, color=color, alpha=alpha)
                text = f" {rates[name]:,.0f}" + ("" if offset > 0 else "  (2 processes)")
                axes.text(rates[name], place + offset, text, va="center", size=8, color=INK)
    axes.set_yticks(range(len(names)), [LABELS[name] for name in names], size=9)
    axes.set_title("Orders decided per second, three hops", loc="left", size=11, weight="bold")
    axes.set_xlim(0, 1.25 * max([*one.values(), *two.values()]))
    _plain(axes)


def _latency(axes: Any, latency: dict[str, Any]) -> None:
    rates = sorted(latency, key=int)
    for place, rate in enumerate(rates):
        for offset, field, alpha in ((-0.18, "p50", 0.55), (0.18, "p99", 1.0)):
            value = latency[rate][field]
            axes.bar(place + offset, value, 0.34, color=OURS, alpha=alpha)
            axes.text(place + offset, value, f"{field}\n{value:,.0f}", ha="center", va="bottom", size=8, color=INK)
    labels = [f"{int(rate):,}/s" + ("" if latency[rate]["held"] else "\nnot held") for rate in rates]
    axes.set_xticks(range(len(rates)), labels, size=9)
    axes.set_title("Order in → verdict out, ms", loc="left", size=11, weight="bold")
    axes.set_ylim(0, 1.2 * max(found["p99"] for found in latency.values()))
    _plain(axes)


def _plain(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.tick_params(colors=INK, length=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chart", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    draw(json.loads(options.results.read_text()), options.picture)
