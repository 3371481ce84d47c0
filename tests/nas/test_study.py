"""The study: nothing twice, nothing over the budget, nothing lost."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from latency import Device
from nas.costs.block_costs import BlockCosts
from nas.costs.limits import Budget, Limits
from nas.costs.resolve import resolve
from nas.costs.workloads import SpaceCosts
from nas.evaluators.serial import Serial
from nas.problem.problem import Matrix, Objective, Problem, Vector
from nas.run.results import found, front, winner
from nas.strategies import STRATEGIES, load_strategy, nsga2, random, tpe
from nas.study.evaluations import Evaluated
from nas.study.record import ATTEMPTS, Record
from nas.study.storage import sqlite
from nas.study.study import Study
from search_spaces import (
    CONV1D,
    CONV3D,
    NONE,
    SELF_ATTENTION_1D,
    Architecture,
    Choice,
    Condition,
    InputError,
    NumericChoice,
    SearchSpace,
    temporal_space,
)
from search_spaces.shipped.moving_digits import UNET

SPACE = SearchSpace(
    "letters",
    (
        *(Choice(f"c{index}", ("a", "b", "c", "d")) for index in range(6)),
        Choice("size", (1, 2, 3), Condition("c0", ("b", "d"))),
        NumericChoice("rate", 0.0, 1.0),
    ),
)


def sums(architectures: Sequence[Architecture]) -> Vector:
    return np.array([sum("abcd".index(str(a[f"c{i}"])) for i in range(6)) for a in architectures])


def known(architectures: Sequence[Architecture]) -> Matrix:
    return sums(architectures)[:, None]


def over(architectures: Sequence[Architecture]) -> dict[str, Vector]:
    return {"cost_ms": sums(architectures) - 9.0}


LETTERS = Problem(
    SPACE, (Objective("accuracy_pct", maximize=True), Objective("cost_ms", known=True)), known, over
)


def accuracy_pct(architecture: Architecture) -> float:
    return 50.0 + float(sums([architecture])[0]) - 10 * abs(float(architecture["rate"]) - 0.3)


class Quality:
    """A loss that more convolutions lower, and the record of what was asked."""

    def __init__(self, die_at: int = 10**9) -> None:
        self.asked: list[Architecture] = []
        self._die_at = die_at

    def __call__(self, architecture: Architecture) -> float:
        if len(self.asked) == self._die_at:
            raise KeyboardInterrupt
        self.asked.append(architecture)
        weights = {"none": 0.0, "conv1d": 3.0, "conv3d": 4.0, "self_attention1d": 1.0}
        operators = [option for name, option in architecture.items() if "." not in name]
        return 100.0 - sum(weights.get(str(operator), 2.0) for operator in operators)


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_evaluates_each_network_once_and_inside_the_budget(
    name: str, tmp_path: Path, limits: Limits
) -> None:
    quality = Quality()
    problem = limits.problem()
    url = sqlite(tmp_path / "s.db")
    study = Study(problem, load_strategy(name), Record(url, "s", problem))
    evaluated = study.run(16, Serial(quality))
    assert len(evaluated) == len(quality.asked) == len(set(quality.asked)) == 16
    assert all(limits.keeps(each.architecture) for each in evaluated)
    networks = found(evaluated, problem, limits)
    assert winner(networks).loss == min(each.values[0] for each in evaluated)
    stored = optuna.load_study(study_name="s", storage=url)
    assert [d.name for d in stored.directions] == ["MINIMIZE", "MINIMIZE"]
    assert stored.metric_names == ["validation_loss", "latency_ms"]
    assert [t.number for t in stored.trials] == list(range(16)), "one trial an evaluation"
    for trial, each in zip(stored.trials, evaluated, strict=True):
        assert trial.state == TrialState.COMPLETE
        assert trial.constraints["latency_ms"] <= 0
        assert (trial.number, tuple(trial.values)) == (each.trial, each.values)
        assert problem.space.architecture(trial.params) == each.architecture


@pytest.mark.slow
def test_cost_aware_beats_random_picks(limits: Limits) -> None:
    best = {}
    for name in ("random", "cost-aware"):
        losses = []
        for seed in range(2):
            study = Study(limits.problem(seed=seed), load_strategy(name))
            losses.append(min(each.values[0] for each in study.run(36, Serial(Quality()))))
        best[name] = sum(losses) / len(losses)
    assert best["cost-aware"] < best["random"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cost-aware", "tpe", "nsga2"])
def test_an_interrupted_study_goes_on(name: str, tmp_path: Path, limits: Limits) -> None:
    problem, strategy, url = limits.problem(), load_strategy(name), sqlite(tmp_path / "s.db")

    def study() -> Study:
        return Study(problem, strategy, Record(url, "s", problem))

    with pytest.raises(KeyboardInterrupt):
        study().run(14, Serial(Quality(die_at=9)))
    before = study().finished()
    assert len(before) == 9
    quality = Quality()
    after = study().run(14, Serial(quality))
    assert after[:9] == before
    assert len(after) == len({each.architecture for each in after}) == 14
    assert not {each.architecture for each in before} & set(quality.asked)
    (lost,) = (t for t in optuna.load_study(study_name="s", storage=url).trials if not t.values)
    assert lost.user_attrs["attempt"] == 1
    assert quality.asked[0] == problem.space.architecture(lost.params)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [random, tpe, nsga2])
def test_maximised_objectives_numbers_and_conditions(strategy: object, tmp_path: Path) -> None:
    record = Record(sqlite(tmp_path / "s.db"), "s", LETTERS)
    evaluated = Study(LETTERS, strategy, record).run(60, Serial(accuracy_pct))  # type: ignore[arg-type]
    assert len({each.architecture for each in evaluated}) == 60
    assert all(each.values == (accuracy_pct(each.architecture), c) for each, c in zip(
        evaluated, sums([e.architecture for e in evaluated]), strict=True
    ))  # fmt: skip
    assert max(each.values[1] for each in evaluated) <= 9
    again = Study(LETTERS, random, Record(sqlite(tmp_path / "s.db"), "s", LETTERS))
    assert again.finished() == evaluated


def test_an_exhausted_space_ends_the_search(device: Device) -> None:
    operators = (NONE, CONV1D, CONV3D, SELF_ATTENTION_1D)
    costs = BlockCosts(SpaceCosts(temporal_space("listable", UNET, operators)), device)
    only_mid = [
        costs.space.architecture({s.name: "none" for s in costs.space.slots} | {"mid": each.name})
        for each in operators[1:]
    ]
    one_block_ms = min(costs.per_slot_ms(a)["mid"] for a in only_mid)
    tight = resolve(Budget(str(4 * (costs.image_ms + 1.5 * one_block_ms))), costs)
    feasible = {a for a in costs.space.enumerate() if tight.keeps(a)}
    assert 1 < len(feasible) < 60
    study = Study(tight.problem(), random)
    assert {each.architecture for each in study.run(500, Serial(Quality()))} == feasible
    assert study.ended == "found no other architecture inside the budgets"


def test_a_budget_that_almost_nothing_keeps_is_kept() -> None:
    tight = replace(LETTERS, violations=lambda a: {"cost_ms": sums(a) - 1.0})  # 7 of 4096 corners
    evaluated = Study(tight, random).run(40, Serial(accuracy_pct))
    assert len({each.architecture for each in evaluated}) == 40
    assert max(each.values[1] for each in evaluated) <= 1


@pytest.mark.parametrize("strategy", [random, nsga2])
def test_a_table_that_holds_few_architectures(strategy: object) -> None:
    rng = np.random.default_rng(0)
    listed = tuple({SPACE.sample(rng) for _ in range(300)})
    inside = {a for a, keep in zip(listed, LETTERS.keeps(listed), strict=True) if keep}
    problem = replace(LETTERS, listed=listed)
    some = Study(problem, strategy).run(50, Serial(accuracy_pct))  # type: ignore[arg-type]
    assert len(some) == 50
    assert {each.architecture for each in some} <= inside
    study = Study(problem, strategy)  # type: ignore[arg-type]
    assert {each.architecture for each in study.run(1000, Serial(accuracy_pct))} == inside
    assert study.ended


def test_samplers_learn_where_the_budget_is() -> None:
    """Over the budget costs no evaluation, and is told with its excess."""
    seen: list[optuna.trial.FrozenTrial] = []

    class Watching(optuna.samplers.RandomSampler):
        def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            seen[:] = study.get_trials(deepcopy=False)

    asked: list[Architecture] = []

    def counted(architecture: Architecture) -> float:
        asked.append(architecture)
        return accuracy_pct(architecture)

    Study(LETTERS, lambda problem: Watching(problem.seed)).run(30, Serial(counted))
    refused = [t for t in seen if any(c > 0 for c in t.constraints.values()) and t.values]
    assert refused
    assert len(asked) == 30
    for trial in refused:
        assert SPACE.architecture(trial.params) not in asked
        assert trial.constraints["cost_ms"] == trial.values[1] - 9
        assert trial.values[0] <= max(accuracy_pct(a) for a in asked)


class Flaky:
    """Fails the first so many times that it is asked of each architecture."""

    def __init__(self, failures: int, result: float | None = None) -> None:
        self.tried: dict[Architecture, int] = {}
        self._failures, self._result = failures, result

    def __call__(self, architecture: Architecture) -> float:
        tried = self.tried[architecture] = self.tried.get(architecture, 0) + 1
        if tried <= self._failures:
            if self._result is None:
                raise RuntimeError("the moon\nwas full")
            return self._result
        return accuracy_pct(architecture)


@pytest.mark.parametrize("result", [None, float("nan"), float("inf")])
def test_what_fails_at_first_is_tried_again(tmp_path: Path, result: float | None) -> None:
    url = sqlite(tmp_path / "s.db")
    quality = Flaky(ATTEMPTS - 1, result)
    evaluated = Study(LETTERS, random, Record(url, "s", LETTERS)).run(5, Serial(quality))
    assert [quality.tried[each.architecture] for each in evaluated] == [ATTEMPTS] * 5
    trials = optuna.load_study(study_name="s", storage=url).trials
    failed = [t for t in trials if t.state == TrialState.FAIL]
    assert len(failed) == 5 * (ATTEMPTS - 1)
    expected = "RuntimeError: the moon was full" if result is None else f"accuracy_pct is {result}"
    assert {t.user_attrs["reason"] for t in failed} == {expected}
    assert [t.user_attrs["attempt"] for t in trials] == list(range(1, ATTEMPTS + 1)) * 5


@pytest.mark.slow
def test_one_that_always_fails_is_given_up_and_the_search_goes_on(tmp_path: Path) -> None:
    url = sqlite(tmp_path / "s.db")
    tried: list[Architecture] = []

    def quality(architecture: Architecture) -> float:
        tried.append(architecture)
        return float("nan") if architecture["c1"] == "a" else accuracy_pct(architecture)

    evaluated = Study(LETTERS, random, Record(url, "s", LETTERS)).run(30, Serial(quality))
    assert len(evaluated) == 30
    hopeless = {a for a in tried if a["c1"] == "a"}
    assert hopeless
    assert all(tried.count(a) == ATTEMPTS for a in hopeless)
    tried.clear()
    more = Study(LETTERS, random, Record(url, "s", LETTERS)).run(40, Serial(quality))
    assert len(more) == 40
    assert not hopeless & set(tried), "what was given up stays so"


@pytest.mark.parametrize(
    ("result", "error"), [(None, InputError), (float("nan"), FloatingPointError)]
)
def test_where_all_fail_the_search_stops(
    tmp_path: Path, result: float | None, error: type[Exception]
) -> None:
    record = Record(sqlite(tmp_path / "s.db"), "s", LETTERS)
    quality = Flaky(10**9, result)
    with pytest.raises(error, match="3 architectures in a row could not be evaluated") as caught:
        Study(LETTERS, random, record).run(30, Serial(quality))
    assert "\n" not in str(caught.value)
    assert len(quality.tried) == 3
    assert Study(LETTERS, random, Record(sqlite(tmp_path / "s.db"), "s", LETTERS)).finished() == []


def test_a_resumed_study_draws_other_architectures(tmp_path: Path) -> None:
    url = sqlite(tmp_path / "s.db")
    quality = Quality()
    problem = replace(LETTERS, violations=lambda _: {})
    seen: list[Architecture] = []

    def noting(architecture: Architecture) -> float:
        seen.append(architecture)
        return quality(architecture)

    for trials in (10, 20, 30):
        Study(problem, random, Record(url, "s", problem)).run(trials, Serial(noting))
    assert len(set(seen)) == len(seen) == 30
    once = Study(problem, random).run(30, Serial(quality))
    assert [each.architecture for each in once][:10] == seen[:10]


def test_the_front_is_what_nothing_beats(limits: Limits) -> None:
    problem = limits.problem(("validation_loss", "latency_ms", "parameters_count"))
    evaluated = found(Study(problem, random).run(30, Serial(Quality())), problem, limits)
    best = front(evaluated, problem)
    for each in evaluated:
        beaten = any(
            o.values != each.values and (np.array(o.values) <= np.array(each.values)).all()
            for o in evaluated
        )
        assert beaten or any(o.values == each.values for o in best)
        assert not (beaten and each in best)
    assert [f.latency_ms for f in best] == sorted(f.latency_ms for f in best)


def test_a_strategy_of_ones_own(
    tmp_path: Path, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_sampler.py").write_text(
        "from optuna.samplers import RandomSampler\n"
        "def reversed_random(problem):\n"
        "    return RandomSampler(seed=problem.seed + 1)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    strategy = load_strategy("own_sampler:reversed_random")
    assert isinstance(strategy(limits.problem()), BaseSampler)
    assert len(Study(limits.problem(), strategy).run(4, Serial(Quality()))) == 4
    with pytest.raises(InputError, match="unknown strategy 'genetic'"):
        load_strategy("genetic")


def test_trials_are_counted_without_a_record() -> None:
    evaluated = Study(LETTERS, random).run(3, Serial(accuracy_pct))
    assert [each.trial for each in evaluated] == [0, 1, 2]
    assert isinstance(evaluated[0], Evaluated)
