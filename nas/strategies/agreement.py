"""How far earlier studies agree with what a search found: rank correlation, variance explained."""

from collections.abc import Sequence
from dataclasses import dataclass

from nas.problem.problem import Problem, Vector
from nas.strategies.cost_aware_sampler import CostAware, Settings
from nas.strategies.transfer import rank_correlation
from search_spaces import Architecture

FIRST = 20  # evaluations whose ranking is compared
FIT_STEPS = 50  # where all is fitted at once


@dataclass(frozen=True)
class Agreement:
    """Of one earlier study.

    Args:
        tau: Kendall's tau of what it foresees of the first evaluations with what they found; 0
            where there is no ranking.
        of: so many evaluations.
        weight: the share of the variance among networks that the model of `cost-aware`, given all
            evaluations, takes from it.
    """

    tau: float
    of: int
    weight: float


def agreements(
    problem: Problem, architectures: Sequence[Architecture], quality: Vector
) -> list[Agreement]:
    """How each earlier study of a problem agrees with its evaluations.

    Args:
        problem: with earlier studies.
        architectures: that were evaluated, in their order.
        quality: the first unknown objective of each, (n,), in its own unit and sign.
    """
    sampler, sign = CostAware(problem, Settings(fit_steps=FIT_STEPS)), problem.signs
    found = float(sign[~problem.is_known][0]) * quality
    means, weights = sampler.foreseen(sampler.coder.codes(architectures), found)
    agreed = []
    for foreseen, weight in zip(means[:, :FIRST], weights.tolist(), strict=True):
        tau = rank_correlation(foreseen, found[:FIRST])
        agreed.append(Agreement(tau, len(foreseen), weight))
    return agreed
