"""How far earlier studies agree with what a search found: rank correlation, variance explained."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.problem.problem import Problem, Vector
from nas.strategies.cost_aware_sampler import CostAware, Settings
from search_spaces import Architecture

FIRST = 20  # evaluations whose ranking is compared
FIT_STEPS = 50  # where all is fitted at once


@dataclass(frozen=True)
class Agreement:
    """Of one earlier study.

    Args:
        tau: Kendall's tau of what it foresees of the first evaluations with what they found; None
            where there is no ranking.
        of: so many evaluations.
        weight: the share of the variance among networks that the model of `cost-aware`, given all
            evaluations, takes from it.
    """

    tau: float | None
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
    from scipy.stats import kendalltau

    sampler, sign = CostAware(problem, Settings(fit_steps=FIT_STEPS)), problem.signs
    found = float(sign[~problem.is_known][0]) * quality
    means, weights = sampler.foreseen(sampler.coder.codes(architectures), found)
    agreed = []
    for foreseen, weight in zip(means[:, :FIRST], weights.tolist(), strict=True):
        tau = float(kendalltau(foreseen, found[:FIRST]).statistic)
        agreed.append(Agreement(tau if np.isfinite(tau) else None, len(foreseen), weight))
    return agreed
