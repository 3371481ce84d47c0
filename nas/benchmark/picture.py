"""The picture of a benchmark: shares over evaluations, with bands."""

import io
from typing import Any

import numpy as np

from nas.benchmark.statistics import BAND, Summary

# Okabe and Ito's colours, told apart by most eyes; the best strategy takes the first.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444", "#a0a000")
FIRST_SHOWN = 10  # evaluations: before that every strategy guesses


def shares_png(summary: Summary, title: str) -> bytes:
    """PNG bytes."""
    # Figure, not pyplot: no display is asked for and no global state is left behind.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 4.8), layout="constrained")
    axes = figure.subplots()
    length = summary.standings[0].curve.shape[1]
    begin = min(FIRST_SHOWN, max(1, length // 4))
    along = np.arange(begin, length + 1)
    lowest = 1.0
    for place, standing in enumerate(summary.standings):
        curve = standing.curve[:, begin - 1 :]
        color = COLORS[place % len(COLORS)]
        style = "-" if place < len(COLORS) else "--"
        mean = curve.mean(axis=0)
        low, high = np.quantile(curve, BAND, axis=0)
        axes.fill_between(along, low, high, color=color, alpha=0.13, lw=0)
        axes.plot(along, mean, style, c=color, lw=1.8, label=standing.strategy)
        lowest = min(lowest, float(low.min()))
    _scales(axes, begin, length, lowest)
    axes.set_xlabel("evaluated architectures")
    axes.set_ylabel("share of the true front's hypervolume")
    seeds = len(summary.standings[0].curve)
    band = f"mean of {seeds} seeds, bands hold 90% of them" if seeds > 1 else "one seed"
    axes.set_title(f"{title}\n{band}", fontsize=9, parse_math=False)  # $ is a letter
    axes.legend(fontsize=8, loc="lower right", frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def _scales(axes: Any, begin: int, length: int, lowest: float) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_xscale("log")
    ticks = [base * 10**power for power in range(7) for base in (1, 2, 5)]
    shown = [tick for tick in ticks if begin <= tick < length / 1.2] + [length]
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if length > begin:
        axes.set_xlim(begin, length)
    axes.set_ylim(max(0.0, lowest - 0.05), 1.01)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
