"""The default strategy: latency is known exactly, so only quality has to be modelled.

A Gaussian process over options and their counts predicts quality with uncertainty; the next
architecture is the one expected to grow the hypervolume of (loss, latency) inside the budget most.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from nas.strategies import Problem
from search_spaces import Architecture, counts, encode

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

FIRST = 12  # random points before anything is modelled
CANDIDATES = 400
TRIES = 4000  # draws in search of candidates inside the budget

Vector = npt.NDArray[np.float64]


class CostAware(BaseSampler):
    """Decides a whole architecture before a trial begins, and hands it out choice by choice."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._rng = np.random.default_rng(problem.seed)
        self._proposals: dict[int, Architecture] = {}

    def reseed_rng(self) -> None:
        """A new random state, as Optuna asks of samplers that run in parallel."""
        self._rng = np.random.default_rng()

    def before_trial(self, study: "Study", trial: "FrozenTrial") -> None:
        """Decide the trial's architecture."""
        space = self._problem.space
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        evaluated = [space.architecture(t.params) for t in complete]
        losses = np.array([t.values[0] for t in complete])
        candidates = self._candidates(evaluated, losses)
        if not candidates:
            proposal = space.sample(self._rng)  # the driver turns it down and looks further
        elif len(evaluated) < FIRST:
            proposal = candidates[0]
        else:
            scores = self._scores(evaluated, losses, candidates)
            proposal = candidates[int(np.argmax(scores))]
        self._proposals = {trial.number: proposal}

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
        self,
        study: "Study",
        trial: "FrozenTrial",
    ) -> dict[str, "BaseDistribution"]:
        """Nothing: choices are handed out one by one."""
        return {}

    def sample_relative(
        self,
        study: "Study",
        trial: "FrozenTrial",
        search_space: dict[str, "BaseDistribution"],
    ) -> dict[str, Any]:
        """Nothing: choices are handed out one by one."""
        return {}

    def _candidates(self, evaluated: list[Architecture], losses: Vector) -> list[Architecture]:
        """New architectures inside the budget: random ones, and neighbours of the best."""
        space, keeps = self._problem.space, self._problem.keeps_budget
        seen = set(evaluated)
        found: dict[Architecture, None] = {}
        for _ in range(TRIES):
            drawn = space.sample(self._rng)
            if drawn not in seen and drawn not in found and keeps(drawn):
                found[drawn] = None
            if len(found) == CANDIDATES or (len(evaluated) < FIRST and found):
                break
        if len(evaluated) >= FIRST:
            for index in np.argsort(losses)[:5]:
                for near in space.neighbours(evaluated[int(index)]):
                    if near not in seen and near not in found and keeps(near):
                        found[near] = None
        return list(found)

    def _scores(
        self, evaluated: list[Architecture], losses: Vector, candidates: list[Architecture]
    ) -> Vector:
        cost_ms = self._problem.latency_ms
        mean, deviation = _predict(self._features(evaluated), losses, self._features(candidates))
        known_ms = np.array([cost_ms(architecture) for architecture in evaluated])
        candidate_ms = np.array([cost_ms(architecture) for architecture in candidates])
        last_ms = max(known_ms.max(), candidate_ms.max())
        return improvement(known_ms, losses, candidate_ms, mean, deviation, last_ms)

    def _features(self, architectures: Sequence[Architecture]) -> Vector:
        space = self._problem.space
        one_hot = encode(space, architectures)
        total = counts(space, architectures) / np.sqrt(len(space.choices))
        return np.concatenate([one_hot, total], axis=1).astype(float)


def improvement(
    known_ms: Vector,
    losses: Vector,
    candidate_ms: Vector,
    mean: Vector,
    deviation: Vector,
    last_ms: float,
) -> Vector:
    """Expected growth of the hypervolume under the front, one number a candidate.

    With cost known it is a sum over the front's segments, from the candidate's latency on: the
    segment's width times the expected improvement on the loss that the front has there. The front
    is open to the left at the largest loss, and ends at `last_ms` (with a little room beyond, or
    the slowest candidate could gain nothing).
    """
    from scipy.stats import norm

    order = np.argsort(known_ms)
    starts = np.concatenate([[-np.inf], known_ms[order], [last_ms * 1.02]])
    levels = np.concatenate([[losses.max()], np.minimum.accumulate(losses[order])])
    widths = np.maximum(
        0.0, starts[None, 1:] - np.maximum(starts[None, :-1], candidate_ms[:, None])
    )
    spread = np.maximum(deviation, 1e-12)[:, None]
    gap = levels[None, :] - mean[:, None]
    expected = gap * norm.cdf(gap / spread) + spread * norm.pdf(gap / spread)
    total: Vector = (widths * expected).sum(axis=1)
    return total


def _predict(known: Vector, losses: Vector, wanted: Vector) -> tuple[Vector, Vector]:
    """Mean and deviation of the loss at `wanted`, in the loss's unit."""
    import warnings

    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    kernel = ConstantKernel(1.0, (0.1, 100.0)) * RBF(3.0, (0.5, 30.0)) + WhiteKernel(
        0.01, (1e-5, 0.5)
    )
    # Bad losses differ by much and matter little: what is above the middle is drawn together.
    middle = float(np.median(losses))
    over = np.maximum(losses - middle, 0.0)
    target = np.minimum(losses, middle) + middle * np.log1p(over / max(middle, 1e-12) * 10) / 10
    model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a parameter at its bound is no news to a user
        model.fit(known, target)
        mean, deviation = model.predict(wanted, return_std=True)
    return mean, deviation
