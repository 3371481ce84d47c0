"""Strategies in anybody's study: a problem made of Optuna's distributions and directions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.study import StudyDirection

from nas.problem.parameters import Parameters
from nas.problem.problem import Matrix, Objective, Problem
from nas.strategies.joint import JointSampler
from search_spaces import Architecture, InputError, SearchSpace

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

Directions = Sequence[str | StudyDirection]
Cost = Callable[[dict[str, Any]], float]


@dataclass(frozen=True)
class Costs:
    """The known objectives of architectures, from functions of parameters; pickles as those do."""

    parameters: Parameters
    costs: tuple[Cost, ...]

    def __call__(self, architectures: Sequence[Architecture]) -> Matrix:
        """Known objectives, (n, costs)."""
        values = [self.parameters.values(each) for each in architectures]
        found = [[float(cost(each)) for cost in self.costs] for each in values]
        return np.array(found, dtype=float).reshape(len(architectures), len(self.costs))


def made(
    strategy: "Callable[[Problem], BaseSampler]",
    search_space: "Mapping[str, BaseDistribution] | SearchSpace",
    directions: Directions,
    known: Mapping[int, Cost],
    seed: int,
) -> "BaseSampler":
    """The sampler of a strategy for a study of such parameters and directions."""
    if isinstance(search_space, SearchSpace):
        parameters = Parameters.of_space(search_space)
    else:
        parameters = Parameters.of_distributions(search_space)
    if beyond := [place for place in known if not 0 <= place < len(directions)]:
        raise InputError(
            f"`known={beyond[0]}`: there are {len(directions)} objectives, counted from 0"
        )
    objectives = tuple(
        Objective(f"value_{place}", place in known, _maximizes(direction))
        for place, direction in enumerate(directions)
    )
    costs = Costs(parameters, tuple(known[place] for place in sorted(known)))
    sampler = strategy(Problem(parameters.space, objectives, costs, seed=seed))
    if isinstance(sampler, JointSampler):
        sampler.decide(parameters)
    return sampler


def _maximizes(direction: str | StudyDirection) -> bool:
    names = {"minimize": False, "maximize": True}
    name = direction if isinstance(direction, str) else direction.name.lower()
    if name not in names:
        raise InputError(f"direction {name!r} is neither minimize nor maximize")
    return names[name]
