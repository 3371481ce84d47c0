"""The pictures of a run, as PNG bytes."""

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from nas.problem.pareto import nondominated
from nas.problem.problem import Problem
from nas.run.results import Found, closest, quality_place
from search_spaces.tables.columns import in_words

BLUE, ORANGE, GREY, GREEN = "#2266aa", "#dd7711", "#888888", "#228855"
# A picture is 864 pixels wide where it stands in the report, whose text of 15 pixels is 9 pt then;
# matplotlib's own typeface is the report's, too.
INCHES, DPI, TEXT_PT = (7.2, 4.6), 160, 9.0
LOW_INCHES = (7.2, 2.6)


@dataclass(frozen=True)
class _Axes:
    """What of a network stands on the two axes of a picture, and what that is called."""

    across: Callable[[Found], float]
    up: Callable[[Found], float]
    across_name: str
    up_name: str
    front: Callable[[list[Found]], list[Found]]


def pareto_picture(
    evaluated: list[Found],
    picks: list[Found],
    best: Found,
    problem: Problem,
    budget_ms: float | None,
    label: str = "winner",
) -> dict[str, bytes]:
    """Quality against latency as PNG and SVG: every trial, the front, the budget and the winner.

    Where nothing predicts a latency the second objective takes its place, or the trial's number.
    """
    shown = _axes_of(best, problem)

    def points(networks: list[Found]) -> tuple[list[float], list[float]]:
        return [shown.across(n) for n in networks], [shown.up(n) for n in networks]

    figure, axes = _axes()
    axes.scatter(*points(picks), s=26, c=GREY, marker="x", label="random picks")
    axes.scatter(*points(evaluated), s=30, c=BLUE, alpha=0.7, label="trials of the search")
    line = "their Pareto front" if len(problem.objectives) > 1 else "the best so far"
    axes.step(*points(shown.front(closest(evaluated))), where="post", c=BLUE, lw=1.5, label=line)
    if math.isfinite(shown.across(best)):
        axes.scatter(*points([best]), s=260, c=ORANGE, marker="*", label=label)
    if budget_ms is not None:
        axes.axvline(budget_ms, c=GREEN, ls="--", lw=1.4, label=f"budget: {budget_ms:.5g} ms")
    axes.set_xlabel(shown.across_name)
    axes.set_ylabel(shown.up_name)
    png = _png(figure, axes)
    figure.set_layout_engine("none")  # it stands; to lay it out again takes as long as to draw it
    return {"png": png, "svg": _svg(figure)}


def _axes_of(best: Found, problem: Problem) -> _Axes:
    place = quality_place(problem)
    names = [objective.name for objective in problem.objectives]
    sign = float(problem.signs[place])

    def up(network: Found) -> float:
        return network.values[place]

    if math.isfinite(best.latency_ms):
        return _Axes(
            lambda network: network.latency_ms,
            up,
            "predicted latency (ms)",
            in_words(names[place]),
            partial(_front, lambda network: network.latency_ms),
        )
    if len(names) > 1:
        other = next(index for index in range(len(names)) if index != place)
        return _Axes(
            lambda network: network.values[other],
            up,
            in_words(names[other]),
            in_words(names[place]),
            partial(_front, lambda n: float(problem.signs[other]) * n.values[other]),
        )
    return _Axes(
        lambda network: math.nan if network.trial is None else float(network.trial),
        up,
        "trial",
        in_words(names[place]),
        lambda networks: _best_so_far(networks, sign),
    )


def _front(cost: Callable[[Found], float], networks: list[Found]) -> list[Found]:
    """The front of two of the objectives alone, the cheapest first."""
    kept = nondominated(np.array([(network.loss, cost(network)) for network in networks]))
    return sorted((n for n, keep in zip(networks, kept, strict=True) if keep), key=cost)


def _best_so_far(networks: list[Found], sign: float) -> list[Found]:
    """Each trial with the best quality until then."""
    losses = np.minimum.accumulate([network.loss for network in networks])
    return [
        replace(network, values=(sign * float(loss),))
        for network, loss in zip(networks, losses, strict=True)
    ]


def prediction_png(unseen: dict[str, Any]) -> bytes:
    """Predicted against measured latency of networks that the calibration never saw."""
    figure, axes = _axes()
    measured, predicted = unseen["measured_ms"], unseen["predicted_ms"]
    below = [p - low for p, low in zip(predicted, unseen["low_ms"], strict=True)]
    above = [high - p for p, high in zip(predicted, unseen["high_ms"], strict=True)]
    ends = [min(measured + predicted) * 0.95, max(measured + predicted) * 1.05]
    axes.plot(ends, ends, c=GREY, lw=1, label="exact")
    axes.errorbar(
        measured, predicted, yerr=[below, above], fmt="o", ms=5, c=BLUE, ecolor="#bbccdd",
        label="unseen networks, with 90% bounds",
    )  # fmt: skip
    axes.scatter(measured, unseen["again_ms"], s=26, c=ORANGE, marker="x", label="measured again")
    axes.set_xlabel("measured latency of one network call (ms)")
    axes.set_ylabel("predicted, or measured again (ms)")
    return _png(figure, axes)


def best_so_far_png(worth: Mapping[str, Any]) -> bytes:
    """Incumbent curves of the search and of random picks, and where the one reached the other's.

    Args:
        worth: as `nas.pipeline.worth` tells it.
    """
    figure, axes = _axes(LOW_INCHES)
    sides = (("random", GREY, "--", "random picks"), ("search", BLUE, "-", "the search"))
    for side, colour, line, label in sides:
        curve = [math.nan if best is None else best for best in worth["best_so_far"][side]]
        counts = range(1, len(curve) + 1)
        axes.step(counts, curve, where="post", c=colour, ls=line, lw=1.5, label=label)
        axes.scatter(counts[-1:], curve[-1:], s=22, c=colour)
    if reached := worth["reached_after"]:
        best = worth["best_so_far"]["search"][reached - 1]
        label = f"as good as random's best: after {reached}"
        axes.scatter([reached], [best], s=90, c=ORANGE, marker="D", zorder=3, label=label)
    axes.set_xlabel("networks")
    axes.set_ylabel(f"best {in_words(worth['quality'])} so far")
    axes.xaxis.get_major_locator().set_params(integer=True)
    return _png(figure, axes)


def _axes(inches: tuple[float, float] = INCHES) -> tuple[Any, Any]:
    # Figure, not pyplot: no display is asked for and no global state is left behind.
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=TEXT_PT)
    axes.ticklabel_format(useOffset=False)
    return figure, axes


def _png(figure: Any, axes: Any) -> bytes:
    axes.xaxis.label.set_size(TEXT_PT)
    axes.yaxis.label.set_size(TEXT_PT)
    axes.legend(fontsize=TEXT_PT)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def _svg(figure: Any) -> bytes:
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "nas"}):  # the same picture is the same file
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
