"""Scores of blocks and their best arrangements, against all architectures looked at one by one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from optuna.samplers import BaseSampler

import nas as nas_api
from latency import Device
from nas.costs.block_costs import BlockCosts
from nas.costs.limits import Budget
from nas.costs.resolve import resolve
from nas.costs.workloads import SpaceCosts
from nas.evaluators.serial import Serial
from nas.problem.problem import Matrix, Objective, Problem, Vector, unconstrained
from nas.strategies import Strategy, cost_aware, exact, random, warm_start
from nas.strategies.exact_sampler import Exact, spread
from nas.study.record import Record
from nas.study.storage import sqlite
from nas.study.study import Study
from search_spaces import Architecture, Choice, Condition, InputError, NumericChoice, SearchSpace

LETTERS = "abcd"
SPACE = SearchSpace(
    "letters",
    (
        *(Choice(f"c{index}", tuple(LETTERS)) for index in range(5)),
        Choice("size", (1, 2, 3), Condition("c0", ("b", "d"))),
    ),
)
ALL = list(SPACE.enumerate())
WORTH = np.random.default_rng(0).normal(size=(5, 4))
PRICE = np.random.default_rng(1).uniform(1, 5, size=(5, 4))


def _sums(table: Matrix, architectures: Sequence[Architecture]) -> Vector:
    return np.array(
        [
            sum(table[i, LETTERS.index(str(a[f"c{i}"]))] for i in range(5))
            + 0.3 * float(a.get("size", 0))
            for a in architectures
        ]
    )


def losses(architectures: Sequence[Architecture]) -> Vector:
    return _sums(WORTH, architectures)


def latencies_ms(architectures: Sequence[Architecture]) -> Matrix:
    return _sums(PRICE, architectures)[:, None]


def over(architectures: Sequence[Architecture]) -> dict[str, Vector]:
    return {"latency_ms": _sums(PRICE, architectures) - 16.0}


PROBLEM = Problem(
    SPACE,
    (Objective("validation_loss"), Objective("latency_ms", known=True)),
    latencies_ms,
    over,
    proxy=losses,
)


@pytest.mark.parametrize("seed", range(5))
def test_an_arrangement_is_the_best_of_all(seed: int) -> None:
    exact = Exact(replace(PROBLEM, violations=unconstrained))
    codes = exact.coder.codes(ALL)
    columns = exact._parts.columns(codes)
    assert np.array_equal(codes, [exact._parts.arranged(row) for row in columns])
    base, table = exact._cost_table
    costs = columns @ table[:, 0] + base[0]
    assert np.allclose(costs, latencies_ms(ALL)[:, 0])  # costs that add are found
    rng = np.random.default_rng(seed)
    drawn, share = rng.normal(size=columns.shape[1]), rng.uniform()
    inside = costs <= costs.min() + share * (costs.max() - costs.min()) + 1e-9
    best = columns[inside][np.argmin((columns @ drawn)[inside])]
    found = exact._arranged(drawn, share, codes[:0])
    assert np.array_equal(found, exact._parts.arranged(best))


def test_a_warm_start_is_the_best_of_all_under_each_budget() -> None:
    found = warm_start(PROBLEM, 8)
    inside = [a for a in ALL if PROBLEM.keeps([a])[0]]
    costs, quality = latencies_ms(inside)[:, 0], losses(inside)
    assert len(found) == len(set(found)) == 8
    assert PROBLEM.keeps(found).all()
    for architecture in found:
        cost, loss = latencies_ms([architecture])[0, 0], losses([architecture])[0]
        better = (costs <= cost) & (quality < loss - 1e-9)
        beaten_by_new = [inside[i] for i in np.flatnonzero(better) if inside[i] not in found]
        assert not beaten_by_new, f"{architecture} costs as much as a better one"


@pytest.mark.slow
def test_guesses_that_lie_are_outvoted_by_evaluations() -> None:
    problem = replace(PROBLEM, proxy=lambda found: -losses(found))
    study = Study(problem, exact)
    evaluated = study.run(60, Serial(lambda a: float(losses([a])[0])))
    best = min(losses([a])[0] for a in ALL if problem.keeps([a])[0])
    assert min(each.values[0] for each in evaluated) == pytest.approx(best)


def test_with_guesses_the_first_proposal_is_a_good_one() -> None:
    ranks = {}
    for name, problem in (("guessed", PROBLEM), ("unknown", replace(PROBLEM, proxy=None))):
        study = Study(problem, exact)
        first = study.run(5, Serial(lambda a: float(losses([a])[0])))
        fronted = [
            np.mean(
                [
                    losses([a])[0] < each.values[0] and latencies_ms([a])[0, 0] <= each.values[1]
                    for a in ALL[::3]
                ]
            )
            for each in first
        ]
        ranks[name] = float(np.mean(fronted))
    assert ranks["guessed"] < ranks["unknown"] / 2, ranks


@pytest.mark.slow
def test_a_study_begins_with_what_it_is_given(tmp_path: Path) -> None:
    given = warm_start(PROBLEM, 4)
    dear = next(a for a in ALL if not PROBLEM.keeps([a])[0])
    url = sqlite(tmp_path / "s.db")
    asked: list[Architecture] = []

    def quality(architecture: Architecture) -> float:
        asked.append(architecture)
        return float(losses([architecture])[0])

    for trials in (3, 8):
        record = Record(url, "s", PROBLEM)
        study = Study(PROBLEM, random, record)
        study.start_with([given[0], given[0], dear, *given[1:]])
        study.run(trials, Serial(quality))
        record.close()
    assert asked[:4] == given
    assert len(asked) == len(set(asked)) == 8


@pytest.mark.long
def test_a_search_starts_warm(
    tmp_path: Path,
    space_costs: SpaceCosts,
    device: Device,
    device_file: Path,
    supernet_file: Path,
) -> None:
    settings = nas_api.Settings(
        device=str(device_file), budget=Budget("80%"), supernet=str(supernet_file),
        strategy="random", warm_start=3, trials=6, validation_clips=8, test_clips=8, finalists=1,
        winner_steps=0,
    )  # fmt: skip
    warm = nas_api.search(tmp_path / "warm", settings).evaluated
    problem = resolve(Budget("80%"), BlockCosts(space_costs, device)).problem()
    cold = Study(problem, random).run(3, Serial(lambda _: 1.0))
    assert [w.architecture for w in warm[3:]] == [c.architecture for c in cold]


def test_any_beginning_of_a_warm_start_is_spread() -> None:
    assert spread(5) == [1.0, 0.5, 0.25, 0.75, 0.125]
    inside = [a for a in ALL if PROBLEM.keeps([a])[0]]
    low, high = np.quantile(latencies_ms(inside), [0, 1])
    costs = latencies_ms(warm_start(PROBLEM, 4))[:, 0]
    for cost, share in zip(costs, spread(4), strict=True):
        assert cost <= low + share * (high - low) + 1e-6
    assert len(set(costs.round(6))) == 4, "no budget wastes two places"


def test_guesses_that_are_no_numbers_score_nothing() -> None:
    def guess(architectures: Sequence[Architecture]) -> Vector:
        found = losses(architectures)
        found[[str(a["c1"]) == "a" for a in architectures]] = np.nan
        return found

    some = replace(PROBLEM, proxy=guess)
    assert len(warm_start(some, 4)) == 4
    none = replace(PROBLEM, proxy=lambda found: np.full(len(found), np.inf))
    assert warm_start(none, 4) == []
    evaluated = Study(none, exact).run(12, Serial(lambda a: float(losses([a])[0])))
    assert len({each.architecture for each in evaluated}) == 12


@pytest.mark.long
def test_budgets_that_do_not_add_leave_enough_to_begin_with() -> None:
    def over(architectures: Sequence[Architecture]) -> dict[str, Vector]:
        parts = [
            [PRICE[i, LETTERS.index(str(a[f"c{i}"]))] for i in range(5)] for a in architectures
        ]
        return {"product": np.prod(parts, axis=1) - 60}

    problem = replace(PROBLEM, violations=over)
    assert sum(problem.keeps([a])[0] for a in ALL) > 100
    found = warm_start(problem, 12)
    assert len(set(found)) == 12
    assert problem.keeps(found).all()
    # So many that the program has none left under some budgets.
    tight = replace(PROBLEM, violations=unconstrained)
    many = warm_start(tight, 100)
    assert len(set(many)) == len(many) >= 90


def test_whole_numbers_and_free_ones_are_proposed_once() -> None:
    space = SearchSpace(
        "numbers", (NumericChoice("n", 0, 3, integer=True), NumericChoice("x", 0.1, 0.7))
    )

    def loss(architecture: Architecture) -> float:
        return (float(architecture["x"]) - 0.4) ** 2 + float(architecture["n"])

    asked = []
    for strategy in (exact, cost_aware):
        problem = Problem(space, (Objective("validation_loss"),), lambda a: np.zeros((len(a), 0)))

        def counting(problem: Problem, strategy: Strategy = strategy) -> BaseSampler:
            sampler = strategy(problem)
            before = sampler.before_trial
            sampler.before_trial = lambda *given: (asked.append(1), before(*given))[1]  # type: ignore[method-assign]
            return sampler

        asked.clear()
        Study(problem, counting).run(30, Serial(loss))
        assert len(asked) <= 33, "hardly a proposal is turned down as known"


def test_a_part_too_large_to_list_is_refused() -> None:
    space = SearchSpace(
        "wide",
        (
            Choice("kind", ("a", "b")),
            *(Choice(f"s{i}", tuple(range(9)), Condition("kind", ("a",))) for i in range(4)),
        ),
    )
    problem = replace(PROBLEM, space=space, known=lambda a: np.zeros((len(a), 1)))
    with pytest.raises(InputError, match=r"'kind' has up to 13122; use 'cost-aware'"):
        Exact(problem)
