"""A sampler that decides a whole architecture before its trial begins."""

from abc import abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from nas.problem.problem import Matrix, Problem
from search_spaces import Architecture
from search_spaces.space.integer_encoding import Coder, Codes

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial


class WholeArchitectures(BaseSampler):
    """Reads a study as codes and values, and hands a proposal out choice by choice.

    What derives from it says in `propose` what comes next.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.coder = Coder(problem.space)
        self.rng = np.random.default_rng(problem.seed)
        self._open: list[int] = []  # trials that were running when they were last looked at
        self._read = 0
        self._codes: list[Codes] = []
        self._values: list[list[float]] = []
        self._proposals: dict[int, Architecture] = {}
        self._next: deque[Architecture] = deque()

    @abstractmethod
    def propose(self, codes: Codes, values: Matrix, pending: Codes) -> list[Architecture]:
        """The next architectures, the best first; none where nothing new is found.

        Args:
            codes: (n, choices) of what was evaluated inside the budgets.
            values: (n, objectives) of it, less is better.
            pending: (m, choices) of what is being evaluated.
        """

    def reseed_rng(self) -> None:
        """A new random state, as Optuna asks of samplers that run in parallel."""
        self.rng = np.random.default_rng()

    def before_trial(self, study: "Study", trial: "FrozenTrial") -> None:
        """Decide the trial's architecture."""
        pending = self._update(study, trial.number)
        if not self._next:
            codes = np.array(self._codes).reshape(-1, len(self.coder.choices))
            values = np.array(self._values).reshape(-1, len(self.problem.objectives))
            self._next.extend(self.propose(codes, values * self.problem.signs, pending))
        # Where nothing was found the driver turns this down, and looks further by itself.
        drawn = self._next.popleft() if self._next else self.problem.space.sample(self.rng)
        self._proposals = {trial.number: drawn}

    def sample_independent(
        self,
        study: "Study",
        trial: "FrozenTrial",
        param_name: str,
        param_distribution: "BaseDistribution",
    ) -> Any:
        """The proposal's option of a choice."""
        return self._proposals[trial.number][param_name]

    def infer_relative_search_space(
        self, study: "Study", trial: "FrozenTrial"
    ) -> dict[str, "BaseDistribution"]:
        """Nothing: choices are handed out one by one."""
        return {}

    def sample_relative(
        self, study: "Study", trial: "FrozenTrial", search_space: dict[str, "BaseDistribution"]
    ) -> dict[str, Any]:
        """Nothing: choices are handed out one by one."""
        return {}

    def _update(self, study: "Study", current: int) -> Codes:
        """Take in what has finished since; codes of what is being evaluated come back."""
        trials = study.get_trials(deepcopy=False)
        still, running = [], []
        for number in [*self._open, *range(self._read, len(trials))]:
            trial = trials[number]
            if not trial.state.is_finished():
                still.append(number)
                if number != current and trial.params:
                    running.append(self._row(trial))
            elif trial.state == TrialState.COMPLETE and _is_inside(trial):
                self._codes.append(self._row(trial))
                self._values.append(list(trial.values))
        self._open, self._read = still, len(trials)
        return np.array(running).reshape(-1, len(self.coder.choices))

    def _row(self, trial: "FrozenTrial") -> Codes:
        row: Codes = self.coder.codes([self.problem.space.architecture(trial.params)])[0]
        return row


def _is_inside(trial: "FrozenTrial") -> bool:
    return all(excess <= 0 for excess in trial.constraints.values())
