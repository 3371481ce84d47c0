"""What every search strategy must do, on problems of every kind.

class TestMyStrategy(StrategyConformance):
    strategy = my_strategy
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.trial import Trial, TrialState

from nas.evaluators.serial import Serial
from nas.problem.distributions import directions
from nas.problem.earlier import Earlier
from nas.problem.problem import Problem
from nas.strategies import Strategy
from nas.study.ask_tell import AskTellSession, Proposal
from nas.study.record import Record
from nas.study.storage import sqlite
from nas.study.study import Study
from nas.testing.problems import FIDELITIES, GOALS, PROBLEMS, look, quality
from search_spaces import Architecture

AT_ONCE = 4
ORDER = (2, 0, 3, 1)  # in which what was asked for at once is told
NOW_AND_THEN = (TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED)


def plain_study(problem: Problem, strategy: Strategy, storage: str | None = None) -> optuna.Study:
    """A study as Optuna's users make one, with a strategy's sampler; one in a storage goes on."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = strategy(problem)
    assert isinstance(sampler, BaseSampler), "a strategy returns an Optuna sampler"
    return optuna.create_study(
        study_name="plain",
        storage=storage,
        load_if_exists=True,
        sampler=sampler,
        directions=directions(problem),
    )


def objective(problem: Problem, trial: Trial) -> tuple[float, ...]:
    """What Optuna's users optimise: all values; every seventh trial is pruned, or raises."""
    architecture = problem.space.suggest(trial)
    if trial.number % 7 == 3:
        raise optuna.TrialPruned
    if trial.number % 7 == 5:
        raise RuntimeError("no moon tonight")
    return tuple(problem.values(architecture, [quality(architecture)]))


def decided(problem: Problem, study: optuna.Study) -> list[Architecture]:
    """The architecture of every trial, in order; an assertion fails where one is none."""
    return [problem.space.architecture(trial.params) for trial in study.trials]


def asked_at_once(problem: Problem, study: optuna.Study, trials: int) -> Iterator[Architecture]:
    """Ask several before any is decided, decide them backwards, tell them in another order."""
    states = itertools.cycle(NOW_AND_THEN)
    for _ in range(trials // AT_ONCE):
        asked = [study.ask() for _ in range(AT_ONCE)]
        found = {trial.number: problem.space.suggest(trial) for trial in reversed(asked)}
        for place in ORDER:
            trial, state = asked[place], next(states)
            architecture = found[trial.number]
            values = problem.values(architecture, [quality(architecture)])
            study.tell(trial, values if state == TrialState.COMPLETE else None, state)
        yield from found.values()


class StrategyConformance:
    """Inherit, and set `strategy`; it is checked in `nas search` and in a plain Optuna study."""

    strategy: ClassVar[Strategy]
    trials: ClassVar[int] = 28

    @pytest.mark.parametrize("kind", PROBLEMS)
    def test_every_trial_is_new_and_inside_the_budgets(self, kind: str) -> None:
        problem = PROBLEMS[kind]
        found = Study(problem, self._strategy).run(self.trials, Serial(quality))
        architectures = [each.architecture for each in found]
        assert len(architectures) == len(set(architectures)) == self.trials
        assert problem.keeps(architectures).all()
        for each in found:
            assert each.architecture == problem.space.architecture(dict(each.architecture))
            assert problem.listed is None or each.architecture in problem.listed
            assert each.values == tuple(
                problem.values(each.architecture, [quality(each.architecture)])
            )

    @pytest.mark.parametrize("goal", GOALS)
    @pytest.mark.parametrize("kind", ["budget", "two costs"])
    def test_it_searches_whatever_counts(self, kind: str, goal: str) -> None:
        problem = replace(PROBLEMS[kind], goal=GOALS[goal])
        found = Study(problem, self._strategy).run(self.trials, Serial(quality))
        architectures = [each.architecture for each in found]
        assert len(set(architectures)) == self.trials
        assert problem.keeps(architectures).all()

    @pytest.mark.parametrize("goal", ["best", "front", "region"])
    @pytest.mark.parametrize("fidelity", FIDELITIES)
    def test_networks_may_be_seen_more_or_less_closely(self, fidelity: str, goal: str) -> None:
        trials = max(4, self.trials // 4)
        looks = FIDELITIES[fidelity]
        problem = replace(PROBLEMS["budget"], goal=GOALS[goal], fidelity=looks)
        study = Study(problem, self._strategy)
        found = study.run(trials, Serial(look))
        architectures = [each.architecture for each in found]
        assert len(architectures) == len(set(architectures)) > trials
        assert problem.keeps(architectures).all()
        assert study.spent <= trials * looks.full
        assert {each.count for each in found} <= set(looks.levels)
        assert max(each.count for each in found) == looks.full

    @pytest.mark.parametrize("kind", ["plain", "numeric", "listed", "budget", "maximised"])
    def test_earlier_studies_may_be_told(self, kind: str) -> None:
        """Of the same quality, of another that says nothing, and with networks over a budget."""
        plain = PROBLEMS[kind]
        rng = np.random.default_rng(0)
        known = tuple(dict.fromkeys(plain.space.sample(rng) for _ in range(20)))
        drawn = tuple(rng.normal(size=len(known)).tolist())
        told = (Earlier("same", known, tuple(map(quality, known))), Earlier("other", known, drawn))
        problem = replace(plain, earlier=told)
        found = Study(problem, self._strategy).run(self.trials, Serial(quality))
        architectures = [each.architecture for each in found]
        assert len(set(architectures)) == self.trials
        assert problem.keeps(architectures).all()
        inside = [a for a in known if plain.keeps([a])[0] and a in (plain.listed or known)]
        assert not inside or set(inside) & set(architectures[:8]), "the search begins with them"

    @pytest.mark.parametrize("kind", ["plain", "listed", "budget"])
    def test_a_space_ends(self, kind: str) -> None:
        problem = PROBLEMS[kind]
        rest = problem.listed or tuple(problem.space.enumerate())
        few = replace(problem, listed=tuple(rest)[:20])
        inside = {each for each in few.listed or () if few.keeps([each])[0]}
        found = Study(few, self._strategy).run(10 * len(inside), Serial(quality))
        assert {each.architecture for each in found} == inside

    def test_a_seed_says_all(self) -> None:
        def found(seed: int) -> list[Architecture]:
            problem = replace(PROBLEMS["conditional"], seed=seed)
            study = Study(problem, self._strategy)
            return [each.architecture for each in study.run(self.trials, Serial(quality))]

        assert found(1) == found(1)
        assert found(1) != found(2)

    def test_it_goes_on_where_it_was_left(self, tmp_path: Path) -> None:
        problem, storage = PROBLEMS["conditional"], sqlite(tmp_path / "study.db")
        with_record = Record(storage, "study", problem)
        before = Study(problem, self._strategy, with_record).run(self.trials // 2, Serial(quality))
        with_record.close()
        again = Record(storage, "study", problem)
        after = Study(problem, self._strategy, again).run(self.trials, Serial(quality))
        again.close()
        assert after[: self.trials // 2] == before
        assert len({each.architecture for each in after}) == self.trials

    @pytest.mark.parametrize("kind", ["conditional", "numeric"])
    def test_what_runs_at_once_differs(self, kind: str) -> None:
        problem = PROBLEMS[kind]
        session = AskTellSession(problem, self._strategy)
        running: list[Proposal] = []
        seen: set[Architecture] = set()
        for _ in range(self.trials):
            while len(running) < 4:
                proposal = session.propose()
                assert proposal is not None
                assert proposal.architecture not in seen
                seen.add(proposal.architecture)
                running.append(proposal)
            done = running.pop(0)
            found = problem.values(done.architecture, [quality(done.architecture)])
            session.tell(done, tuple(found))

    def test_failures_and_equal_qualities_stop_nothing(self) -> None:
        problem = PROBLEMS["conditional"]
        session = AskTellSession(problem, self._strategy)
        for number in range(self.trials):
            proposal = session.propose()
            assert proposal is not None
            found = problem.values(proposal.architecture, [1.0])
            if number % 3 == 0:
                session.give_up(proposal)
            else:
                session.tell(proposal, tuple(found))

    @pytest.mark.parametrize(
        "kind", ["plain", "conditional", "numeric", "no cost", "budget", "cell"]
    )
    def test_optuna_may_ask_for_several_at_once(self, kind: str) -> None:
        problem = PROBLEMS[kind]
        study = plain_study(problem, self._strategy)
        found = list(asked_at_once(problem, study, self.trials))
        assert sorted(map(str, decided(problem, study))) == sorted(map(str, found))

    def test_choices_are_decided_in_turns(self) -> None:
        problem = PROBLEMS["plain"]
        study = plain_study(problem, self._strategy)
        for _ in range(3):
            asked = [study.ask() for _ in range(AT_ONCE)]
            for choice in problem.space.choices:
                for trial in reversed(asked):
                    trial.suggest_categorical(choice.name, ("a", "b", "c"))
            for trial in asked:
                architecture = problem.space.architecture(trial.params)
                study.tell(trial, problem.values(architecture, [quality(architecture)]))

    @pytest.mark.parametrize("jobs", [1, 2])
    def test_optuna_optimises(self, jobs: int) -> None:
        problem = PROBLEMS["conditional"]
        study = plain_study(problem, self._strategy)
        study.optimize(partial(objective, problem), self.trials, n_jobs=jobs, catch=RuntimeError)
        states = [trial.state for trial in study.trials]
        assert len(decided(problem, study)) == self.trials
        assert states.count(TrialState.PRUNED) == len(range(3, self.trials, 7))
        assert states.count(TrialState.FAIL) == len(range(5, self.trials, 7))
        assert states.count(TrialState.RUNNING) == 0

    def test_a_study_is_loaded_again(self, tmp_path: Path) -> None:
        problem, storage = PROBLEMS["conditional"], sqlite(tmp_path / "study.db")
        for trials in (6, 12):
            study = plain_study(problem, self._strategy, storage)  # with a sampler that is new
            study.optimize(partial(objective, problem), 6, catch=RuntimeError)
            assert len(decided(problem, study)) == trials

    def test_what_is_enqueued_comes_first(self) -> None:
        """Whole architectures, and single choices by which others come to matter."""
        problem = PROBLEMS["conditional"]
        study = plain_study(problem, self._strategy)
        study.optimize(partial(objective, problem), self.trials // 2, catch=RuntimeError)
        whole = problem.space.sample(np.random.default_rng(0))
        single: list[dict[str, Any]] = [{"s0": "attention"}, {"s1": "conv", "s1.kernel": 7}]
        for fixed in [dict(whole), *single]:
            study.enqueue_trial(dict(fixed))
        study.optimize(partial(objective, problem), 4, catch=RuntimeError)
        begun = self.trials // 2
        first, *others, _ = decided(problem, study)[begun:]
        assert first == whole
        for architecture, fixed in zip(others, single, strict=True):
            assert dict(architecture) | fixed == dict(architecture)

    @property
    def _strategy(self) -> Strategy:
        """The strategy; read from the class, so that a function is not taken for a method."""
        return type(self).strategy
