"""Optuna's own samplers as strategies."""

from typing import TYPE_CHECKING

from nas.problem.problem import Problem

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


def random(problem: Problem) -> "BaseSampler":
    """Uniform over each choice."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=problem.seed)


def tpe(problem: Problem) -> "BaseSampler":
    """Optuna's multi-objective tree-structured Parzen estimator, multivariate, numbers in order."""
    import warnings

    from nas.strategies.ordinal_tpe import OrdinalTPE

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental for years
        return OrdinalTPE(
            seed=problem.seed,
            multivariate=True,
            group=bool(problem.space.may_not_matter),
            warn_independent_sampling=False,
        )


def nsga2(problem: Problem) -> "BaseSampler":
    """Optuna's NSGA-II."""
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=problem.seed, population_size=20)


def gp(problem: Problem) -> "BaseSampler":
    """Optuna's Gaussian process: seconds a trial from some hundred trials on."""
    import warnings

    from optuna.samplers import GPSampler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental for years
        return GPSampler(seed=problem.seed, warn_independent_sampling=False)
