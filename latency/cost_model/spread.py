"""What the bounds of a prediction are made of."""

import math
from dataclasses import dataclass

from latency.cost_model.laplace import QUANTILE


@dataclass(frozen=True)
class Spread:
    """What bounds are made of: standard deviations of the log latency.

    Args:
        costs: what unit costs leave open.
        family: what networks of one family share, whatever they run on.
        residual: what is a network's own, and a measurement's.
    """

    costs: float
    family: float
    residual: float

    @property
    def factors(self) -> dict[str, float]:
        """By what factor each alone would put the 90% bounds from a prediction."""
        return {name: factor(deviation) for name, deviation in vars(self).items()}


def factor(deviation: float) -> float:
    """By what factor 90% bounds are apart from a prediction, by a deviation of the log latency."""
    return math.exp(QUANTILE * deviation)
