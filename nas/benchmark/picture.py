"""The pictures of a benchmark: shares over evaluations with bands, and the fronts that were found.

A strategy has the same colour in every picture, whoever else is in it.
"""

import hashlib
import io
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from nas.benchmark.results import Run
from nas.benchmark.statistics import BAND, Summary
from nas.benchmark.tabular import Benchmark
from nas.problem.pareto import nondominated
from nas.problem.problem import Vector
from search_spaces.tables.columns import in_words

# Okabe and Ito's colours, told apart by most eyes, and some between them.
OURS = {
    "cost-aware": "#0072b2",
    "exact": "#56b4e9",
    "random": "#777777",
    "nsga2": "#009e73",
    "tpe": "#d55e00",
    "gp": "#cc79a7",
}
OTHERS = ("#e69f00", "#a0a000", "#7b3294", "#a6611a", "#01665e", "#c51b7d", "#222222", "#b2182b")
FIRST_SHOWN = 10  # evaluations: before that every strategy guesses
Kind = Literal["png", "svg", "pdf"]
KINDS: tuple[Kind, ...] = ("png", "svg", "pdf")


def drawn(benchmark: Benchmark, summary: Summary, runs: Sequence[Run]) -> dict[Kind, bytes]:
    """The picture in every kind of file: curves, and of two objectives the fronts beside them."""
    # Figure, not pyplot: no display is asked for and no global state is left behind.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    fronts = len(benchmark.judged) == 2
    figure = Figure(figsize=(12.6 if fronts else 7.6, 4.8), layout="constrained")
    first, *rest = np.atleast_1d(figure.subplots(1, 1 + fronts)).tolist()
    colours = colours_of([standing.strategy for standing in summary.standings])
    _draw_shares(first, summary, colours)
    for axes in rest:
        _draw_fronts(axes, benchmark, runs, colours)
    figure.suptitle(_title(benchmark), fontsize=10, parse_math=False)  # $ is a letter
    found: dict[Kind, bytes] = {}
    with mpl.rc_context({"svg.hashsalt": "temporal-nas"}):  # equal pictures are equal files
        for kind in KINDS:
            buffer = io.BytesIO()
            dated = {"svg": "Date", "pdf": "CreationDate"}.get(kind)
            figure.savefig(buffer, format=kind, dpi=130, metadata={dated: None} if dated else None)
            found[kind] = buffer.getvalue()
    return found


def colours_of(strategies: Sequence[str]) -> dict[str, str]:
    """A colour for each strategy, which follows from its name as far as there are enough."""
    found = {name: OURS[name] for name in strategies if name in OURS}
    left = list(OTHERS)
    for name in sorted(set(strategies) - set(found)):
        place = int(hashlib.sha256(name.encode()).hexdigest(), 16) % len(OTHERS)
        wanted = OTHERS[place]
        found[name] = wanted if wanted in left else (left or list(OTHERS))[0]
        if found[name] in left:
            left.remove(found[name])
    return found


def _title(benchmark: Benchmark) -> str:
    traded = " against ".join(in_words(each.name) for each in benchmark.objectives)
    limits = ", ".join(f"{in_words(n)} at most {v:g}" for n, v in benchmark.at_most.items())
    return f"{benchmark.path.name}: {traded}" + (f"; {limits}" if limits else "")


def _draw_shares(axes: Any, summary: Summary, colours: dict[str, str]) -> None:
    length = summary.standings[0].curve.shape[1]
    begin = min(FIRST_SHOWN, max(1, length // 4))
    along = np.arange(begin, length + 1)
    lowest = 1.0
    for standing in summary.standings:
        curve, colour = standing.curve[:, begin - 1 :], colours[standing.strategy]
        low, high = np.quantile(curve, BAND, axis=0)
        axes.fill_between(along, low, high, color=colour, alpha=0.13, lw=0)
        axes.plot(along, curve.mean(axis=0), c=colour, lw=1.8, label=standing.strategy)
        lowest = min(lowest, float(low.min()))
    _scales(axes, begin, length, lowest)
    axes.set_xlabel("evaluated architectures")
    axes.set_ylabel("share of the true front's hypervolume")
    seeds = len(summary.standings[0].curve)
    band = f"mean of {seeds} seeds, bands hold 90% of them" if seeds > 1 else "one seed"
    axes.set_title(band, fontsize=9)
    axes.legend(fontsize=8, loc="lower right", frameon=False)


def _draw_fronts(
    axes: Any, benchmark: Benchmark, runs: Sequence[Run], colours: dict[str, str]
) -> None:
    """The true front, and of each strategy the front that its middle seed found."""
    for strategy, colour in colours.items():
        own = [run for run in runs if run.strategy == strategy]
        last = [float(benchmark.shares(run.values)[-1]) for run in own]
        middle = own[int(np.argsort(last)[len(last) // 2])]
        found = middle.values
        kept = nondominated(found * benchmark.signs, keep_equal=True)
        axes.step(*_sorted(found[kept]), where="post", c=colour, lw=1.6, label=strategy)
    axes.plot(*_sorted(benchmark.front), "k.", ms=6, label="true front that is judged")
    box = dict(zip(("x", "y"), benchmark.reference.tolist(), strict=True))
    axes.axvline(box["x"], c="#999999", ls=":", lw=1)
    axes.axhline(box["y"], c="#999999", ls=":", lw=1, label="the box that is judged")
    for which, (objective, limit) in zip(
        (axes.set_xlim, axes.set_ylim),
        zip(benchmark.objectives, benchmark.reference.tolist(), strict=True),
        strict=True,
    ):
        place = [each.name for each in benchmark.objectives].index(objective.name)
        best = benchmark.front[:, place]
        ends = sorted((float(best.max() if objective.maximize else best.min()), limit))
        room = 0.12 * (ends[1] - ends[0])
        which(ends[0] - room, ends[1] + room)
    first, second = (in_words(each.name) for each in benchmark.objectives)
    axes.set_xlabel(first)
    axes.set_ylabel(second)
    axes.set_title("fronts found at the end, of the middle seed", fontsize=9)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)


def _sorted(values: Any) -> tuple[Vector, Vector]:
    order = np.argsort(values[:, 0])
    return values[order, 0], values[order, 1]


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
