"""Extremes and feasibility by looking: where costs do not add up by parts, architectures are tried.

A space that can be listed is looked through; of a larger one the best of many random architectures
goes on by its neighbours until none is better.
"""

import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from nas.costs.contract import Meter, Vector
from nas.costs.limits import Limits
from nas.problem.problem import Problem
from search_spaces import Architecture, InputError, SearchSpace
from search_spaces.space.integer_encoding import IntegerEncoder

LISTED = 20_000  # architectures that are all looked at
DRAWN = 4096
STEPS = 200  # from one architecture to a better neighbour, at most


@lru_cache(maxsize=4)
def looked_at(space: SearchSpace) -> tuple[Architecture, ...]:
    """All architectures of a small space, or many random ones of a large one."""
    if space.size <= LISTED:
        return tuple(space.enumerate())
    coder = IntegerEncoder(space)
    drawn = coder.architectures(coder.sample(DRAWN, np.random.default_rng(0)))
    return tuple(dict.fromkeys(drawn))


def least(space: SearchSpace, cost: Meter) -> Architecture:
    """The architecture of least cost, or in a large space one that no neighbour beats."""
    found = looked_at(space)
    costs = cost(found)
    best = found[int(np.argmin(costs))]
    return best if space.size <= LISTED else _descended(space, best, cost)


def _descended(space: SearchSpace, best: Architecture, cost: Meter) -> Architecture:
    lowest = float(cost([best])[0])
    for _ in range(STEPS):
        near = list(space.neighbours(best))
        costs = cost(near) if near else np.array([np.inf])
        if not float(costs.min()) < lowest:
            break
        best, lowest = near[int(np.argmin(costs))], float(costs.min())
    return best


def least_of(limits: Limits, name: str) -> Architecture:
    """The network that needs least of one limit, which is named as `Limits.excess` names it."""
    return least(limits.space, lambda some: limits.excess_of(some)[name])


def check_region(problem: Problem) -> None:
    """Refuse a goal's region that ends beyond what the best network has of a known objective.

    Raises:
        InputError: a limit on a known objective that no network was found to keep.
    """
    known = [each for each in problem.objectives if each.known]
    for place, objective in enumerate(known):
        limit = problem.goal.region.get(objective.name)
        if limit is None:
            continue

        def cost(architectures: Sequence[Architecture], place: int = place) -> Vector:
            return np.asarray(problem.costs(architectures)[:, place], dtype=float)

        best = least(problem.space, cost)
        has = abs(float(cost([best])[0]))
        if (has < limit) if objective.maximize else (has > limit):
            side = "at_least" if objective.maximize else "at_most"
            far = "above the largest" if objective.maximize else "below the cheapest"
            raise InputError(
                f"`{side}={objective.name}={limit:g}`: is {far} network, which has {has:g} "
                f"({best}); {'ask for less' if objective.maximize else 'allow more'}"
            )


def contradicting(limits: Limits) -> list[str]:
    """The fewest limits that no network was found to keep together; empty where one keeps all."""
    names = list(limits.excess_of(looked_at(limits.space)[:1]))
    for count in range(1, len(names) + 1):
        for few in itertools.combinations(names, count):
            if not _kept(limits, few):
                return list(few)
    return []


def _kept(limits: Limits, names: Sequence[str]) -> bool:
    """Whether some network keeps these limits: looked at, or reached by passing them less."""
    over = _passed(limits, names)
    return float(over([least(limits.space, over)])[0]) <= 0


def _passed(limits: Limits, names: Sequence[str]) -> Callable[[Sequence[Architecture]], Vector]:
    """By how much limits are passed in all, each as a share of what is usual."""
    usual = limits.excess_of(looked_at(limits.space))
    scales = {name: float(np.abs(usual[name]).max()) or 1.0 for name in names}

    def over(architectures: Sequence[Architecture]) -> Vector:
        found = limits.excess_of(architectures)
        total = np.zeros(len(architectures))
        for name in names:
            total += np.maximum(found[name] / scales[name], 0.0)
        return total

    return over
