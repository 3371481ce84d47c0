"""What a strategy must do that decides whole architectures and knows which others are pending.

class TestMyStrategy(StrategyConformance, JointStrategyConformance):
    strategy = my_strategy
"""

from functools import partial
from pathlib import Path
from typing import ClassVar

import optuna
import pytest
from optuna.distributions import BaseDistribution, IntDistribution

from nas.problem.problem import Problem
from nas.strategies import Strategy, sampler
from nas.strategies.joint import JointSampler
from nas.study.storage import sqlite
from nas.testing.problems import PROBLEMS
from nas.testing.strategies import AT_ONCE, asked_at_once, decided, objective, plain_study
from search_spaces import Architecture


class JointStrategyConformance:
    """Inherit, and set `strategy`: in a plain Optuna study nothing is proposed that is no use."""

    strategy: ClassVar[Strategy]
    trials: ClassVar[int] = 28

    @pytest.mark.parametrize(
        "kind", ["conditional", "numeric", "budget", "cell", "listed", "no cost"]
    )
    def test_several_at_once_differ_and_keep_the_budgets(self, kind: str) -> None:
        problem = PROBLEMS[kind]
        study = plain_study(problem, type(self).strategy)
        check(problem, list(asked_at_once(problem, study, self.trials)))

    def test_threads_get_different_ones(self) -> None:
        problem = PROBLEMS["budget"]
        study = plain_study(problem, type(self).strategy)
        study.optimize(partial(objective, problem), self.trials, n_jobs=2, catch=RuntimeError)
        check(problem, decided(problem, study))

    def test_a_study_is_loaded_again_and_nothing_comes_twice(self, tmp_path: Path) -> None:
        problem, storage = PROBLEMS["budget"], sqlite(tmp_path / "study.db")
        for _ in range(2):
            study = plain_study(problem, type(self).strategy, storage)
            study.optimize(partial(objective, problem), 8, catch=RuntimeError)
            study.ask()  # and is left behind
        check(problem, _begun(problem, study))

    def test_what_is_enqueued_is_not_proposed_too(self) -> None:
        problem = PROBLEMS["budget"]
        first = plain_study(problem, type(self).strategy)
        first.optimize(partial(objective, problem), 9, catch=RuntimeError)
        study = plain_study(problem, type(self).strategy)  # it would propose the same
        for architecture in decided(problem, first)[5:]:
            study.enqueue_trial(dict(architecture))
        check(problem, [*asked_at_once(problem, study, self.trials)])

    @pytest.mark.parametrize("high", [30, 1000])
    def test_whole_numbers_on_a_logarithmic_scale_come_once(self, high: int) -> None:
        search_space: dict[str, BaseDistribution] = {"width": IntDistribution(1, high, log=True)}
        found = sampler(type(self).strategy, search_space)
        if not isinstance(found, JointSampler):
            pytest.skip("only a JointSampler decides the parameters of somebody else's study")
        study = optuna.create_study(sampler=found)
        for _ in range(self.trials // AT_ONCE):
            asked = [study.ask(search_space) for _ in range(AT_ONCE)]
            for trial in asked:
                study.tell(trial, abs(trial.params["width"] - 17))
        widths = [trial.params["width"] for trial in study.trials]
        assert len(set(widths)) == self.trials


def check(problem: Problem, found: list[Architecture]) -> None:
    """Assert that architectures differ, exist, and are inside every hard budget."""
    assert len(found) == len(set(found))
    assert problem.keeps(found).all()
    assert problem.listed is None or set(found) <= set(problem.listed)


def _begun(problem: Problem, study: optuna.Study) -> list[Architecture]:
    return [problem.space.architecture(trial.params) for trial in study.trials if trial.params]
