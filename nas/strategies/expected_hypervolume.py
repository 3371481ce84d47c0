"""Expected hypervolume improvement (EHVI), where all costs of a candidate are known.

With one quality uncertain, it is the integral
of a one-dimensional expected improvement over the costs that the candidate would serve: at every
budget z that it keeps, by how much it should beat the best quality known inside z (the sum over a
front's segments, for one cost; Emmerich and others 2011 derive the case of uncertain objectives).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nas.strategies.compression import Compression, expected_improvement

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

BUDGETS = 512  # of several costs, in place of the integral
TINY = 1e-12


@dataclass(frozen=True)
class ParetoFront:
    """What is known so far, less is better everywhere.

    Args:
        costs: (n, costs) of what was evaluated; no column where only quality counts.
        qualities: (n,).
        worst_costs: (costs,), budgets beyond which nothing is gained.
        worst_quality: above which nothing is gained.
        compression: that qualities went through, where they count as they were before it.
    """

    costs: Matrix
    qualities: Vector
    worst_costs: Vector
    worst_quality: float
    compression: Compression | None = None

    def expected_hypervolume_improvement(
        self, costs: Matrix, mean: Vector, deviation: Vector
    ) -> Vector:
        """(m,): by how much each of m candidates is expected to grow the hypervolume."""
        levels, shares = self._budgets
        of = (
            expected_improvement
            if self.compression is None
            else self.compression.expected_improvement
        )
        improvement = of(levels, mean, deviation)
        if self.costs.shape[1] == 0:
            return improvement[:, 0]
        if self.costs.shape[1] == 1:
            starts, stops = shares
            widths = np.maximum(0.0, stops - np.maximum(starts, costs))
        else:
            widths = (costs[:, None, :] <= shares[None]).all(axis=2) / len(shares)
        growth: Vector = (widths * improvement).sum(axis=1)
        return growth

    @cached_property
    def hypervolume(self) -> float:
        """What is dominated so far; of several costs, as a share of their box."""
        levels, shares = self._budgets
        ends = np.append(levels, self.worst_quality)
        *depths, end = ends if self.compression is None else self.compression.expanded(ends)
        gained = end - np.array(depths)
        if self.costs.shape[1] == 1:
            inside = gained > 0  # the first segment begins nowhere
            widths = np.maximum(0.0, shares[1, inside] - shares[0, inside])
            return float(gained[inside] @ widths)
        return float(gained.mean())

    def followed_by(self, costs: Vector, quality: float) -> "ParetoFront":
        """The front with one more evaluated, of such costs (costs,)."""
        return replace(
            self,
            costs=np.concatenate([self.costs, costs[None, : self.costs.shape[1]]]),
            qualities=np.append(self.qualities, quality),
        )

    @cached_property
    def _budgets(self) -> tuple[Vector, Matrix]:
        """The best quality inside budgets, (b,), and where they are.

        Of one cost: starts and stops of the front's segments, (2, b); of several: points that
        fill the box of costs evenly, (b, costs).
        """
        count = self.costs.shape[1]
        capped = np.minimum(self.qualities, self.worst_quality)
        if count == 0:
            return np.array([min(self.worst_quality, capped.min(initial=np.inf))]), np.zeros((1, 0))
        if count == 1:
            order = np.argsort(self.costs[:, 0], kind="stable")
            steps = np.concatenate([[self.worst_quality], np.minimum.accumulate(capped[order])])
            starts = np.concatenate([[-np.inf], self.costs[order, 0]])
            kept = np.concatenate([[True], np.diff(steps) < 0])
            steps, starts = steps[kept], starts[kept]
            stops = np.minimum(np.concatenate([starts[1:], [np.inf]]), self.worst_costs[0])
            return steps, np.stack([starts, stops])
        points = self._spread_points
        inside = (self.costs[None] <= points[:, None]).all(axis=2)
        best = np.where(inside, capped, np.inf).min(axis=1, initial=self.worst_quality)
        return best, points

    @cached_property
    def _spread_points(self) -> Matrix:
        from scipy.stats import qmc

        count = self.costs.shape[1]
        spread = qmc.Sobol(count, seed=0).random(BUDGETS)
        low = self.costs.min(axis=0)
        points: Matrix = low + spread * (self.worst_costs - low)
        return points


@dataclass(frozen=True)
class Growth:
    """The expected relative growth of several hypervolumes.

    Each is measured by what it has, so that one that is as good as found counts ever less beside
    one that still grows.

    Args:
        fronts: of the same evaluations.
        weights: of each.
    """

    fronts: tuple[ParetoFront, ...]
    weights: tuple[float, ...]

    @staticmethod
    def relative(shares: Sequence[tuple[ParetoFront, float]]) -> "Growth":
        """Of fronts with the share of each; one that has nothing yet is all that counts."""
        volumes = [max(front.hypervolume, TINY) for front, _ in shares]
        weights = tuple(s / v for (_, s), v in zip(shares, volumes, strict=True))
        return Growth(tuple(front for front, _ in shares), weights)

    def expected(self, costs: Matrix, mean: Vector, deviation: Vector) -> Vector:
        """(m,): of each of m candidates."""
        found = np.zeros(len(mean))
        for front, weight in zip(self.fronts, self.weights, strict=True):
            growth = front.expected_hypervolume_improvement(costs, mean, deviation)
            found += weight * growth
        return found

    def followed_by(self, costs: Vector, quality: float) -> "Growth":
        """With one more evaluated, of such costs (costs,)."""
        return replace(self, fronts=tuple(f.followed_by(costs, quality) for f in self.fronts))
