"""Strategies propose the next architectures; each is an Optuna sampler.

A strategy is a callable (Problem) -> sampler: one of `STRATEGIES`, or yours as
package.module:name. `nas.testing.StrategyConformance` checks yours as ours are checked.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nas.problem.earlier import Earlier
from nas.problem.goal import Goal
from nas.problem.problem import Objective, Problem
from nas.strategies.baselines import gp, nsga2, random, tpe
from search_spaces.shipped.loading import named_or_imported

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import StudyDirection

    from search_spaces import Architecture, SearchSpace

__all__ = [
    "STRATEGIES",
    "Earlier",
    "Goal",
    "Objective",
    "Problem",
    "Strategy",
    "cost_aware",
    "exact",
    "gp",
    "load_strategy",
    "nsga2",
    "random",
    "sampler",
    "scoring_set",
    "tpe",
    "warm_start",
]

Strategy = Callable[[Problem], "BaseSampler"]


def cost_aware(problem: Problem) -> "BaseSampler":
    """Models quality, knows costs; proposes what should grow the front inside the budgets most."""
    from nas.strategies.cost_aware_sampler import CostAware

    return CostAware(problem)


def exact(problem: Problem) -> "BaseSampler":
    """Additive scores of blocks, and the best arrangement under a budget by integer programming."""
    from nas.strategies.exact_sampler import Exact

    return Exact(problem)


def warm_start(problem: Problem, count: int) -> "list[Architecture]":
    """Architectures for any strategy to begin with: the best arrangements by `problem.proxy`.

    Args:
        problem: with a proxy.
        count: at most so many, under budgets all over the costs that are allowed.

    Raises:
        InputError: a part of the space has too many options to be listed.
    """
    from nas.strategies.exact_sampler import Exact

    return Exact(problem).warm_start(count)


def scoring_set(problem: Problem) -> "list[Architecture]":
    """The architectures that `exact` and `warm_start` want to have guessed.

    Raises:
        InputError: a part of the space has too many options to be listed.
    """
    from nas.strategies.exact_sampler import Exact

    return Exact(problem).scoring_set()


STRATEGIES: dict[str, Strategy] = {
    "cost-aware": cost_aware,
    "exact": exact,
    "random": random,
    "tpe": tpe,
    "nsga2": nsga2,
    "gp": gp,
}


def load_strategy(name: str) -> Strategy:
    """A strategy by name or as package.module:name; InputError for any other."""
    return named_or_imported(name, STRATEGIES, "strategy")


def sampler(
    strategy: str | Strategy,
    search_space: "Mapping[str, BaseDistribution] | SearchSpace",
    directions: "Sequence[str | StudyDirection]" = ("minimize",),
    *,
    known: "Mapping[int, Callable[[dict[str, Any]], float]] | None" = None,
    seed: int = 0,
) -> "BaseSampler":
    """A strategy as a plain sampler, for `optuna.create_study(sampler=..., directions=...)`.

    Of ours, `cost-aware` tries a number that varies freely in 64 steps of its range, and so of
    whole numbers on a logarithmic scale: all where there are no more.

    Args:
        strategy: a name, package.module:name, or a strategy itself.
        search_space: the parameters that the objective suggests, by name, as OptunaHub's problems
            have it; or a space whose `suggest` it calls.
        directions: of the study.
        known: objectives that are known beforehand, by their place: functions of a trial's
            parameters.
        seed: of everything that is drawn.

    Raises:
        InputError: a strategy, distribution or direction that is none.
    """
    from nas.strategies.plain_studies import made

    found = load_strategy(strategy) if isinstance(strategy, str) else strategy
    return made(found, search_space, directions, known or {}, seed)
