"""Standings of a race: what looks found, and what a full look should find (empirical Bayes)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nas.problem.chance import FEWEST_TOLD, chance_of_changes
from nas.problem.problem import Matrix, Vector

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Board:
    """All that was found, less is better.

    Args:
        found: (networks, levels, unknown objectives); NaN where a network was not seen.
        costs: (networks, costs).
        counts: of the levels.
        chance: (objectives,), the variance of first looks that is chance.
    """

    found: npt.NDArray[np.float64]
    costs: Matrix
    counts: tuple[int, ...]
    chance: Vector

    @cached_property
    def levels(self) -> Places:
        """The highest level at which each network was seen, (n,)."""
        return np.asarray((~np.isnan(self.found[:, :, 0])).sum(axis=1) - 1)

    def changes(self, level: int) -> Vector:
        """By how much the first objective changed from a level to the next, of who went on."""
        if level + 1 >= self.found.shape[1]:
            return np.zeros(0)
        change = self.found[:, level + 1, 0] - self.found[:, level, 0]
        return np.asarray(change[~np.isnan(change)])

    @cached_property
    def estimates(self) -> Matrix:
        """What the highest level that anyone reached would show of each, (n, objectives).

        Of what networks differ by at first, a part is chance: who went on was lucky. So each comes
        back towards the mean by what its look does not tell (an empirical Bayes shrinkage; Efron
        and Morris 1975), and by how much levels differ for all is told without that luck.
        """
        if not len(self.found):
            return np.zeros((0, self.found.shape[2]))
        first, top = self.found[:, 0], int(self.levels.max())
        mean = first.mean(axis=0)
        own = np.maximum(first.var(axis=0) - self.chance, 0.0)  # the variance of what is no chance
        estimates, shift, before = np.empty_like(first), np.zeros(len(mean)), first
        likely = first
        for level, count in enumerate(self.counts[: top + 1]):
            if level:
                same = self.counts[level - 1] / count  # of the samples
                expected = same * before + (1 - same) * likely
                shift = np.nanmean(self.found[:, level] - expected, axis=0)
            before = self.found[:, level] - shift  # in the terms of first looks
            likely = mean + _share(own, self.chance * self.counts[0] / count) * (before - mean)
            told = count / self.counts[top]
            last = self.levels == level
            estimates[last] = (told * before + (1 - told) * likely)[last]
        estimates += shift
        seen = self.levels == top
        estimates[seen] = self.found[seen, top]
        return estimates


def crowding(points: Matrix, ranks: Places) -> Vector:
    """How far the neighbours of each point are on its front (crowding distance; Deb 2002), (n,)."""
    apart = np.zeros(len(points))
    for rank in np.unique(ranks):
        front = np.flatnonzero(ranks == rank)
        for column in points[front].T:
            order = front[np.argsort(column, kind="stable")]
            along = np.sort(column)
            extent = along[-1] - along[0] or 1.0
            apart[order[[0, -1]]] = np.inf
            apart[order[1:-1]] += (along[2:] - along[:-2]) / extent
    return apart


def chance_of(found: npt.NDArray[np.float64], counts: Sequence[int]) -> Vector:
    """The variance of first looks that is chance, by how they changed later, (objectives,)."""
    levels = (~np.isnan(found[:, :, 0])).sum(axis=1) - 1
    later = range(1, found.shape[1])
    changes = [(found[:, level] - found[:, 0])[levels == level] for level in later]
    if not changes:
        return np.zeros(found.shape[2])
    variance, left = chance_of_changes(changes, [counts[0] / counts[level] for level in later])
    return variance if left >= FEWEST_TOLD else np.zeros_like(variance)


def _share(own: Vector, chance: Vector) -> Vector:
    """Of what looks find networks to differ by, the share that is their own."""
    both = own + chance
    return np.where(both > 0, own / np.where(both > 0, both, 1.0), 1.0)
