"""Regularised by knowledge: evolution that never spends an evaluation outside the budget."""

from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from nas.strategies import Problem
from search_spaces import Architecture

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

FIRST = 12  # random points before anything is bred
BEST = 8
TRIES = 50


class Evolution(BaseSampler):
    """Breeds from the best trials and the front; latency is known, so the budget is never left.

    A whole architecture is decided before a trial begins, and handed out choice by choice.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._rng = np.random.default_rng(problem.seed)
        self._proposals: dict[int, Architecture] = {}

    def reseed_rng(self) -> None:
        """A new random state, as Optuna asks of samplers that run in parallel."""
        self._rng = np.random.default_rng()

    def before_trial(self, study: "Study", trial: "FrozenTrial") -> None:
        """Decide the trial's architecture."""
        states = (TrialState.COMPLETE, TrialState.RUNNING, TrialState.FAIL)
        trials = [t for t in study.get_trials(deepcopy=False, states=states) if t.params]
        seen = {self._problem.space.architecture(t.params) for t in trials}
        finished = sorted(
            (t for t in trials if t.state == TrialState.COMPLETE), key=lambda t: t.values[0]
        )
        # The best, and the front: the fast ones among it keep cheap blocks in the pool.
        chosen = {t.number: t for t in [*finished[:BEST], *_front(finished)]}
        parents = [self._problem.space.architecture(t.params) for t in chosen.values()]
        self._proposals = {trial.number: self._propose(parents, len(finished), seen)}

    def sample_independent(
        self,
        study: "Study",  # noqa: ARG002 - Optuna's signature
        trial: "FrozenTrial",
        param_name: str,
        param_distribution: "BaseDistribution",  # noqa: ARG002
    ) -> Any:
        """The proposal's option of a choice."""
        return self._proposals[trial.number][param_name]

    def infer_relative_search_space(
        self,
        study: "Study",  # noqa: ARG002
        trial: "FrozenTrial",  # noqa: ARG002
    ) -> dict[str, "BaseDistribution"]:
        """Nothing: choices are handed out one by one."""
        return {}

    def sample_relative(
        self,
        study: "Study",  # noqa: ARG002
        trial: "FrozenTrial",  # noqa: ARG002
        search_space: dict[str, "BaseDistribution"],  # noqa: ARG002
    ) -> dict[str, Any]:
        """Nothing: choices are handed out one by one."""
        return {}

    def _propose(
        self, parents: list[Architecture], finished: int, seen: set[Architecture]
    ) -> Architecture:
        space, rng = self._problem.space, self._rng
        proposal = space.sample(rng)
        for _ in range(TRIES):
            if finished >= FIRST and parents:
                first, second = (parents[int(rng.integers(len(parents)))] for _ in range(2))
                proposal = space.crossover(first, second, rng)
                if proposal in seen or rng.random() < 0.5:
                    near = list(space.neighbours(proposal))
                    proposal = near[int(rng.integers(len(near)))] if near else proposal
            else:
                proposal = space.sample(rng)
            if proposal not in seen and self._problem.keeps_budget(proposal):
                return proposal
        return proposal  # the driver turns it down and finds another itself


def _front(by_loss: "list[FrozenTrial]") -> "list[FrozenTrial]":
    """Of trials in the order of their loss, those faster than all before them."""
    found: list[FrozenTrial] = []
    for trial in by_loss:
        if not found or trial.values[1] < found[-1].values[1]:
            found.append(trial)
    return found
