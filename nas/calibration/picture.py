"""The picture of a calibration: predicted against measured, and residuals by kind."""

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.calibration.residuals import Judged, KindResidual

BLUE, ORANGE, GREY, PALE = "#2266aa", "#dd7711", "#888888", "#c3d3e4"
MOST_POINTS = 600  # more than that is a smear, and takes seconds
MOST_BOUNDS = 80
MOST_KINDS = 16
LONGEST_LINE = 40
WIDE = 30.0  # times from short to long networks, from where axes are logarithmic


def calibration_png(
    judged: Sequence[Judged], kinds: Sequence[KindResidual], unit: str = "ms"
) -> bytes:
    """PNG bytes."""
    # Figure, not pyplot: no display is asked for and no global state is left behind.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.4, 4.9), layout="constrained")
    points, bars = figure.subplots(1, 2, width_ratios=[3, 2])
    _points(points, judged, unit)
    _bars(bars, list(kinds)[:MOST_KINDS][::-1])
    for axes in (points, bars):
        axes.grid(alpha=0.25)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # of names in scripts that the font lacks
        figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def _points(axes: Any, judged: Sequence[Judged], unit: str) -> None:
    inside = np.array([each.inside for each in judged])
    found = np.array(
        [
            (j.measurement.latency_ms, p.latency_ms, p.low_ms, p.high_ms)
            for j in judged
            for p in [j.prediction]
        ]
    )
    shown = np.sort(np.random.default_rng(0).permutation(len(found))[:MOST_POINTS])
    measured, predicted, low, high = found[shown].T
    alpha = 0.9 if len(shown) < MOST_POINTS // 4 else 0.5
    sample = np.argsort(measured)[:: -(-len(shown) // MOST_BOUNDS)]
    around = [(predicted - low)[sample], (high - predicted)[sample]]
    axes.errorbar(
        measured[sample], predicted[sample], around, fmt="none", ecolor=PALE, elinewidth=1, zorder=1
    )
    for which, color, word in ((True, BLUE, "inside"), (False, ORANGE, "outside")):
        rows = inside[shown] == which
        label = f"{word} the 90% bounds: {int((inside == which).sum()):,}"
        axes.scatter(measured[rows], predicted[rows], s=16, c=color, alpha=alpha, label=label)
    _scales(axes, found[:, :2])
    axes.set_xlabel(f"measured ({unit})")
    axes.set_ylabel(f"predicted ({unit})")
    drawn = "" if len(shown) == len(found) else f", {len(shown)} of them drawn"
    axes.set_title(f"{len(found):,} networks that the fit had not seen{drawn}", fontsize=10)
    axes.legend(fontsize=8, loc="upper left")


def _scales(axes: Any, found: Any) -> None:
    """Equal axes, the diagonal, and the band of 10% around it."""
    short, long = np.quantile(found, [0.02, 0.98])
    low, high = float(found.min()), float(found.max())
    logarithmic = short > 0 and long / short > WIDE
    ends = (max(low, short / WIDE) / 1.15, high * 1.15) if logarithmic else (0.0, high * 1.05)
    if not logarithmic and low > high / 2:
        ends = (low - 0.1 * (high - low), high + 0.1 * (high - low))
    between = np.geomspace if logarithmic else np.linspace
    along = between(ends[0], ends[1], 50)
    axes.plot(along, along, c=GREY, lw=1, zorder=0)
    axes.fill_between(
        along, 0.9 * along, 1.1 * along, color=GREY, alpha=0.15, lw=0, zorder=0, label="within 10%"
    )
    if logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.set_xlim(ends)
    axes.set_ylim(ends)


def _bars(axes: Any, kinds: Sequence[KindResidual]) -> None:
    rows = range(len(kinds))
    absolute = [kind.absolute_pct for kind in kinds]
    axes.barh(rows, absolute, color=PALE, height=0.7, label="mean size")
    mean = [kind.mean_pct for kind in kinds]
    axes.barh(rows, mean, color=BLUE, height=0.35, label="mean: right of 0, measured is longer")
    names = labels([kind.kind for kind in kinds])
    axes.set_yticks(rows, names, fontsize=7, parse_math=False)  # $ is a letter
    axes.axvline(0, c=GREY, lw=1)
    axes.set_xlabel("residual (%)")
    axes.set_title("Residuals by kind", fontsize=10)
    axes.set_ylim(-0.6, 1.17 * len(kinds) - 0.4)  # room for the legend
    axes.legend(fontsize=8, loc="upper right")


def labels(names: Sequence[str]) -> list[str]:
    """Names for an axis, all different: sizes on a second line, the middle of long lines left out.

    Names of one table often begin and end alike, so whole names stand where shorter ones collide.
    """
    found = [_in_lines(name) for name in names]
    return found if len(set(found)) == len(set(names)) else list(names)


def _in_lines(name: str) -> str:
    if len(name) <= LONGEST_LINE:
        return name
    operator, bracket, sizes = name.partition("(")
    return "\n".join(_short(line) for line in (operator, bracket + sizes) if line)


def _short(line: str) -> str:
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else f"{line[:half]}…{line[-half:]}"
