"""What every search strategy must do, on spaces of every kind.

class TestMyStrategy(StrategyConformance):
    def strategy(self) -> Strategy:
        return my_strategy
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from optuna.samplers import BaseSampler

from nas.evaluators.serial import Serial
from nas.problem.problem import Matrix, Objective, Problem, Vector
from nas.strategies import Strategy
from nas.study.ask_tell import Proposal, Sampled
from nas.study.record import Record
from nas.study.storage import sqlite
from nas.study.study import Study
from search_spaces import Architecture, Choice, Condition, NumericChoice, SearchSpace

PLAIN = SearchSpace("plain", tuple(Choice(f"c{i}", ("a", "b", "c")) for i in range(4)))
CONDITIONAL = SearchSpace(
    "conditional",
    (
        *(Choice(f"s{i}", ("none", "conv", "attention")) for i in range(3)),
        *(Choice(f"s{i}.kernel", (3, 5, 7), Condition(f"s{i}", ("conv",))) for i in range(3)),
        Choice("heads", (2, 4), Condition("s0", ("attention",))),
    ),
)
NUMERIC = SearchSpace(
    "numeric",
    (
        NumericChoice("width", 0.5, 2.0),
        NumericChoice("layers", 1, 12, integer=True),
        Choice("kind", (True, False)),
    ),
)


def scores(architectures: Sequence[Architecture]) -> Vector:
    """A cost of sorts: the places of the options, and the numbers."""
    return np.array(
        [
            sum(len(v) if isinstance(v, str) else float(v) for v in each.values())
            for each in architectures
        ]
    )


def quality(architecture: Architecture) -> float:
    """Something to learn: more cost is better, up to a point."""
    cost = float(scores([architecture])[0])
    return (cost - 20.0) ** 2 / 10 + 0.1 * ("attention" in architecture.values())


def one_cost(architectures: Sequence[Architecture]) -> Matrix:
    """The cost."""
    return scores(architectures)[:, None]


def two_costs(architectures: Sequence[Architecture]) -> Matrix:
    """The cost, and how many decisions there are."""
    return np.stack([scores(architectures), [len(a) for a in architectures]], axis=1)


LOSS, LATENCY = Objective("loss"), Objective("latency_ms", known=True)
MEMORY = Objective("memory_mb", known=True)


def listed(space: SearchSpace, count: int) -> tuple[Architecture, ...]:
    """Some of a space's architectures."""
    every = sorted(space.enumerate(), key=str)
    chosen = np.random.default_rng(0).choice(len(every), count, replace=False)
    return tuple(every[int(index)] for index in chosen)


PROBLEMS: dict[str, Problem] = {
    "plain": Problem(PLAIN, (LOSS, LATENCY), one_cost),
    "conditional": Problem(CONDITIONAL, (LOSS, LATENCY), one_cost),
    "numeric": Problem(NUMERIC, (LOSS, LATENCY), one_cost),
    "two costs": Problem(CONDITIONAL, (LOSS, LATENCY, MEMORY), two_costs),
    "no cost": Problem(PLAIN, (LOSS,), lambda found: np.zeros((len(found), 0))),
    "budget": Problem(
        CONDITIONAL, (LOSS, LATENCY), one_cost, lambda found: {"ms": scores(found) - 26.0}
    ),
    "listed": Problem(CONDITIONAL, (LOSS, LATENCY), one_cost, listed=listed(CONDITIONAL, 60)),
    "maximised": Problem(PLAIN, (Objective("accuracy_pct", maximize=True), LATENCY), one_cost),
}


class StrategyConformance:
    """Checks of a strategy; inherit, and say which."""

    trials: ClassVar[int] = 28

    def strategy(self) -> Strategy:
        """The strategy under test."""
        raise NotImplementedError

    @pytest.mark.parametrize("kind", PROBLEMS)
    def test_every_trial_is_new_and_inside_the_budgets(self, kind: str) -> None:
        problem = PROBLEMS[kind]
        found = Study(problem, self.strategy()).run(self.trials, Serial(quality))
        architectures = [each.architecture for each in found]
        assert len(architectures) == len(set(architectures)) == self.trials
        assert problem.keeps(architectures).all()
        for each in found:
            assert each.architecture == problem.space.architecture(dict(each.architecture))
            assert problem.listed is None or each.architecture in problem.listed
            assert each.values == tuple(
                problem.values(each.architecture, [quality(each.architecture)])
            )

    @pytest.mark.parametrize("kind", ["plain", "listed", "budget"])
    def test_a_space_ends(self, kind: str) -> None:
        problem = PROBLEMS[kind]
        rest = problem.listed or tuple(problem.space.enumerate())
        few = replace(problem, listed=tuple(rest)[:20])
        inside = {each for each in few.listed or () if few.keeps([each])[0]}
        found = Study(few, self.strategy()).run(10 * len(inside), Serial(quality))
        assert {each.architecture for each in found} == inside

    def test_a_seed_says_all(self) -> None:
        def found(seed: int) -> list[Architecture]:
            problem = replace(PROBLEMS["conditional"], seed=seed)
            study = Study(problem, self.strategy())
            return [each.architecture for each in study.run(self.trials, Serial(quality))]

        assert found(1) == found(1)
        assert found(1) != found(2)

    def test_it_goes_on_where_it_was_left(self, tmp_path: Path) -> None:
        problem, storage = PROBLEMS["conditional"], sqlite(tmp_path / "study.db")
        with_record = Record(storage, "study", problem)
        before = Study(problem, self.strategy(), with_record).run(12, Serial(quality))
        with_record.close()
        again = Record(storage, "study", problem)
        after = Study(problem, self.strategy(), again).run(self.trials, Serial(quality))
        again.close()
        assert after[:12] == before
        assert len({each.architecture for each in after}) == self.trials

    @pytest.mark.parametrize("kind", ["conditional", "numeric"])
    def test_what_runs_at_once_differs(self, kind: str) -> None:
        problem = PROBLEMS[kind]
        sampled = Sampled(problem, self.strategy())
        running: list[Proposal] = []
        seen: set[Architecture] = set()
        for _ in range(self.trials):
            while len(running) < 4:
                proposal = sampled.propose()
                assert proposal is not None
                assert proposal.architecture not in seen
                seen.add(proposal.architecture)
                running.append(proposal)
            done = running.pop(0)
            found = problem.values(done.architecture, [quality(done.architecture)])
            sampled.tell(done, tuple(found))

    def test_failures_and_equal_qualities_stop_nothing(self) -> None:
        problem = PROBLEMS["conditional"]
        sampled = Sampled(problem, self.strategy())
        for number in range(self.trials):
            proposal = sampled.propose()
            assert proposal is not None
            found = problem.values(proposal.architecture, [1.0])
            sampled.tell(proposal, None if number % 3 == 0 else tuple(found))

    def test_it_is_an_optuna_sampler(self) -> None:
        for problem in PROBLEMS.values():
            assert isinstance(self.strategy()(problem), BaseSampler)
