"""Joint samplers as Optuna's users may use them, and what the conformance suites find."""

import copy
from functools import partial
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, PartialFixedSampler
from optuna.trial import FrozenTrial

from nas.problem.problem import Problem
from nas.strategies import Strategy, cost_aware, exact
from nas.testing import JointStrategyConformance, StrategyConformance
from nas.testing.problems import PROBLEMS
from nas.testing.strategies import decided, objective, plain_study
from search_spaces import InputError

OURS = pytest.mark.parametrize("strategy", [cost_aware, exact])


class Forgetful(BaseSampler):
    """Decides before the trial begins, and knows one trial at a time."""

    def __init__(self, problem: Problem) -> None:
        self.space = problem.space
        self.proposed: dict[int, Any] = {}

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self.proposed = {trial.number: next(self.space.enumerate())}

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self.proposed[trial.number][param_name]


def test_the_suites_find_what_forgets_open_trials_and_what_repeats_itself() -> None:
    class Suite(StrategyConformance, JointStrategyConformance):
        strategy = Forgetful

    with pytest.raises(KeyError):
        Suite().test_optuna_may_ask_for_several_at_once("plain")
    with pytest.raises(KeyError):
        Suite().test_choices_are_decided_in_turns()
    with pytest.raises(AssertionError):
        Suite().test_threads_get_different_ones()


@OURS
def test_a_study_of_other_objectives_is_refused(strategy: Strategy) -> None:
    for wrong in (["minimize"], ["minimize", "maximize"]):
        study = optuna.create_study(directions=wrong, sampler=strategy(PROBLEMS["plain"]))
        with pytest.raises(InputError, match=r"loss \(minimize\), latency_ms \(minimize\)"):
            study.ask()


@OURS
def test_parameters_beside_the_space_are_drawn_and_teach_nothing(strategy: Strategy) -> None:
    problem = PROBLEMS["conditional"]

    def with_a_rate(trial: optuna.Trial) -> tuple[float, ...]:
        assert 0 <= trial.suggest_float("rate", 0, 1) <= 1
        return objective(problem, trial)

    study = plain_study(problem, strategy)
    study.optimize(with_a_rate, 16, catch=RuntimeError)
    params = [dict(trial.params) for trial in study.trials]
    assert len({each.pop("rate") for each in params}) == 16
    assert len({problem.space.architecture(each) for each in params}) == 16


@OURS
def test_values_without_end_and_trials_without_parameters_stop_nothing(strategy: Strategy) -> None:
    problem = PROBLEMS["conditional"]
    study = plain_study(problem, strategy)
    for number in range(24):
        trial = study.ask()
        if number % 5 == 1:
            study.tell(trial, [1.0, 2.0])  # nothing was suggested
            continue
        problem.space.suggest(trial)
        study.tell(trial, [float("inf") if number % 5 == 2 else number, 1.0])


@OURS
def test_some_choices_may_be_held(strategy: Strategy) -> None:
    problem = PROBLEMS["conditional"]
    held = PartialFixedSampler({"s0": "attention"}, strategy(problem))
    study = plain_study(problem, lambda _: held)
    study.optimize(partial(objective, problem), 18, catch=RuntimeError)
    assert {each["s0"] for each in decided(problem, study)} == {"attention"}


@OURS
def test_hyperband_shows_a_part_of_the_trials(strategy: Strategy) -> None:
    problem = PROBLEMS["no cost"]
    study = optuna.create_study(
        sampler=strategy(problem), pruner=optuna.pruners.HyperbandPruner(1, 9)
    )

    def pruned(trial: optuna.Trial) -> float:
        (value,) = objective(problem, trial)
        trial.report(value, 1)
        if trial.should_prune():
            raise optuna.TrialPruned
        return value

    study.optimize(pruned, 24, catch=RuntimeError)
    assert len(decided(problem, study)) == 24


@OURS
def test_a_sampler_serves_a_second_study(strategy: Strategy) -> None:
    problem = PROBLEMS["budget"]
    sampler = strategy(problem)
    for _ in range(2):
        study = optuna.create_study(directions=["minimize"] * 2, sampler=sampler)
        study.optimize(partial(objective, problem), 14, catch=RuntimeError)
        assert len(set(decided(problem, study))) == 14


@OURS
def test_a_copy_goes_on_as_the_original(strategy: Strategy) -> None:
    """Optuna's users keep samplers between sessions."""
    problem = PROBLEMS["conditional"]
    found = []
    study = plain_study(problem, strategy)
    study.optimize(partial(objective, problem), 9, catch=RuntimeError)
    for sampler in (copy.deepcopy(study.sampler), study.sampler):
        goes_on = optuna.create_study(
            study_name="plain", directions=study.directions, sampler=sampler
        )
        goes_on.add_trials(study.trials)
        goes_on.optimize(partial(objective, problem), 12, catch=RuntimeError)
        found.append(decided(problem, goes_on))
    assert found[0] == found[1]


def test_several_processes_draw_differently() -> None:
    problem = PROBLEMS["conditional"]
    found = []
    for _ in range(2):
        sampler = cost_aware(problem)
        sampler.reseed_rng()
        study = plain_study(problem, lambda _, each=sampler: each)  # type: ignore[misc]
        study.optimize(partial(objective, problem), 8, catch=RuntimeError)
        found.append(decided(problem, study))
    assert found[0] != found[1]
