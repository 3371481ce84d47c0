"""Observations: the trials of an Optuna study as rows of codes, read as they finish."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.trial import TrialState

from nas.problem.parameters import Parameters
from nas.problem.problem import Matrix, Problem
from search_spaces import Architecture, InputError
from search_spaces.space.integer_encoding import Codes, IntegerEncoder

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

FIXED = "fixed_params"  # where Optuna keeps what `Study.enqueue_trial` was given


@dataclass(frozen=True)
class Observations:
    """What a study holds.

    Args:
        codes: (n, choices) of what was evaluated inside the budgets.
        values: (n, objectives) of it, less is better.
        pending: (m, choices) of what is being evaluated, or enqueued.
        avoided: (k, choices) of what failed, was pruned or passes a budget: nothing is learnt of
            it, and it is not worth another trial.
    """

    codes: Codes
    values: Matrix
    pending: Codes
    avoided: Codes


class StudyReader:
    """Reads one study.

    Attributes:
        proposals: the architectures of trials that run, by number, as they were proposed: their
            parameters come one by one.
        known: every architecture that finished, or was being evaluated when it was last read.
    """

    def __init__(self, problem: Problem, coder: IntegerEncoder, parameters: Parameters) -> None:
        self.proposals: dict[int, Architecture] = {}
        self.known: set[Architecture] = set()
        self._problem = problem
        self._coder = coder
        self._parameters = parameters
        self._finished: set[int] = set()
        self._begin = 0  # of the trials, in their order, all before have finished and were read
        self._codes = self._rows([])
        self._values = np.empty((0, len(problem.objectives)))
        self._avoided = self._rows([])

    def read(self, study: "Study", current: int) -> Observations:
        """Take in what has finished since; `current` is the trial that asks."""
        pending: list[Architecture] = []
        evaluated: list[Architecture] = []
        values: list[list[float]] = []
        avoided: list[Architecture] = []
        trials = study.get_trials(deepcopy=False)[self._begin :]
        for trial in trials:
            if trial.number in self._finished or trial.number == current:
                continue
            architecture = self._architecture(trial)
            if trial.state.is_finished():
                self._finished.add(trial.number)
                self.proposals.pop(trial.number, None)
            if architecture is None:
                continue
            self.known.add(architecture)
            if not trial.state.is_finished():
                pending.append(architecture)
            elif self._teaches(trial, architecture):
                evaluated.append(architecture)
                values.append(list(trial.values))
            else:
                avoided.append(architecture)
        self._codes = np.concatenate([self._codes, self._rows(evaluated)])
        self._avoided = np.concatenate([self._avoided, self._rows(avoided)])
        if values:
            self._values = np.concatenate([self._values, np.array(values) * self._problem.signs])
        self._begin += sum(1 for _ in takewhile(lambda t: t.number in self._finished, trials))
        return Observations(self._codes, self._values, self._rows(pending), self._avoided)

    def _rows(self, architectures: list[Architecture]) -> Codes:
        return self._coder.codes(architectures)

    def _teaches(self, trial: "FrozenTrial", architecture: Architecture) -> bool:
        """Whether a trial has values, and is inside the budgets and the study's constraints."""
        complete = trial.state == TrialState.COMPLETE and all(map(math.isfinite, trial.values))
        complete = complete and all(over <= 0 for over in trial.constraints.values())
        return complete and bool(self._problem.keeps([architecture])[0])

    def _architecture(self, trial: "FrozenTrial") -> Architecture | None:
        """What a trial decides, or will decide; None where that is not known."""
        values = {**_fixed(trial.system_attrs), **trial.params}
        try:
            decided = self._parameters.options(values)
            return self._problem.space.architecture(
                {**self.proposals.get(trial.number, {}), **decided}
            )
        except (InputError, TypeError, ValueError, OverflowError):
            return None  # a value that is none of its parameter's


def _fixed(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return dict(attributes.get(FIXED) or {})
