"""The picture of an evaluation: how much fraud each model finds at how many honest orders troubled."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from evaluation.boosted import as_array
from evaluation.protocols import HAND_SET, LEARNED, RAW, SIGNALS, Scored
from lake.learn.samples import Bools, Floats

OURS, OTHERS, INK, FAINT = "#0b6e4f", "#9aa5b1", "#1f2933", "#cbd2d9"
_LINES = {
    LEARNED: ("learned scorecard", OURS, "-", 2.0),
    HAND_SET: ("scorecard set by hand", OURS, ":", 1.6),
    SIGNALS: ("boosted trees on our signals", INK, "--", 1.2),
    RAW: ("boosted trees on the raw columns", OTHERS, "--", 1.2),
}
MOST = 0.05
"""The false-positive rates that are drawn: beyond, nobody would work."""


def draw(by_protocol: dict[str, Scored], path: Path) -> None:
    """Draw the beginning of the ROC curves as an SVG file, the same bytes for the same scores."""
    matplotlib.rcParams.update({"svg.hashsalt": "countersign", "svg.fonttype": "none", "font.family": "sans-serif"})
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    for axes, (protocol, scored) in zip(figure.subplots(1, len(by_protocol)), by_protocol.items(), strict=True):
        fraud = as_array(scored.judged)
        for model, (label, colour, style, width) in _LINES.items():
            rates, found = curve(fraud, scored.scores[model])
            axes.step(
                100 * rates, 100 * found, where="post", label=label, color=colour, linestyle=style, linewidth=width
            )
        axes.set_title(protocol, loc="left", size=11, weight="bold", color=INK)
        axes.set_xlim(0, 100 * MOST)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("honest orders troubled, %")
        axes.set_ylabel("fraud found, %")
        _plain(axes)
    figure.axes[0].legend(frameon=False, loc="lower right", fontsize=9)
    figure.savefig(path, metadata={"Date": None, "Creator": None})


def curve(fraud: Bools, score: Floats) -> tuple[Floats, Floats]:
    """Return what every threshold gives, the highest first: share of the honest orders, and of the fraud, above it.

    Drawn as steps, it shows at each rate what is guaranteed there; tied orders make one step.
    """
    order = np.argsort(-score, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    found = np.cumsum(fraud[order])[last_of_tie]
    return (
        np.concatenate(([0.0], (last_of_tie + 1 - found) / (~fraud).sum())),
        np.concatenate(([0.0], found / fraud.sum())),
    )


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
