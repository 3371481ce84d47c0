"""The pictures of a run, as PNG bytes."""

import io
from typing import Any

from nas.run.results import Found, curve

BLUE, ORANGE, GREY, GREEN = "#2266aa", "#dd7711", "#888888", "#228855"
# A picture is 864 pixels wide where it stands in the report, whose text of 15 pixels is 9 pt then;
# matplotlib's own typeface is the report's, too.
INCHES, DPI, TEXT_PT = (7.2, 4.6), 160, 9.0


def pareto_png(
    evaluated: list[Found], picks: list[Found], best: Found, budget_ms: float | None
) -> bytes:
    """Validation loss against latency: every trial, the front, the budget and the winner."""
    figure, axes = _axes()
    axes.scatter(*_points(picks), s=26, c=GREY, marker="x", label="random picks")
    axes.scatter(*_points(evaluated), s=30, c=BLUE, alpha=0.7, label="trials of the search")
    axes.step(*_points(curve(evaluated)), where="post", c=BLUE, lw=1.5, label="their Pareto front")
    axes.scatter([best.latency_ms], [best.loss], s=260, c=ORANGE, marker="*", label="winner")
    if budget_ms is not None:
        axes.axvline(budget_ms, c=GREEN, ls="--", lw=1.4, label=f"budget: {budget_ms:.5g} ms")
    axes.set_xlabel("predicted latency of the pipeline (ms)")
    axes.set_ylabel("validation loss")
    return _png(figure, axes)


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


def _points(evaluated: list[Found]) -> tuple[list[float], list[float]]:
    return [e.latency_ms for e in evaluated], [e.loss for e in evaluated]


def _axes() -> tuple[Any, Any]:
    # Figure, not pyplot: no display is asked for and no global state is left behind.
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, layout="constrained")
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
