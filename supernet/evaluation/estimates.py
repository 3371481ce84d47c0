"""Standard errors of means under stratified (quasi-random) flow times."""

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """A mean over clips with its standard error."""

    value: float
    error: float  # one standard error; not a number where a single clip was seen
    clips: int

    @property
    def degrees_of_freedom(self) -> float:
        """Degrees of freedom of the standard error, for a t test."""
        return 2 * (self.clips - 1) ** 2 / (3 * self.clips - 4) if self.clips > 1 else math.nan

    def __str__(self) -> str:
        return f"{self.value:.4f} ± {self.error:.4f}"


def mean_over_times(value_B: Tensor, time_B: Tensor) -> Estimate:
    """Estimate the mean of one value a clip under stratified times, with its standard error.

    Stratified sampling of the times takes what depends on the time out of the mean's error; the
    spread over all clips would count it. Clips of neighbouring times differ by chance alone: the
    error is that of successive differences in the order of time (von Neumann, Kent, Bellinson and
    Hart 1941, Annals of Mathematical Statistics 12; for systematic samples Wolter 2007, chapter
    8). The clips are those of the source: of a few long videos, many clips are still few videos.
    """
    clips = len(value_B)
    value = float(value_B.double().mean())
    if clips < 2:
        return Estimate(value, math.nan, clips)
    steps = value_B.double()[time_B.argsort()].diff()
    variance = float(steps.square().mean()) / 2
    return Estimate(value, math.sqrt(variance / clips), clips)
