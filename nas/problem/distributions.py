"""Optuna distributions of a space, and directions of a problem's objectives."""

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection

from nas.problem.problem import Problem
from search_spaces import NumericChoice, SearchSpace


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Of each choice, the distribution that `SearchSpace.suggest` makes."""
    found: dict[str, BaseDistribution] = {}
    for choice in space.choices:
        if not isinstance(choice, NumericChoice):
            found[choice.name] = CategoricalDistribution(choice.options)
        elif choice.integer:
            found[choice.name] = IntDistribution(int(choice.low), int(choice.high))
        else:
            found[choice.name] = FloatDistribution(choice.low, choice.high)
    return found


def directions(problem: Problem) -> list[StudyDirection]:
    """As Optuna spells them."""
    return [
        StudyDirection.MAXIMIZE if objective.maximize else StudyDirection.MINIMIZE
        for objective in problem.objectives
    ]
