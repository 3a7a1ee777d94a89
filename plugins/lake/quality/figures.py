"""The picture of one object's quality."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lake.quality.profile import QualityDay
from lake.report.drawing import BAD, OK, STYLE, canvas, svg


def days(name: str, days_: Sequence[QualityDay]) -> str:
    """Return the rows per business day, those that failed on top."""
    with mpl.rc_context(STYLE):
        figure, axes = canvas(1.5)
        x = [one.day for one in days_]
        good = [one.good for one in days_]
        total = [one.good + one.failing for one in days_]
        width = 0.9 if len(days_) > 1 else 0.05
        axes.bar(x, good, width, color=OK, linewidth=0)
        axes.bar(x, [one.failing for one in days_], width, bottom=good, color=BAD, linewidth=0)
        locator = AutoDateLocator(minticks=2, maxticks=9)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.grid(visible=False, axis="x")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.set_ylabel("rows a day")
        axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        failing = sum(one.failing for one in days_)
        words = f"{name}: rows on {len(days_)} business days, at most {max(total):,} a day, {failing:,} failing in all"
        return svg(figure, f"days-{name.replace('.', '-')}", words)
