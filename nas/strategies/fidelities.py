"""Multi-fidelity observations: what closer looks say, in the terms of the first one.

A strategy's trials are told what the first look at a network finds. A sampler that has a method

    observe(architecture, level, values)

is told of every look after it, too: the place of the fidelity among `Problem.fidelity.levels`, and
the unknown objectives, in their own units. Looks share their samples, so that a level differs from
the first by an amount that all networks share, and by chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.problem.chance import FEWEST_TOLD, chance_of_changes
from nas.problem.fidelity import Fidelity
from nas.problem.problem import Vector


@dataclass(frozen=True)
class Corrected:
    """First looks, with what is known better in their place.

    Args:
        values: (n,), as first looks find them on average.
        noise: (n,), the variances of what is left to chance.
    """

    values: Vector
    noise: Vector


class CloserLooks:
    """What was found of the quality of networks after the first look, less is better.

    Attributes:
        shift: by how much a full look finds another number than a first one; None before that is
            known.
    """

    def __init__(self, fidelity: Fidelity) -> None:
        self._levels = np.array(fidelity.levels, dtype=float)
        self._found: dict[int, tuple[int, float]] = {}  # the last look at each
        self.shift: float | None = None

    def add(self, key: int, level: int, value: float) -> None:
        """Take in a look at the network of a key."""
        self._found[key] = level, value

    def corrected(self, keys: Sequence[int], first: Vector, expected: Vector) -> Corrected | None:
        """The first looks at networks, corrected; None where too few were looked at again.

        Args:
            keys: of the networks.
            first: (n,), what first looks found.
            expected: (n,), what a model of all first looks says: who goes on was lucky in the
                first, and by how much levels differ is told without that luck.
        """
        looks = [self._found.get(key) for key in keys]
        again = np.array([place for place, look in enumerate(looks) if look], dtype=int)
        if len(again) < FEWEST_TOLD:
            return None
        level, later = (np.array(each) for each in zip(*filter(None, looks), strict=True))
        values, noise = first.copy(), np.empty(len(first))
        apart, change = later - expected[again], later - first[again]
        levels = np.unique(level)
        shared = self._levels[0] / self._levels[levels]  # of the samples
        # By differences; who went on differs in less than all do.
        variance, _ = chance_of_changes([change[level == at, None] for at in levels], shared)
        for at in levels:
            which = level == at
            shift = float(apart[which].mean())
            values[again[which]] = later[which] - shift
            if self._levels[at] == self._levels[-1]:
                self.shift = shift
        noise[:] = chance = float(variance[0])
        noise[again] = chance * self._levels[0] / self._levels[level]
        return Corrected(values, noise)
