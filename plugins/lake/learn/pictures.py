"""The pictures of a training, in the style of the other reports."""

from math import sqrt

import matplotlib as mpl

from lake.learn.metrics import Reliability
from lake.report.drawing import INK, OK, SOFT, STYLE, canvas, svg

Z = 1.96


def calibration(groups: list[Reliability]) -> str:
    """Return predicted against observed share of fraud, with the 95 % interval of each group."""
    with mpl.rc_context(STYLE):
        figure, axes = canvas(3.8, width=4.6)
        axes.plot((0, 1), (0, 1), color=SOFT, linewidth=0.8, linestyle=(0, (2, 3)))
        for group in groups:
            low, high = wilson(group.fraud, group.orders)
            axes.plot((group.predicted, group.predicted), (low, high), color=OK, linewidth=1.2)
        seen = [group.fraud / group.orders for group in groups]
        axes.plot([group.predicted for group in groups], seen, "o-", color=INK, markersize=4, linewidth=1)
        axes.set_xlabel("chance of fraud, as predicted")
        axes.set_ylabel("share of fraud, as it was")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        words = "; ".join(
            f"{group.orders:,} orders predicted {group.predicted:.1%}, were {share:.1%}"
            for group, share in zip(groups, seen, strict=True)
        )
        return svg(figure, "calibration", f"Calibration: {words}")


def wilson(hits: int, tries: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson, "Probable inference", 1927)."""
    share, zz = hits / tries, Z * Z
    middle = (share + zz / (2 * tries)) / (1 + zz / tries)
    half = Z * sqrt(share * (1 - share) / tries + zz / (4 * tries * tries)) / (1 + zz / tries)
    return max(0.0, middle - half), min(1.0, middle + half)
