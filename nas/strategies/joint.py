"""Joint sampler: decides all choices of a trial at once, by Optuna's relative sampling."""

from abc import abstractmethod
from collections import deque
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.samplers import BaseSampler, RandomSampler

from nas.problem.distributions import directions
from nas.problem.parameters import Parameters
from nas.problem.problem import Problem
from nas.strategies.observations import Observations, StudyReader
from search_spaces import Architecture, InputError
from search_spaces.space.integer_encoding import IntegerEncoder

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial


class JointSampler(BaseSampler):
    """What derives from it says in `propose` what comes next.

    Optuna asks for a trial's relative parameters when the first of them is suggested; from then on
    its architecture is pending. Any number of trials may be asked for and told in any order, by
    several threads (`n_jobs`) or processes. What the architecture does not say is drawn at random:
    parameters that are no choices of the space, and choices that matter only by one that was
    fixed (`Study.enqueue_trial`).
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.coder = IntegerEncoder(problem.space)
        self.rng = np.random.default_rng(problem.seed)
        self._parameters = Parameters.of_space(problem.space)
        self._independent = RandomSampler(seed=problem.seed)
        self._lock = RLock()
        self._begin("")

    @abstractmethod
    def propose(self, seen: Observations, *, first: bool) -> list[Architecture]:
        """The next architectures, the best first; none where nothing new is found.

        Args:
            seen: what the study holds.
            first: whether it is the first time that this sampler proposes for the study.
        """

    def decide(self, parameters: Parameters) -> None:
        """Decide the parameters of somebody else's study, which are the problem's choices."""
        self._parameters = parameters
        self._begin("")

    def observe(self, architecture: Architecture, level: int, values: tuple[float, ...]) -> None:
        """Learn what a closer look found; nothing, if `propose` asks for no more.

        Args:
            architecture: that was looked at again.
            level: the place of the fidelity among the problem's.
            values: of the unknown objectives, in their own units.
        """

    def reseed_rng(self) -> None:
        """A new random state, as Optuna asks of samplers that run in parallel."""
        with self._lock:  # in place: what draws for this sampler holds the same generator
            self.rng.bit_generator.state = np.random.default_rng().bit_generator.state
            self._independent.reseed_rng()

    def before_trial(self, study: "Study", trial: "FrozenTrial") -> None:
        """Refuse a study of other objectives.

        Raises:
            InputError: its directions are not the problem's.
        """
        wanted = directions(self.problem)
        if study.directions != wanted:
            listed = zip(self.problem.objectives, wanted, strict=True)
            raise InputError(
                f"the study has the directions {[each.name.lower() for each in study.directions]}, "
                "and this strategy's problem has the objectives "
                + ", ".join(f"{each.name} ({way.name.lower()})" for each, way in listed)
                + "; create the study with directions for these, in their order"
            )

    def infer_relative_search_space(
        self, study: "Study", trial: "FrozenTrial"
    ) -> "dict[str, BaseDistribution]":
        """Every choice of the space."""
        return dict(self._parameters.distributions)

    def sample_relative(
        self, study: "Study", trial: "FrozenTrial", search_space: "dict[str, BaseDistribution]"
    ) -> dict[str, Any]:
        """An option of every choice that matters in the trial's architecture; no dead edges."""
        with self._lock:
            architecture = self._decided(study, trial.number)
        values = self._parameters.values(self.problem.space.assigned(architecture))
        return {name: value for name, value in values.items() if name in search_space}

    def sample_independent(
        self,
        study: "Study",
        trial: "FrozenTrial",
        param_name: str,
        param_distribution: "BaseDistribution",
    ) -> Any:
        """A random value of what the architecture does not say."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def __getstate__(self) -> dict[str, Any]:
        """All but the lock: people keep samplers between sessions, as Optuna tells them."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=RLock())

    def _begin(self, study_name: str) -> None:
        self._study_name = study_name
        self._reader = StudyReader(self.problem, self.coder, self._parameters)
        self._next: deque[Architecture] = deque()
        self._first = True

    def _decided(self, study: "Study", trial_number: int) -> Architecture:
        if study.study_name != self._study_name:
            self._begin(study.study_name)
        seen = self._reader.read(study, trial_number)
        while self._next and self._next[0] in self._reader.known:  # enqueued since
            self._next.popleft()
        if not self._next:
            self._next.extend(self.propose(seen, first=self._first))
            self._first = False
        # Where nothing is found, a driver turns this down and looks further by itself.
        architecture = self._next.popleft() if self._next else self.problem.space.sample(self.rng)
        self._reader.proposals[trial_number] = architecture
        return architecture
