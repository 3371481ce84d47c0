"""Link functions: whether what options take adds in ms, or multiplies and adds in log ms.

As in generalised linear models: by the log link the logarithm of latency is a sum, so that options
multiply. Which of the two a device gets is decided by what its measurements say.
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from latency.measurement.validation import SHORTEST_MS

Vector = npt.NDArray[np.float64]
Rows = npt.NDArray[np.floating[Any]]
Link = Literal["identity", "log"]
LINKS: tuple[Link, ...] = ("identity", "log")

# Options multiply where that leaves less than this of the error of sums, which are the simpler and
# say what each option takes; of few networks, chance makes more of a difference. Set on the devices
# of nb201 and fbnet that examples/benchmarks/few_shot.py tunes on, and on tables by formula.
CLEARLY = 0.85
CHANCE = 4.0  # networks' worth of error
FEWEST = 10
WRONG = 1.0  # a prediction that is off by a factor of e is as wrong as any


def linked(latency_ms: npt.ArrayLike, link: Link) -> Vector:
    """Transform latencies to what is summed."""
    found: Vector = np.maximum(np.asarray(latency_ms, dtype=float), SHORTEST_MS)
    return np.log(found) if link == "log" else found


def interval_ms(sums: Rows, spreads: Rows, quantile: float, link: Link) -> tuple[Rows, Rows, Rows]:
    """Prediction interval of sums: (latency_ms, low_ms, high_ms), `quantile` spreads to each side.

    Symmetrical in what is summed: by the log link, a factor to each side.
    """
    half = quantile * spreads
    if link == "log":
        with np.errstate(over="ignore"):  # infinite is refused where it matters
            latency_ms, low_ms, high_ms = np.exp(sums), np.exp(sums - half), np.exp(sums + half)
        shortest = np.asarray(SHORTEST_MS, dtype=sums.dtype)
        return np.maximum(latency_ms, shortest), low_ms, np.maximum(high_ms, shortest)
    latency_ms = np.maximum(sums, SHORTEST_MS)
    return latency_ms, np.maximum(latency_ms - half, 0.0), latency_ms + half


def is_clearly_better(other_ms: Rows, usual_ms: Rows, measured_ms: Rows) -> bool:
    """Whether leave-one-out predictions are clearly better than the usual, as factors of truth."""
    other, usual = (_error(predicted_ms / measured_ms) for predicted_ms in (other_ms, usual_ms))
    return other < min(CLEARLY, 1 - CHANCE / len(measured_ms)) * usual


def _error(ratios: Rows) -> float:
    return float(np.minimum(np.abs(np.log(ratios)), WRONG).mean())
