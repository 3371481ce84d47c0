"""Strategies propose the next architectures; each is an Optuna sampler.

A strategy is a callable (Problem) -> sampler: one of `STRATEGIES`, or yours as
package.module:name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search_spaces import Architecture, SearchSpace
from search_spaces.loading import named_or_imported

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@dataclass(frozen=True)
class Problem:
    """What a strategy may know beforehand: the space, and every architecture's latency."""

    space: SearchSpace
    latency_ms: Callable[[Architecture], float]
    keeps_budget: Callable[[Architecture], bool]
    seed: int


Strategy = Callable[[Problem], "BaseSampler"]


def cost_aware(problem: Problem) -> "BaseSampler":
    """Models quality, knows latency; proposes what should grow the front inside the budget most."""
    from nas.strategies.cost_aware import CostAware

    return CostAware(problem)


def random(problem: Problem) -> "BaseSampler":
    """Uniform over each choice."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=problem.seed)


def tpe(problem: Problem) -> "BaseSampler":
    """Optuna's multi-objective tree-structured Parzen estimator."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=problem.seed, n_startup_trials=12)


def nsga2(problem: Problem) -> "BaseSampler":
    """Optuna's NSGA-II."""
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=problem.seed, population_size=20)


STRATEGIES: dict[str, Strategy] = {
    "cost-aware": cost_aware,
    "random": random,
    "tpe": tpe,
    "nsga2": nsga2,
}


def load_strategy(name: str) -> Strategy:
    """A strategy by name or as package.module:name; InputError for any other."""
    return named_or_imported(name, STRATEGIES, "strategy")
