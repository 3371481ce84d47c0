"""Strategies as plain Optuna samplers of anybody's study, and tables as anybody's objective."""

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial, TrialState

from nas.benchmark import OptunaProblem, of_table
from nas.strategies import STRATEGIES, cost_aware, random, sampler
from search_spaces import InputError

optuna.logging.set_verbosity(optuna.logging.WARNING)
SPACE: dict[str, BaseDistribution] = {
    "block": CategoricalDistribution(["conv", "attention", None]),
    "bias": CategoricalDistribution([True, False]),
    "width": IntDistribution(16, 512, step=16),
    "heads": IntDistribution(1, 4),
    "depth": IntDistribution(1, 100, log=True),
    "ratio": FloatDistribution(0.5, 4, step=0.25),
    "dropout": FloatDistribution(0, 0.5),
    "rate": FloatDistribution(1e-5, 1e-1, log=True),
    "kernel": IntDistribution(3, 3),
}
Params = dict[str, Any]


def suggested(trial: Trial) -> Params:
    """As people write it."""
    return {
        "block": trial.suggest_categorical("block", ["conv", "attention", None]),
        "bias": trial.suggest_categorical("bias", [True, False]),
        "width": trial.suggest_int("width", 16, 512, step=16),
        "heads": trial.suggest_int("heads", 1, 4),
        "depth": trial.suggest_int("depth", 1, 100, log=True),
        "ratio": trial.suggest_float("ratio", 0.5, 4, step=0.25),
        "dropout": trial.suggest_float("dropout", 0, 0.5),
        "rate": trial.suggest_float("rate", 1e-5, 1e-1, log=True),
        "kernel": trial.suggest_int("kernel", 3, 3),
    }


def size(params: Params) -> float:
    return float(params["width"] * params["depth"])


def error(params: Params) -> float:
    """Best at attention, and at a rate of 1e-3."""
    wrong = {"attention": 0.0, "conv": 0.3, None: 1.0}[params["block"]]
    return float(wrong + abs(np.log10(params["rate"]) + 3) + 200 / params["width"])


def both(trial: Trial) -> tuple[float, float]:
    params = suggested(trial)
    return error(params), size(params)


@pytest.mark.parametrize("name", [n for n in STRATEGIES if n not in {"gp", "exact"}])
def test_any_strategy_samples_anybodys_study(name: str) -> None:
    ways = ["minimize", "minimize"]
    found = sampler(name, SPACE, ways, known={1: size}, seed=3)
    study = optuna.create_study(sampler=found, directions=ways)
    study.enqueue_trial({"block": None, "rate": 1e-2})
    study.optimize(both, n_trials=16)
    assert len(study.trials) == 16
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)
    assert study.trials[0].params["rate"] == 1e-2
    pickle.loads(pickle.dumps(found))  # noqa: S301 - as Optuna tells people to keep samplers


@pytest.mark.slow
def test_it_finds_more_than_chance_does() -> None:
    """Of one objective of which nothing is known: after 40 trials, over three seeds."""
    found = {}
    for name in ("cost-aware", "random"):
        best = []
        for seed in range(3):
            study = optuna.create_study(sampler=sampler(name, SPACE, seed=seed))
            study.optimize(lambda trial: error(suggested(trial)), n_trials=40)
            best.append(study.best_value)
        found[name] = np.mean(best)
    assert found["cost-aware"] < 0.8 * found["random"]


def test_more_may_be_better_and_known() -> None:
    ways = ["maximize", optuna.study.StudyDirection.MINIMIZE]
    found = sampler(cost_aware, SPACE, ways, known={1: size})
    study = optuna.create_study(sampler=found, directions=ways)
    study.optimize(lambda t: (-error(suggested(t)), size(t.params)), n_trials=15)
    assert found.problem.objectives[0].maximize  # type: ignore[attr-defined]
    other = optuna.create_study(sampler=found, directions=["minimize", "minimize"])
    with pytest.raises(InputError, match="create the study with directions for these"):
        other.optimize(both, n_trials=1)


def test_what_breaks_a_constraint_teaches_nothing() -> None:
    found = sampler("cost-aware", SPACE)
    study = optuna.create_study(sampler=found)

    def objective(trial: Trial) -> float:
        params = suggested(trial)
        trial.set_constraint("wide", 100.0 - params["width"])
        return error(params)

    study.optimize(objective, n_trials=14)
    within = [trial for trial in study.trials if trial.params["width"] >= 100]
    seen = found._reader.read(study, -1)  # type: ignore[attr-defined]
    assert (len(seen.codes), len(seen.avoided)) == (len(within), 14 - len(within))


def test_bad_input_says_what_to_do() -> None:
    with pytest.raises(InputError, match="direction 'up' is neither minimize nor maximize"):
        sampler("random", SPACE, ["up"])
    with pytest.raises(InputError, match="`known=2`: there are 2 objectives, counted from 0"):
        sampler("random", SPACE, ["minimize", "minimize"], known={2: size})
    with pytest.raises(InputError, match="nothing to search"):
        sampler("random", SPACE, ["minimize"], known={0: size})
    with pytest.raises(InputError, match="strategy"):
        sampler("best", SPACE)
    with pytest.raises(InputError, match="parameter 'x' has a Odd; strategies know categorical"):
        sampler("random", {"x": Odd()})


class Odd(BaseDistribution):
    def to_internal_repr(self, param_value_in_external_repr: Any) -> float:
        raise NotImplementedError

    def single(self) -> bool:
        raise NotImplementedError

    def _contains(self, param_value_in_internal_repr: float) -> bool:
        raise NotImplementedError


TABLE = "edge,width,error_pct,latency_ms,accuracy_pct\n" + "".join(
    f"{edge},{width},{9 - width / 8 - at},{width * (1 + at)},{50 + width - at}\n"
    for at, edge in enumerate("abcd")
    for width in (8, 16, 24)
    if (edge, width) != ("d", 24)
)


def problem_of(folder: Path, **more: Any) -> OptunaProblem:
    (folder / "t.csv").write_text(TABLE)
    columns = ["error_pct", "accuracy_pct:max"]
    return OptunaProblem(of_table(folder / "t.csv", columns, **more))


def test_a_table_is_an_objective_for_any_sampler(tmp_path: Path) -> None:
    problem = problem_of(tmp_path)
    assert [way.name for way in problem.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert problem.evaluate({"edge": "a", "width": 16}) == (7.0, 66.0)
    samplers = {
        "tpe": optuna.samplers.TPESampler(seed=0),
        "ours": sampler("cost-aware", problem.search_space, problem.directions),
        "told": random(problem.benchmark.problem(0)),
    }
    for each in samplers.values():
        study = optuna.create_study(sampler=each, directions=problem.directions)
        study.optimize(problem, n_trials=14)
        for trial in study.trials:
            if trial.state == TrialState.PRUNED:  # which the table lacks
                assert trial.params == {"edge": "d", "width": 24}
            else:
                assert tuple(trial.values) == problem.evaluate(trial.params)
    with pytest.raises(InputError, match="holds no row for"):
        problem.evaluate({"edge": "d", "width": 24})


def test_budgets_of_a_table_are_constraints(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, at_most={"latency_ms": 30})
    assert problem.evaluate_constraints({"edge": "b", "width": 24}) == {"latency_ms": 18}
    study = optuna.create_study(
        sampler=optuna.samplers.RandomSampler(seed=0), directions=problem.directions
    )
    study.optimize(problem, n_trials=20)
    done = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert all(t.constraints == problem.evaluate_constraints(t.params) for t in done)
    assert all(t.constraints["latency_ms"] <= 0 for t in study.best_trials)


def test_optunahub_takes_ours_and_runs_theirs(tmp_path: Path) -> None:
    """A problem of OptunaHub's own class, and ours in its place."""
    hub = pytest.importorskip("optunahub")

    class Sphere(hub.benchmarks.BaseProblem):  # type: ignore[misc, name-defined]
        @property
        def search_space(self) -> dict[str, BaseDistribution]:
            return {f"x{i}": FloatDistribution(-5, 5) for i in range(2)}

        @property
        def directions(self) -> list[optuna.study.StudyDirection]:
            return [optuna.study.StudyDirection.MINIMIZE]

        def evaluate(self, params: Params) -> float:
            return float(sum(x**2 for x in params.values()))

        def evaluate_constraints(self, params: Params) -> dict[str, float]:
            return {"right": -params["x0"]}

    theirs, ours = Sphere(), problem_of(tmp_path)
    found = sampler("cost-aware", theirs.search_space, theirs.directions)
    study = optuna.create_study(sampler=found, directions=theirs.directions)
    study.optimize(theirs, n_trials=40)
    assert study.best_value < 1
    hub.benchmarks.BaseProblem.register(OptunaProblem)
    assert isinstance(ours, hub.benchmarks.BaseProblem)
    asked = set(dir(hub.benchmarks.BaseProblem)) - {"constraints_func", "register"}
    assert {name for name in asked if not name.startswith("_")} <= set(dir(ours))
    call = partial(hub.benchmarks.BaseProblem.__call__, ours)  # as the class itself would call it
    study = optuna.create_study(directions=ours.directions)
    study.optimize(call, n_trials=5, catch=InputError)
