"""The back-test's pictures, in the style of the reconciliation's."""

import matplotlib as mpl

from lake.backtest.outcome import Outcome, Side
from lake.report.drawing import BAD, INK, OK, SOFT, STYLE, WARN, bare, canvas, svg

MAX_PIECES = 20
"""Bins, rules and list entries that are drawn; the table has all."""


def all_of(outcome: Outcome) -> dict[str, str]:
    """Return the pictures that there is anything to show in, as ``<svg>`` elements."""
    drawn = {"labels": labels(outcome), "pieces": pieces(outcome) if any(_fired(outcome)) else ""}
    if outcome.fraud and outcome.good:
        drawn |= {"roc": roc(outcome), "precision": precision(outcome)}
    return {name: picture for name, picture in drawn.items() if picture}


def labels(outcome: Outcome) -> str:
    """Return how many fraud, good and unknown orders each scorecard stops."""
    rows = [
        (
            f"{name} {side.version}",
            [sum(one.orders for one in part) for part in (side.caught, side.wrong, side.unknown)],
        )
        for name, side in (("active", outcome.active), ("candidate", outcome.candidate))
    ]
    with mpl.rc_context(STYLE):
        figure, axes = canvas(1.7)
        parts = (("fraud, caught", OK), ("good, wrongly stopped", BAD), ("not known yet", SOFT))
        most = max([sum(numbers) for _, numbers in rows] + [1])
        for place, (_, numbers) in enumerate(rows):
            left = 0
            for number, (name, colour) in zip(numbers, parts, strict=True):
                axes.barh(place, number, left=left, height=0.6, color=colour, label=name if not place else None)
                left += number
            axes.text(left + most * 0.012, place, f"{left:,}", va="center", weight="bold")
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_xlim(0, most * 1.12)
        axes.xaxis.set_visible(False)
        axes.grid(visible=False)
        axes.invert_yaxis()
        axes.legend(loc="lower left", ncols=3, bbox_to_anchor=(0, 1))
        bare(axes)
        words = "; ".join(
            f"{name} stops {fraud:,} frauds, {good:,} good orders, {unknown:,} not known yet"
            for name, (fraud, good, unknown) in rows
        )
        return svg(figure, "labels", f"Stopped orders by what they turned out to be: {words}")


def roc(outcome: Outcome) -> str:
    """Return the ROC curves of both scores, and where the outcomes stand."""
    with mpl.rc_context(STYLE):
        figure, axes = canvas(3.8, width=4.6)
        axes.plot((0, 1), (0, 1), color=SOFT, linewidth=0.8, linestyle=(0, (2, 3)))
        for side, colour, style in _sides(outcome):
            axes.plot(side.roc.x, side.roc.y, color=colour, linewidth=1.8, linestyle=style, label=f"{side.version}")
            if side.recall and side.false_positives:
                axes.plot(side.false_positives.value, side.recall.value, "o", color=colour, markersize=6)
        axes.set_xlabel("good orders stopped")
        axes.set_ylabel("fraud caught")
        axes.legend(loc="lower right")
        return svg(figure, "roc", f"ROC curves of scorecards {outcome.active.version} and {outcome.candidate.version}")


def precision(outcome: Outcome) -> str:
    """Return precision over recall of both scores, and where the outcomes stand."""
    with mpl.rc_context(STYLE):
        figure, axes = canvas(3.8, width=4.6)
        for side, colour, style in _sides(outcome):
            curve = side.precision_recall
            axes.plot(curve.x, curve.y, color=colour, linewidth=1.8, linestyle=style, label=f"{side.version}")
            if side.recall and side.precision:
                axes.plot(side.recall.value, side.precision.value, "o", color=colour, markersize=6)
        axes.set_xlabel("fraud caught (recall)")
        axes.set_ylabel("fraud among stopped (precision)")
        axes.set_ylim(0, 1.05)
        axes.set_xlim(0, 1.02)
        axes.legend(loc="best")
        versions = f"{outcome.active.version} and {outcome.candidate.version}"
        return svg(figure, "precision", f"Precision over recall of scorecards {versions}")


def pieces(outcome: Outcome) -> str:
    """Return how many orders the candidate's pieces fired on, and on how many by the active scorecard."""
    shown = sorted(outcome.pieces, key=lambda one: -(one.candidate.orders if one.candidate else 0))[:MAX_PIECES]
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.42 * len(shown) + 0.8)
        most = max([*_fired(outcome), 1])
        for place, one in enumerate(shown):
            for fired, shift, colour in ((one.active, -0.19, SOFT), (one.candidate, 0.19, OK)):
                if fired is not None:
                    axes.barh(place + shift, fired.orders, height=0.34, color=colour)
                    axes.text(fired.orders + most * 0.01, place + shift, f"{fired.orders:,}", va="center", fontsize=8.5)
        axes.barh(0, 0, color=SOFT, label=f"active {outcome.active.version}")
        axes.barh(0, 0, color=OK, label=f"candidate {outcome.candidate.version}")
        axes.set_yticks(range(len(shown)), [one.code for one in shown])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_xlim(0, most * 1.1)
        axes.xaxis.set_visible(False)
        axes.grid(visible=False)
        axes.invert_yaxis()
        axes.legend(loc="lower right")
        bare(axes)
        words = ", ".join(f"{one.code} {one.candidate.orders:,}" for one in shown if one.candidate)
        return svg(figure, "pieces", f"Orders on which the candidate's bins, rules and lists fired: {words}")


def _sides(outcome: Outcome) -> list[tuple[Side, str, str | tuple[int, tuple[int, int]]]]:
    return [(outcome.active, WARN, (0, (5, 2))), (outcome.candidate, OK, "-")]


def _fired(outcome: Outcome) -> list[int]:
    return [fired.orders for one in outcome.pieces for fired in (one.active, one.candidate) if fired]
