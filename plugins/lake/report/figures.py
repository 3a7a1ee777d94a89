"""The pictures of a reconciliation's report."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from lake.reconcile.findings import money
from lake.reconcile.outcome import Day, Hit, Step
from lake.report.drawing import BAD, INK, OK, SOFT, STYLE, WARN, bare, canvas, svg

FEW_DAYS = 8
"""Up to so many days, each has its date."""
MANY_DAYS = 62
"""From so many days on, they are drawn as one outline instead of single bars."""
MAX_DAYS = 750
"""From so many days on, they are added up by week."""
MAX_REASONS = 14
_NUMBER = "{:,}".format


def funnel(steps: Sequence[Step]) -> str:
    """Return the orders' way as bars, each with its number and what was lost since the step before."""
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.5 * len(steps) + 0.3)
        axes.grid(visible=False)
        most = max([step.orders for step in steps] + [1])
        for place, step in enumerate(steps):
            axes.barh(place, step.orders, height=0.62, color=OK, alpha=1 - 0.09 * place)
            before = steps[place - 1].orders if place else step.orders
            axes.text(step.orders + most * 0.012, place, f"{step.orders:,}", va="center", weight="bold")
            if before > step.orders:
                axes.text(
                    most * 1.2, place, f"\N{MINUS SIGN}{before - step.orders:,}", va="center", ha="right", color=WARN
                )
        axes.set_yticks(range(len(steps)), [step.name for step in steps])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_xlim(0, most * 1.2)
        axes.xaxis.set_visible(False)
        axes.invert_yaxis()
        bare(axes)
        return svg(figure, "funnel", "How far the orders came: " + _listed((step.name, step.orders) for step in steps))


def findings(counts: dict[str, int]) -> str:
    """Return the number of findings by kind."""
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.36 * len(counts) + 0.3)
        _bars(axes, [(name, number, 0) for name, number in counts.items()], BAD)
        return svg(figure, "findings", "Findings by kind: " + _listed(counts.items()))


def stakes(amounts: dict[str, int], currency: str) -> str:
    """Return the money at stake by kind of finding, in one currency: others have pictures of their own."""
    rows = sorted(amounts.items(), key=lambda item: (-item[1], item[0]))
    with mpl.rc_context(STYLE):
        figure, axes = canvas(0.36 * len(rows) + 0.3)
        _bars(axes, [(name, amount, 0) for name, amount in rows], WARN, lambda amount: money(amount, currency))
        told = ", ".join(f"{name} {money(amount, currency)}" for name, amount in rows)
        return svg(figure, f"stakes-{currency}", f"Money at stake by kind, in {currency}: {told}")


def parity(days_: Sequence[Day], differing: Mapping[date, int]) -> str:
    """Return the share of verdicts per business day that came out again as the stream wrote them."""
    judged = [(one.day, one.cleared + one.possible_fraud) for one in days_]
    shares = [1 - min(differing.get(day, 0), number) / number for day, number in judged if number]
    x = [day for day, number in judged if number]
    with mpl.rc_context(STYLE):
        figure, axes = canvas(1.5)
        axes.plot(x, shares, color=OK, linewidth=1.6, marker="o", markersize=3.2 if len(x) <= MANY_DAYS else 1.6)
        broken = [(day, share) for day, share in zip(x, shares, strict=True) if share < 1]
        axes.plot([day for day, _ in broken], [share for _, share in broken], "o", color=BAD, markersize=5)
        lowest = min(shares, default=1.0)
        axes.set_ylim(min(lowest, 0.99) - 0.004, 1.001 if lowest > 0.9 else 1.02)
        _dates(axes, x)
        axes.grid(visible=False, axis="x")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1 if lowest > 0.9 else 0))
        words = (
            f"On {len(x) - len(broken)} of {len(x)} days every verdict came out again; the lowest share is {lowest:.2%}"
        )
        return svg(figure, "parity", words)


def _dates(axes: Axes, x: Sequence[date]) -> None:
    if len(x) <= FEW_DAYS:
        axes.set_xticks(x, [f"{day.day} {day:%b %Y}" for day in x])
    else:
        locator = AutoDateLocator(minticks=4, maxticks=10)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def days(days_: Sequence[Day]) -> str:
    """Return the verdicts per business day, possible fraud on top."""
    step = "day" if len(days_) <= MAX_DAYS else "week"
    if step == "week":
        days_ = _weeks(days_)
    with mpl.rc_context(STYLE):
        figure, axes = canvas(2.6)
        x = [day.day for day in days_]
        cleared = [day.cleared for day in days_]
        total = [day.cleared + day.possible_fraud for day in days_]
        if len(days_) > MANY_DAYS:
            axes.fill_between(x, 0, cleared, color=OK, step="mid", linewidth=0, label="cleared")
            axes.fill_between(x, cleared, total, color=WARN, step="mid", linewidth=0, label="possible fraud")
        else:
            held = [day.possible_fraud for day in days_]
            width = 0.8 if len(days_) > 1 else 0.25
            axes.bar(x, cleared, width, color=OK, label="cleared")
            axes.bar(x, held, width, bottom=cleared, color=WARN, label="possible fraud")
            if len(days_) == 1:
                axes.set_xlim(x[0] - timedelta(days=1), x[0] + timedelta(days=1))
        _dates(axes, x)
        _vertical(axes, f"orders a {step}")
        words = f"Verdicts per {step} in {len(days_)} {step}s, at most {max(total, default=0):,} a {step}"
        return svg(figure, "days", words)


def _weeks(days_: Sequence[Day]) -> list[Day]:
    """Add days up by week, under the week's Monday."""
    weeks: dict[date, Day] = {}
    for day in days_:
        monday = day.day - timedelta(days=day.day.weekday())
        week = weeks.get(monday, Day(monday, 0, 0))
        weeks[monday] = Day(monday, week.cleared + day.cleared, week.possible_fraud + day.possible_fraud)
    return list(weeks.values())


def scores(rows: Sequence[tuple[int, int, int]], thresholds: Sequence[int]) -> str:
    """Return how many orders got which score, and where the thresholds of the scorecards lie."""
    with mpl.rc_context(STYLE):
        figure, axes = canvas(2.6)
        x = [score for score, _, _ in rows]
        span = max([*x, *thresholds]) - min([*x, 0])
        gaps = [after - before for before, after in pairwise(x)]
        width = max(0.8 * min(gaps, default=span / 20 or 1), span / 160)
        cleared = [number for _, number, _ in rows]
        axes.bar(x, cleared, width, color=OK, label="cleared")
        axes.bar(x, [number for _, _, number in rows], width, bottom=cleared, color=WARN, label="possible fraud")
        for line, threshold in enumerate(thresholds):
            axes.axvline(threshold - width / 2, color=INK, linewidth=1.1, linestyle=(0, (4, 3)))
            axes.annotate(
                f"held from {threshold} points", (threshold, 1), xycoords=("data", "axes fraction"),
                xytext=(4, -10 - 14 * line), textcoords="offset points", color=SOFT,
            )  # fmt: skip
        axes.set_yscale("symlog", linthresh=10)
        axes.set_xlabel("score in points")
        _vertical(axes, "orders, logarithmic")
        return svg(
            figure, "scores", f"Distribution of scores between {min(x)} and {max(x)}; threshold {_any(thresholds)}"
        )


def reasons(hits: Sequence[Hit]) -> str:
    """Return how often the commonest reasons fired; the darker part is orders that were held."""
    with mpl.rc_context(STYLE):
        shown = hits[:MAX_REASONS]
        figure, axes = canvas(0.34 * len(shown) + 0.6)
        _bars(axes, [(hit.code, hit.orders, hit.held) for hit in shown], OK)
        return svg(figure, "reasons", "Reasons that fired: " + _listed((hit.code, hit.orders) for hit in shown))


def _bars(axes: Axes, rows: Sequence[tuple[str, int, int]], colour: str, label: Callable[[int], str] = _NUMBER) -> None:
    """Draw horizontal bars (name, number, part of it that was held)."""
    most = max([number for _, number, _ in rows] + [1])
    places = range(len(rows))
    held = [part for _, _, part in rows]
    axes.barh(places, [number for _, number, _ in rows], height=0.64, color=colour)
    if any(held):
        axes.barh(places, held, height=0.64, color=WARN, label="of these held")
        axes.legend(loc="lower right")
    for place, (_, number, _) in enumerate(rows):
        axes.text(number + most * 0.012, place, label(number), va="center")
    axes.set_yticks(places, [name for name, _, _ in rows])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_xlim(0, most * (1.1 if label is _NUMBER else 1.25))
    axes.xaxis.set_visible(False)
    axes.grid(visible=False)
    axes.invert_yaxis()
    bare(axes)


def _vertical(axes: Axes, label: str) -> None:
    axes.grid(visible=False, axis="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_ylabel(label)
    if axes.get_yscale() == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="upper left", ncols=2, bbox_to_anchor=(0, 1.16))


def _listed(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in pairs)


def _any(numbers: Sequence[int]) -> str:
    return " or ".join(map(str, numbers)) or "unknown"
