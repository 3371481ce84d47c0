"""Output warping: qualities with those far from the best drawn together.

Poor networks differ much, and it matters little; a model of what they are after warping spends
itself on the good ones (Snoek and others 2014 warp inputs so).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr, ndtr

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Compression:
    """Leaves qualities up to `best + knee` as they are; beyond it they grow by the logarithm.

    The slope is the same where it begins.
    """

    best: float
    knee: float

    def __call__(self, quality: Vector) -> Vector:
        """Qualities, compressed."""
        over = np.maximum(quality - self.best - self.knee, 0.0)
        near = np.minimum(quality, self.best + self.knee)
        return np.asarray(near + self.knee * np.log1p(over / self.knee))

    def expanded(self, compressed: Vector) -> Vector:
        """The qualities that were compressed."""
        over = np.maximum(compressed - self.best - self.knee, 0.0)
        near = np.minimum(compressed, self.best + self.knee)
        return np.asarray(near + self.knee * np.expm1(over / self.knee))

    def expected_improvement(self, levels: Vector, mean: Vector, deviation: Vector) -> Matrix:
        """(m, b): by how much m qualities are expected to be below b levels, before compression.

        Means and deviations are of compressed qualities, which are normal: beyond the knee,
        qualities are then log-normal, and the expectation has a closed form.
        """
        knee, begin = self.knee, self.best + self.knee
        found = expected_improvement(levels, mean, deviation)
        far = levels > begin
        spread, middle = np.maximum(deviation, 1e-12)[:, None], mean[:, None]
        at, from_knee = (levels[far] - middle) / spread, (begin - middle) / spread
        below, below_knee = ndtr(at), ndtr(from_knee)
        # The mean of the exponential between knee and level, in logarithms: it may be huge.
        ratio = spread / knee
        size = (middle - begin) / knee + ratio**2 / 2
        grown = np.exp(size + log_ndtr(at - ratio)) - np.exp(size + log_ndtr(from_knee - ratio))
        linear = middle * below_knee - spread * density(from_knee)
        expected = linear + (begin - knee) * (below - below_knee) + knee * grown
        found[:, far] = np.maximum(self.expanded(levels[far]) * below - expected, 0.0)
        return found


def expected_improvement(levels: Vector, mean: Vector, deviation: Vector) -> Matrix:
    """(m, b): by how much less than each level m normal qualities are expected to be."""
    spread = np.maximum(deviation, 1e-12)[:, None]
    gap = (levels - mean[:, None]) / spread
    found: Matrix = spread * (gap * ndtr(gap) + density(gap))
    return found


def density(gap: Matrix) -> Matrix:
    """Of the standard normal distribution."""
    return np.asarray(np.exp(-np.square(gap) / 2) / np.sqrt(2 * np.pi))
